//! From a run to the report that people read.

use std::collections::BTreeMap;

use peregrine_book::MarketBooks;
use peregrine_decide::DEFINITIONS;
use peregrine_eventlog::records::{OrderRecord, OrderTransition};
use peregrine_eventlog::{LogReader, Stream};
use peregrine_model::Training;
use peregrine_report::format::{count, nanos as span};
use peregrine_report::{
    AnomalyRow, BookReport, DenialRow, EquityPoint, Fact, FeedReport, GapTotals, InputReport, LatencyRow, LineReport,
    LogSection, MessageRow, ModelReport, OrdersReport, Pacing, PaperFacts, PaperReport, PnlReport, RiskReport,
    RunReport, StrategyReport, SymbolRow, ThroughputReport, Verdict, VerdictOutcome, paper_report,
};
use peregrine_runtime::{IntervalReader, LatencyBounds, Outcome, TurnFigures};
use peregrine_types::{BookState, Notional, Price, ReasonCode, Symbol, SymbolId};

use crate::exit::Failure;
use crate::input::FEED_TIMES;
use crate::run::{BUNDLED_NAME, Run, RunInput, RunVenue, nanos};
use crate::stage::pnl::SymbolPnl;
use crate::stage::schedule::Pace;

/// Symbols that the report lists.
const SYMBOL_ROWS_MAX: usize = 25;

/// The report of a finished run.
///
/// # Errors
/// [`Failure`] when the run's log cannot be read back.
pub fn report(run: &Run, title: &str) -> Result<RunReport, Failure> {
    let (orders, pnl) = (orders(run)?, pnl(run));
    let paper = paper(run, &pnl)?;
    let dir = run.dir.display().to_string();
    Ok(RunReport {
        title: title.to_owned(),
        command: run.manifest.command.clone(),
        run_dir: dir.clone(),
        started_utc: run.started,
        elapsed_ns: nanos(run.elapsed).0.unsigned_abs(),
        is_interrupted: run.is_interrupted,
        warnings: warnings(run),
        verdicts: verdicts(run, &orders),
        facts: facts(run),
        model: model(run),
        inputs: inputs(run),
        feed: feed(run),
        book: book(run),
        strategy: strategy(run),
        risk: risk(run),
        orders,
        filled_by: filled_by(run),
        pnl,
        paper,
        latencies: latencies(run),
        throughput: ThroughputReport::new(
            pacing(run.pace),
            run.event_count,
            nanos(run.elapsed).0.unsigned_abs(),
            run.throughput.clone(),
        ),
        log: LogSection::new(dir.clone(), &run.log, &run.state_hash, run.input.proof(&dir)),
    })
}

fn pacing(pace: Pace) -> Pacing {
    match pace {
        Pace::Max => Pacing::Max,
        Pace::Recorded { speed_milli: 1_000 } => Pacing::Recorded,
        Pace::Recorded { speed_milli } => {
            Pacing::Scaled { factor: f64::from(u32::try_from(speed_milli).unwrap_or(u32::MAX)) / 1_000.0 }
        }
        Pace::Rate { events_per_second } => Pacing::OpenLoop { events_per_second },
    }
}

fn is_trained(run: &Run) -> bool {
    run.decide.strategy.model().meta().training == Training::Trained
}

fn warnings(run: &Run) -> Vec<String> {
    let mut warnings = Vec::new();
    let strategy = &run.decide.strategy;
    let symbols = run.input.symbols();
    let is_missing = |name: &&String| {
        name.as_str() != "*" && Symbol::new(name).and_then(|name| strategy.data_time(symbols.id(name)?)).is_none()
    };
    let missing: Vec<&str> = run.watch.iter().filter(is_missing).map(String::as_str).collect();
    if !missing.is_empty() {
        warnings.push(format!("Never seen in the input: {}.", missing.join(", ")));
    }
    if run.model_name == BUNDLED_NAME {
        warnings.push(
            "The bundled model was trained on a generated session: its orders and its profit show the machine at work and \
             say nothing about any market."
                .to_owned(),
        );
    }
    warnings.extend(run.input.warnings(&run.manifest.inputs));
    let counts = run.input.counts();
    if counts.malformed_count > 0 {
        warnings.push(format!("{} malformed messages were refused.", counts.malformed_count));
    }
    if counts.directory_full_count > 0 {
        warnings.push(format!(
            "{} messages found no room in the symbol directory: raise feed.symbol_count_max.",
            counts.directory_full_count
        ));
    }
    let refused = run.settings.iter().filter_map(|setting| match &setting.outcome {
        Outcome::Applied => None,
        Outcome::Refused { reason, remedy } => {
            Some(format!("{} was not applied: {reason}; {remedy}.", setting.setting))
        }
    });
    warnings.extend(refused);
    warnings
}

fn verdicts(run: &Run, orders: &OrdersReport) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut say = |is_good: bool, good: String, bad: String| {
        let outcome = if is_good { VerdictOutcome::Pass } else { VerdictOutcome::Fail };
        verdicts.push(Verdict::new(outcome, if is_good { good } else { bad }));
    };
    if let (Some(end), false) = (run.input.file_end(), run.is_interrupted) {
        let is_cut = matches!(end, peregrine_source::End::Truncated { .. });
        say(!is_cut, "The input was read to its end.".to_owned(), format!("The input is cut: {end}."));
    }
    if let Some((is_equal, text)) = run.venue.reconciliation() {
        say(is_equal, text.clone(), text);
    }
    let is_nothing = run.manifest.from.is_some_and(|from| run.last_time.is_none_or(|last| last.0 < from));
    if is_nothing || run.event_count == 0 {
        let nothing =
            "Nothing was replayed: no message of the input comes between --from and --to, or none is of this feed.";
        say(false, String::new(), nothing.to_owned());
    }
    if let Some(arbiter) = run.input.arbiter() {
        let missing = lines(arbiter).1.lost_message_count;
        let good = "No message is missing.".to_owned();
        say(missing == 0, good, format!("{missing} messages are missing on every line: books were stale."));
    }
    for bad in run.input.contradiction().into_iter().chain(run.input.clock_alarm()) {
        say(false, String::new(), bad);
    }
    let illegal = orders.illegal_transition_count;
    say(illegal == 0, "Every report on our orders was legal.".to_owned(), format!("{illegal} reports were illegal."));
    let halts = run.decide.counters.guard_halts;
    say(halts == 0, "The latency guard did not halt.".to_owned(), format!("The latency guard halted {halts} times."));
    verdicts.push(anomaly_verdict(run));
    let beyond = run.decide.counters.held_beyond_limits;
    if beyond > 0 {
        let text = format!(
            "{beyond} times an engine-held order had to wait: no order within the limits of [risk] could bring it about."
        );
        verdicts.push(Verdict::new(VerdictOutcome::Warn, text));
    }
    if run.decide.strategy.counters().decision_count == 0 && !is_nothing && run.event_count > 0 {
        let text = "Nothing was decided: no watched symbol had a good book whose best bid or ask changed.";
        verdicts.push(Verdict::new(VerdictOutcome::Warn, text));
    }
    if run.is_interrupted {
        let text = "The run was stopped before the end of its input; the log is whole up to there.";
        verdicts.insert(0, Verdict::new(VerdictOutcome::Warn, text));
    }
    verdicts
}

fn anomaly_verdict(run: &Run) -> Verdict {
    match run.books.anomalies().total() {
        0 => Verdict::new(VerdictOutcome::Pass, "The books saw no impossible event."),
        count => Verdict::new(VerdictOutcome::Fail, format!("{count} impossible events.")),
    }
}

fn facts(run: &Run) -> Vec<Fact> {
    let mut facts: Vec<Fact> = peregrine_runtime::host_report()
        .facts
        .into_iter()
        .map(|fact| Fact::new("host", &fact.key, format!("{} ({})", fact.value, fact.verdict.name())))
        .collect();
    for setting in &run.settings {
        let outcome = match &setting.outcome {
            Outcome::Applied => "applied".to_owned(),
            Outcome::Refused { reason, .. } => format!("refused: {reason}"),
        };
        facts.push(Fact::new("applied", &setting.setting, outcome));
    }
    for (name, turns) in &run.turns {
        facts.push(Fact::new("threads", name, turns_text(turns)));
    }
    let manifest = &run.manifest;
    facts.push(Fact::new("run", "wiring", format!("{:?}", run.wiring)));
    facts.push(Fact::new("run", "kernel backend", format!("{:?}", run.decide.strategy.kernel().backend())));
    facts.push(Fact::new("run", "weights", run.decide.strategy.model().precision().name()));
    facts.push(Fact::new("run", "configuration SHA-256", manifest.config_sha256.clone()));
    if is_paper(run) {
        facts.push(Fact::new("run", "latencies", run.latency_model.clone()));
    }
    facts.push(Fact::new("run", "program SHA-256", manifest.binary_sha256.clone()));
    facts.push(Fact::new("run", "session date", run.input.session().date.to_string()));
    facts.extend(run.input.facts());
    facts.extend(run.venue.facts());
    facts
}

const fn is_paper(run: &Run) -> bool {
    matches!(run.venue, RunVenue::Paper(..))
}

/// Where orders went, and what filled them.
fn filled_by(run: &Run) -> String {
    let market = match &run.input {
        RunInput::Files(_) => "the book that the files rebuild",
        RunInput::Live(_) => "the book of the live feed",
    };
    if is_paper(run) {
        format!(
            "Orders were filled by the paper venue against {market}, with queue position and these latencies: {}. The market \
             does not react to them.",
            run.latency_model
        )
    } else {
        "Orders went to the venue, and the fills are its own.".to_owned()
    }
}

/// What paper trading showed, read back from the log.
fn paper(run: &Run, pnl: &PnlReport) -> Result<Option<PaperReport>, Failure> {
    if !is_paper(run) {
        return Ok(None);
    }
    let names: Vec<&str> = DEFINITIONS.iter().map(|definition| definition.name).collect();
    let facts = PaperFacts {
        latency_model: run.latency_model.clone(),
        currency: pnl.currency.clone(),
        marks: run.decide.pnl.rows().iter().filter_map(|row| Some((row.symbol, row.mid_x2?))).collect(),
        curve: &pnl.curve,
        net: pnl.net,
        feature_names: &names,
    };
    paper_report(&run.dir, &facts).map(Some).map_err(Failure::io)
}

/// What a thread did.
fn turns_text(turns: &TurnFigures) -> String {
    format!(
        "{} turns, {} of them with work, {} pieces of work; longest turn {}, {} slow ones",
        count(turns.turn_count),
        count(turns.busy_turn_count),
        count(turns.work_count),
        span(turns.longest_turn.0.unsigned_abs()),
        count(turns.slow_turn_count)
    )
}

fn model(run: &Run) -> ModelReport {
    let model = run.decide.strategy.model();
    let meta = model.meta();
    ModelReport {
        name: run.model_name.clone(),
        sha256: model.sha256_hex(),
        size: format!("{:?} (D {}, E {}, H {}, Z {})", meta.size, meta.d, meta.e, meta.h, meta.z),
        training: if is_trained(run) { "trained".to_owned() } else { "untrained".to_owned() },
        is_trained: is_trained(run),
    }
}

fn inputs(run: &Run) -> Vec<InputReport> {
    run.input.reports(&run.manifest.inputs)
}

fn feed(run: &Run) -> FeedReport {
    let counts = run.input.counts();
    let messages = run.input.messages().into_iter();
    let messages = messages.map(|(code, name, count)| MessageRow { code, name: name.to_owned(), count });
    let (lines, gaps) = run.input.arbiter().map_or((Vec::new(), GapTotals::default()), lines);
    FeedReport {
        message_count: counts.message_count,
        event_count: run.event_count,
        messages: messages.filter(|row| row.count > 0).collect(),
        first_exch_time: run.first_time,
        last_exch_time: run.last_time,
        is_recv_time_synthetic: run.input.is_recv_time_synthetic(),
        malformed_count: counts.malformed_count,
        unknown_type_count: counts.unknown_count,
        recv_time_backward_count: counts.recv_time_backward_count,
        lines,
        gaps,
    }
}

/// What the lines of a feed brought, and what is missing.
pub(crate) fn lines(arbiter: &peregrine_wire::Arbiter) -> (Vec<LineReport>, GapTotals) {
    let names = ["A", "B", "C", "D"];
    let lines = arbiter.lines().iter().zip(names).map(|(line, name)| LineReport {
        name: name.to_owned(),
        packet_count: line.packet_count,
        message_count: line.message_count,
        first_count: line.first_count,
        duplicate_count: line.duplicate_count,
        late_count: line.late_count,
        gap_count: line.gap_count,
        gap_message_count: line.gap_message_count,
        malformed_count: line.malformed_count,
    });
    let counters = arbiter.counters();
    let gaps = GapTotals {
        declared_count: counters.gap_count,
        recovered_count: counters.recovered_gap_count,
        lost_count: counters.lost_range_count,
        lost_message_count: counters.lost_message_count,
    };
    (lines.collect(), gaps)
}

fn symbol_name(run: &Run, symbol: SymbolId) -> String {
    let name = run.input.symbols().name(symbol);
    name.map_or_else(|| format!("#{symbol}"), |name| name.to_string())
}

fn book(run: &Run) -> BookReport {
    let symbols = run.input.symbols();
    let quarantined = symbols.iter().filter(|(id, _)| run.books.state(*id).contains(BookState::QUARANTINED));
    BookReport {
        symbol_count: u64::from(symbols.count()),
        live_order_count: u64::try_from(run.books.order_count()).unwrap_or(u64::MAX),
        live_order_count_max: u64::try_from(run.decide.counters.live_orders_max).unwrap_or(u64::MAX),
        anomalies: run
            .books
            .anomalies()
            .seen()
            .map(|(kind, count)| AnomalyRow { kind: kind.name().to_owned(), count: u64::from(count) })
            .collect(),
        quarantined_symbols: quarantined.map(|(_, name)| name.to_string()).collect(),
    }
}

fn strategy(run: &Run) -> StrategyReport {
    let counters = run.decide.strategy.counters();
    let symbols = run.input.symbols();
    let watched = symbols.iter().filter(|(id, _)| run.decide.strategy.is_watched(*id));
    StrategyReport {
        watched_symbols: watched.map(|(_, name)| name.to_string()).collect(),
        watched_event_count: counters.watched_event_count,
        decision_count: counters.decision_count,
        throttled_count: counters.throttled_count,
        book_not_good_count: counters.book_not_good_count,
        non_finite_count: counters.non_finite_count,
        new_intent_count: run.decide.counters.orders_approved + denied_count(run) - run.decide.counters.cancels_denied,
        cancel_intent_count: run.decide.counters.cancels_approved + run.decide.counters.cancels_denied,
    }
}

fn denied_count(run: &Run) -> u64 {
    run.decide.counters.denied.iter().map(|(_, count)| count).sum()
}

fn risk(run: &Run) -> RiskReport {
    let counters = &run.decide.counters;
    RiskReport {
        approved_count: counters.orders_approved,
        cancel_count: counters.cancels_approved,
        denied: counters
            .denied
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| DenialRow::new(*reason, *count))
            .collect(),
    }
}

/// Our orders, counted from the log itself.
fn orders(run: &Run) -> Result<OrdersReport, Failure> {
    let reader = LogReader::open(&run.dir, Stream::Send).map_err(Failure::io)?;
    let (fill_added_count, fill_removed_count) = run.venue.fill_counts();
    let mut report = OrdersReport {
        open_count: u64::try_from(run.venue.orders().map_or(0, |orders| orders.open_count())).unwrap_or(u64::MAX),
        fill_added_count,
        fill_removed_count,
        ..OrdersReport::default()
    };
    let mut rejected = BTreeMap::<u16, u64>::new();
    for record in reader.payloads::<OrderRecord>() {
        let (_, record) = record.map_err(Failure::io)?;
        match record.transition {
            OrderTransition::Submitted => {
                report.submitted_count += 1;
                report.submitted_qty += record.qty.0;
            }
            OrderTransition::Accepted => report.accepted_count += 1,
            OrderTransition::Rejected => {
                report.rejected_count += 1;
                *rejected.entry(record.reason.number()).or_default() += 1;
            }
            OrderTransition::Filled => {
                report.filled_count += 1;
                report.filled_qty += record.qty.0;
            }
            OrderTransition::PartiallyFilled => {
                report.partially_filled_count += 1;
                report.filled_qty += record.qty.0;
            }
            OrderTransition::Canceled => report.canceled_count += 1,
            OrderTransition::CancelRejected => report.cancel_rejected_count += 1,
            OrderTransition::Illegal => report.illegal_transition_count += 1,
            OrderTransition::ReplaceRequested
            | OrderTransition::Replaced
            | OrderTransition::ReplaceRejected
            | OrderTransition::CancelRequested
            | OrderTransition::Repeated
            | OrderTransition::Reduced
            | OrderTransition::Busted
            | OrderTransition::Overdue
            | OrderTransition::Resent => {}
        }
    }
    let rows = ReasonCode::ALL.iter().map(|reason| (*reason, rejected.get(&reason.number()).copied().unwrap_or(0)));
    report.rejected =
        rows.filter(|(_, count)| *count > 0).map(|(reason, count)| DenialRow::new(reason, count)).collect();
    Ok(report)
}

fn pnl(run: &Run) -> PnlReport {
    let rows = run.decide.pnl.rows();
    let sum = |of: fn(&SymbolPnl) -> Notional| rows.iter().map(of).fold(Notional::ZERO, Notional::saturating_add);
    let (net, fees) = (sum(SymbolPnl::net), sum(|row| row.fees));
    let mut sorted: Vec<&SymbolPnl> = rows.iter().filter(|row| row.fill_count() > 0).collect();
    sorted.sort_by(|a, b| b.turnover.cmp(&a.turnover).then(a.symbol.cmp(&b.symbol)));
    let curve = run.decide.pnl.curve();
    PnlReport {
        currency: "USD".to_owned(),
        mark: "middle of the last two-sided book".to_owned(),
        gross: net.saturating_add(fees),
        fees,
        net,
        turnover: sum(|row| row.turnover),
        gross_exposure_max: run.decide.pnl.gross_max(),
        symbols: sorted.iter().take(SYMBOL_ROWS_MAX).map(|row| symbol_row(run, row)).collect(),
        traded_symbol_count: u64::try_from(sorted.len()).unwrap_or(u64::MAX),
        curve: curve
            .iter()
            .map(|point| EquityPoint { time: point.time, equity: point.equity, gross_exposure: point.gross })
            .collect(),
    }
}

fn symbol_row(run: &Run, row: &SymbolPnl) -> SymbolRow {
    SymbolRow {
        symbol: symbol_name(run, row.symbol),
        fill_count: row.fill_count(),
        bought_qty: row.bought_qty,
        sold_qty: row.sold_qty,
        position: row.position.0,
        mark_price: row.mid_x2.map(|mid| Price(mid.0 / 2)),
        turnover: row.turnover,
        gross: row.net().saturating_add(row.fees),
        fees: row.fees,
        net: row.net(),
        order_count: row.order_count,
    }
}

fn latencies(run: &Run) -> Vec<LatencyRow> {
    let measures = |name: &str| match name {
        "event_to_order" => "event taken, or due, to its approved orders recorded and handed over",
        "event_to_decision" => "event taken, or due, to its decision, orders included",
        "features" => "event taken, or due, to book and features up to date",
        "observe" => "inference: features to heads (what the latency guard watches)",
        "controller" => "heads to intents",
        "advance" => "the latent state's next step, after the decision and off the critical path",
        "queue_wait" => "due time to taken (timed replays)",
        FEED_TIMES => "the venue's time stamp of the last message of a packet to the packet's receipt (live runs)",
        _ => "",
    };
    let row = |reader: &IntervalReader| {
        let row = LatencyRow::from_reader(measures(reader.name()), reader);
        let note = if row.name == FEED_TIMES { feed_note(row.clamped_count) } else { String::new() };
        row.with_note(note)
    };
    run.latencies.iter().map(row).filter(|row| row.count > 0).collect()
}

/// Within which limits the feed's latency is true.
fn feed_note(clamped_count: u64) -> String {
    let clamped = match clamped_count {
        0 => String::new(),
        outside => format!(
            "; {} lay below zero or above {}",
            count(outside),
            span(LatencyBounds::STANDARD.latency_max.0.unsigned_abs())
        ),
    };
    format!("by the venue's clock and ours, true only as far as both agree{clamped}")
}

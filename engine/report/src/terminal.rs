//! The report as text for a terminal.

use peregrine_types::EpochNanos;

use crate::{
    Fact, RunReport, VerdictOutcome,
    format::{bytes, count, moments, money, nanos, percent, signed, utc},
    table::Table,
};

/// Narrower terminals get lines of this length all the same.
const WIDTH_MIN: usize = 60;
/// Rows of the symbol table.
const SYMBOL_COUNT_MAX: usize = 10;

/// The report as compact aligned tables of at most about `width` characters, with ANSI colours if `colour`.
#[must_use]
pub fn to_terminal(report: &RunReport, width: usize, colour: bool) -> String {
    let mut page = Page { text: String::new(), width: width.max(WIDTH_MIN), colour };
    head(&mut page, report);
    run(&mut page, report);
    feed(&mut page, report);
    trading(&mut page, report);
    pnl(&mut page, report);
    paper(&mut page, report);
    latency(&mut page, report);
    log(&mut page, report);
    verdicts(&mut page, report);
    page.text
}

struct Page {
    text: String,
    width: usize,
    colour: bool,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn section(&mut self, name: &str) {
        let name = self.painted("1", name);
        self.line("");
        self.line(&name);
    }

    /// Names to the left, values behind them; a value that is too long goes on in the next line.
    fn pairs<'a>(&mut self, pairs: impl IntoIterator<Item = (&'a str, String)>) {
        let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| (plain(name), value)).collect();
        let indent = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).saturating_add(4);
        for (name, value) in pairs {
            let lines = wrapped(&plain(&value), self.width.saturating_sub(indent));
            for (index, line) in lines.iter().enumerate() {
                let name = if index == 0 { name.as_str() } else { "" };
                self.line(format!("  {name:<width$}{line}", width = indent.saturating_sub(2)).trim_end());
            }
        }
    }

    fn table(&mut self, table: &Table) {
        for line in table.to_text(self.width.saturating_sub(2)).lines() {
            self.line(&format!("  {line}"));
        }
    }
}

/// Text from outside on one line, without control characters.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Lines of at most `width` characters, broken between words; a longer word has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        let is_fitting = line.chars().count().saturating_add(word.chars().count()) < width;
        match (line.is_empty(), is_fitting) {
            (true, _) => line.push_str(word),
            (false, true) => *line = format!("{line} {word}"),
            (false, false) => lines.push(word.to_owned()),
        }
    }
    lines
}

fn head(page: &mut Page, report: &RunReport) {
    let title = page.painted("1", &plain(&report.title));
    page.line(&title);
    if report.is_interrupted {
        let text = page.painted("33", "interrupted: the figures cover what was done until then");
        page.line(&text);
    }
    let untrained =
        "the model is untrained: its orders exercise the machinery; profit, fills and decisions mean nothing";
    for warning in
        (!report.model.is_trained).then_some(untrained).into_iter().chain(report.warnings.iter().map(String::as_str))
    {
        let text = page.painted("33", &format!("warning: {}", plain(warning)));
        page.line(&text);
    }
}

fn run(page: &mut Page, report: &RunReport) {
    page.section("Run");
    let model = &report.model;
    page.pairs([
        ("command", report.command.clone()),
        ("folder", report.run_dir.clone()),
        ("started", utc(report.started_utc)),
        ("took", nanos(report.elapsed_ns)),
        ("model", format!("{} ({}, {})", model.name, model.size, model.training)),
    ]);
    let mut group = "";
    let width = report.facts.iter().map(|fact| fact.name.chars().count()).max().unwrap_or(0).saturating_add(2);
    for Fact { group: of, name, value } in &report.facts {
        let shown = if of == group { "" } else { of.as_str() };
        page.line(&format!("  {:<10}{:<width$}{}", plain(shown), plain(name), plain(value)));
        group = of;
    }
}

fn feed(page: &mut Page, report: &RunReport) {
    page.section("Input and feed");
    let mut inputs = Table::new().left("file").left("format").right("size").right("messages").left("end");
    for input in &report.inputs {
        inputs.row([&input.path, &input.format, &bytes(input.len), &count(input.message_count), &input.end]);
    }
    page.table(&inputs);
    let feed = &report.feed;
    let span = feed.first_exch_time.zip(feed.last_exch_time).map_or_else(|| "–".to_owned(), span_text);
    page.pairs([
        ("messages", format!("{}, events {}", count(feed.message_count), count(feed.event_count))),
        ("exchange time", span),
        ("malformed", format!("{}, of unknown type {}", count(feed.malformed_count), count(feed.unknown_type_count))),
        ("gaps", gaps_text(report)),
        ("books", books_text(report)),
    ]);
    let mut messages = Table::new().left("type").left("message").right("count").right("share");
    for row in &feed.messages {
        messages.row([&row.code, &row.name, &count(row.count), &percent(row.count, feed.message_count)]);
    }
    page.table(&messages);
    if !feed.lines.is_empty() {
        let heads = ["packets", "messages", "first", "duplicates", "late", "gaps", "malformed"];
        let mut lines = heads.into_iter().fold(Table::new().left("line"), Table::right);
        for line in &feed.lines {
            let figures = [line.packet_count, line.message_count, line.first_count, line.duplicate_count];
            let faults = [line.late_count, line.gap_count, line.malformed_count];
            lines.row([line.name.clone()].into_iter().chain(figures.into_iter().chain(faults).map(count)));
        }
        page.table(&lines);
    }
}

/// From when to when, and how long that is.
pub(crate) fn span_text((first, last): (EpochNanos, EpochNanos)) -> String {
    let span = u64::try_from(last.since(first).0).unwrap_or(0);
    format!("{} ({})", moments(first, last), nanos(span))
}

pub(crate) fn gaps_text(report: &RunReport) -> String {
    let gaps = &report.feed.gaps;
    format!(
        "{} declared, {} recovered, {} lost ({} messages)",
        count(gaps.declared_count),
        count(gaps.recovered_count),
        count(gaps.lost_count),
        count(gaps.lost_message_count)
    )
}

pub(crate) fn books_text(report: &RunReport) -> String {
    let book = &report.book;
    let anomalies = book.anomalies.iter().map(|row| row.count).fold(0, u64::saturating_add);
    let (symbols, live) = (count(book.symbol_count), count(book.live_order_count));
    let quarantined = book.quarantined_symbols.len();
    format!(
        "{symbols} symbols, {live} live orders at the end, {} anomalies, {quarantined} quarantined",
        count(anomalies)
    )
}

fn trading(page: &mut Page, report: &RunReport) {
    page.section("Decisions, risk and orders");
    let (strategy, risk, orders) = (&report.strategy, &report.risk, &report.orders);
    let decisions = format!(
        "{} on {} events of {} watched symbols; {} throttled, {} on books not good, {} non-finite",
        count(strategy.decision_count),
        count(strategy.watched_event_count),
        strategy.watched_symbols.len(),
        count(strategy.throttled_count),
        count(strategy.book_not_good_count),
        count(strategy.non_finite_count)
    );
    let states = format!(
        "{} submitted, {} accepted, {} rejected, {} filled, {} partially, {} canceled, {} open",
        count(orders.submitted_count),
        count(orders.accepted_count),
        count(orders.rejected_count),
        count(orders.filled_count),
        count(orders.partially_filled_count),
        count(orders.canceled_count),
        count(orders.open_count)
    );
    let fills = format!(
        "{} that added and {} that removed liquidity; {} of the submitted quantity",
        count(orders.fill_added_count),
        count(orders.fill_removed_count),
        percent(orders.filled_qty, orders.submitted_qty)
    );
    let verdict = format!(
        "{} orders and {} cancels approved, {} denied",
        count(risk.approved_count),
        count(risk.cancel_count),
        count(risk.denied_count())
    );
    page.pairs([("decisions", decisions), ("risk gate", verdict), ("orders", states), ("fills", fills)]);
    for (head, rows) in [("denied because", &risk.denied), ("rejected because", &orders.rejected)] {
        if !rows.is_empty() {
            let mut table = Table::new().left(head).right("count").left("meaning");
            for row in rows {
                table.row([&row.name, &count(row.count), &row.text]);
            }
            page.table(&table);
        }
    }
}

fn pnl(page: &mut Page, report: &RunReport) {
    let pnl = &report.pnl;
    page.section(&format!("Profit and loss, {}", plain(&pnl.currency)));
    page.pairs([
        ("net", format!("{} (gross {}, fees {})", money(pnl.net), money(pnl.gross), money(pnl.fees))),
        ("turnover", format!("{}, gross exposure at most {}", money(pnl.turnover), money(pnl.gross_exposure_max))),
    ]);
    if pnl.symbols.is_empty() {
        return;
    }
    let heads = ["orders", "fills", "bought", "sold", "position", "turnover", "fees", "net"];
    let mut symbols = heads.into_iter().fold(Table::new().left("symbol"), Table::right);
    for row in pnl.symbols.iter().take(SYMBOL_COUNT_MAX) {
        let counts = [row.order_count, row.fill_count, row.bought_qty, row.sold_qty].map(count);
        let values = [signed(row.position), money(row.turnover), money(row.fees), money(row.net)];
        symbols.row([row.symbol.clone()].into_iter().chain(counts).chain(values));
    }
    page.table(&symbols);
    let shown = u64::try_from(pnl.symbols.len().min(SYMBOL_COUNT_MAX)).unwrap_or(u64::MAX);
    if pnl.traded_symbol_count > shown {
        page.line(&format!("  {} of {} symbols, by turnover", count(shown), count(pnl.traded_symbol_count)));
    }
}

fn paper(page: &mut Page, report: &RunReport) {
    let Some(paper) = &report.paper else { return };
    page.section("What paper trading showed");
    for part in paper.parts() {
        let name = page.painted("1", part.name);
        page.line(&format!("  {name}"));
        let rows = part.rows.iter().map(|(name, value)| (name.as_str(), value.clone()));
        page.pairs(std::iter::once(("reading", part.reading.clone())).chain(rows));
    }
}

fn latency(page: &mut Page, report: &RunReport) {
    page.section("Latency and speed");
    let heads = ["count", "min", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
    let mut table = heads.into_iter().fold(Table::new().left("stage"), Table::right);
    for row in &report.latencies {
        table.row([row.name.clone(), count(row.count)].into_iter().chain(row.spans()));
    }
    page.table(&table);
    for row in report.latencies.iter().filter(|row| !row.note.is_empty()) {
        page.line(&format!("  {}: {}", row.name, row.note));
    }
    let speed = &report.throughput;
    let rate = format!(
        "{} events/s ({} events in {})",
        count(speed.events_per_second),
        count(speed.event_count),
        nanos(speed.span_ns)
    );
    page.pairs([("speed", rate), ("pacing", speed.pacing.text())]);
}

fn log(page: &mut Page, report: &RunReport) {
    let log = &report.log;
    page.section("Log and reproducibility");
    let mut streams = Table::new().left("stream").right("records").right("size").left("chain head");
    for row in &log.streams {
        streams.row([&row.name, &count(row.record_count), &bytes(row.len), &row.chain_head]);
    }
    page.table(&streams);
    page.pairs([
        ("folder", log.dir.clone()),
        ("log hash", log.log_hash.clone()),
        ("state hash", log.state_hash.clone()),
        ("verify with", log.verify_command.clone()),
    ]);
}

fn verdicts(page: &mut Page, report: &RunReport) {
    if report.verdicts.is_empty() {
        return;
    }
    page.section("Verdict");
    for verdict in &report.verdicts {
        let code = match verdict.outcome {
            VerdictOutcome::Pass => "32",
            VerdictOutcome::Warn => "33",
            VerdictOutcome::Fail => "31",
        };
        let word = page.painted(code, verdict.outcome.name());
        page.line(&format!("  {word}  {}", plain(&verdict.text)));
    }
}

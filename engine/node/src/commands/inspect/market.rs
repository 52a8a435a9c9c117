//! Captures and ITCH files: messages, time, symbols, gaps, duplicates, malformed bytes with their offsets, and whether a
//! book built from them holds together.

use peregrine_book::{BookAnomaly, BookConfig, Books, MarketBooks};
use peregrine_report::format::{bytes, count, moments};
use peregrine_report::table::Table;
use peregrine_source::Carrier;
use peregrine_types::{EpochNanos, EventKind, Full, MarketEvent, Nanos, Sink, SymbolId};
use serde_json::json;

use super::bbo::BboFile;
use crate::cli::InspectArgs;
use crate::commands::replay::parse_date;
use crate::commands::{print, print_json};
use crate::exit::{Exit, Failure};
use crate::input::{Depth, Feed, Input, InputPlan, Mdp3Plan};
use crate::summary;

const SYMBOL_COUNT_MAX: u32 = 16_384;
const ORDER_COUNT_MAX: u32 = 1 << 22;
const LEVEL_COUNT_MAX: u32 = 1 << 21;
/// Malformed messages and book anomalies that are listed with their places.
const PLACES_MAX: usize = 20;

/// What the events of an input showed.
struct Findings {
    books: Books,
    bbo: Option<BboFile>,
    names: Vec<String>,
    event_count: u64,
    first: Option<EpochNanos>,
    last: Option<EpochNanos>,
    anomalies: Vec<String>,
    /// Events about orders that were added before the capture began; no fault of a capture that joined later.
    early_order_count: u64,
    has_joined_late: bool,
    /// Anomalies of the packet or message that is being read.
    unplaced: Vec<(BookAnomaly, u64)>,
}

impl Sink<MarketEvent> for Findings {
    fn push(&mut self, event: MarketEvent) -> Result<(), Full<MarketEvent>> {
        self.event_count += 1;
        self.first.get_or_insert(event.exch_time);
        self.last = Some(event.exch_time);
        if event.kind == EventKind::StockDirectory {
            self.name(event.symbol, &event.symbol_name().to_string());
        }
        self.has_joined_late |= event.kind == EventKind::SessionStart && event.id_b > 1;
        let update = self.books.apply(&event);
        if update.anomaly == Some(BookAnomaly::UnknownOrder) && self.has_joined_late {
            self.early_order_count += 1;
        } else if let Some(anomaly) = update.anomaly
            && self.anomalies.len() + self.unplaced.len() < PLACES_MAX
        {
            self.unplaced.push((anomaly, event.id_a));
        }
        if update.is_top_changed
            && let Some(bbo) = &mut self.bbo
        {
            let name = self.names.get(event.symbol.index()).map_or("", String::as_str);
            bbo.on_change(&event, name, &self.books.top(event.symbol));
        }
        Ok(())
    }
}

impl Findings {
    /// What was noted since the last call stands at `offset`.
    fn place(&mut self, offset: u64) {
        let places = self.unplaced.drain(..);
        self.anomalies
            .extend(places.map(|(anomaly, order)| format!("{} at byte {offset}: order {order}", anomaly.name())));
    }

    fn name(&mut self, symbol: SymbolId, name: &str) {
        if self.names.len() <= symbol.index() {
            self.names.resize(symbol.index() + 1, String::new());
        }
        if let Some(slot) = self.names.get_mut(symbol.index()) {
            name.clone_into(slot);
        }
    }
}

pub(super) fn run(args: &InspectArgs) -> Result<Exit, Failure> {
    let plan = InputPlan {
        files: args.files.clone(),
        date: args.date.as_deref().map(parse_date).transpose()?,
        zone: args.zone.clone(),
        symbol_count_max: SYMBOL_COUNT_MAX,
        reorder_window: Nanos::from_millis(2),
        is_sequence_checked: true,
        mdp3: Mdp3Plan {
            depth: if args.mdp3_levels { Depth::Levels } else { Depth::Orders },
            instruments: args.mdp3_instrument.clone(),
        },
    };
    let mut input = Input::open(&plan, &[])?;
    let mut config = BookConfig::new(SYMBOL_COUNT_MAX, ORDER_COUNT_MAX, LEVEL_COUNT_MAX);
    config.is_unknown_state_tradable = true;
    let symbols = SymbolId(SYMBOL_COUNT_MAX).index();
    let bbo = args.bbo.as_deref().map(|path| BboFile::create(path, symbols)).transpose()?;
    let mut findings = Findings {
        books: Books::new(config).map_err(Failure::usage)?,
        bbo,
        names: Vec::new(),
        event_count: 0,
        first: None,
        last: None,
        anomalies: Vec::new(),
        early_order_count: 0,
        has_joined_late: false,
        unplaced: Vec::new(),
    };
    let (malformed, read_error) = read(&mut input, &mut findings);
    input.finish(&mut findings);
    findings.place(input.offset());
    if let Some(bbo) = findings.bbo.take() {
        bbo.finish()?;
    }
    let file_count = args.files.len();
    let report = Report { input: &input, findings: &findings, file_count, malformed, read_error };
    if args.json {
        print_json(&report.to_json())?
    } else {
        print(&report.to_text())?
    }
    Ok(if report.faults().is_empty() { Exit::Done } else { Exit::No })
}

/// Reads to the end, or to where the file is damaged; notes where malformed messages stood.
fn read(input: &mut Input, findings: &mut Findings) -> (Vec<String>, Option<String>) {
    let mut malformed = Vec::new();
    loop {
        let before = input.feed().counts().malformed_count;
        match input.step(findings) {
            Ok(true) => findings.place(input.offset()),
            Ok(false) => return (malformed, None),
            Err(error) => return (malformed, Some(error.to_string())),
        }
        if input.feed().counts().malformed_count > before
            && malformed.len() < PLACES_MAX
            && let Some(error) = input.feed().malformed_last()
        {
            malformed.push(format!("packet or message at byte {}: {error}", input.offset()));
        }
        // A symbol that no directory message announced has its name in the order itself.
        if findings.names.len() < SymbolId(counters_symbols(input)).index() {
            let symbols: Vec<_> = input.feed().symbols().iter().map(|(id, name)| (id, name.to_string())).collect();
            symbols.into_iter().for_each(|(id, name)| findings.name(id, &name));
        }
    }
}

fn counters_symbols(input: &Input) -> u32 {
    input.feed().symbols().count()
}

struct Report<'a> {
    input: &'a Input,
    findings: &'a Findings,
    file_count: usize,
    malformed: Vec<String>,
    read_error: Option<String>,
}

impl Report<'_> {
    /// What makes the data unsound.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let malformed_count = self.input.feed().counts().malformed_count;
        let statistics = self.input.source().statistics();
        faults.extend(self.read_error.clone());
        if statistics.packet_count == 0 {
            faults.push(match self.input.source().format() {
                Carrier::Itch => "it holds no message".to_owned(),
                Carrier::MoldUdp64 | Carrier::Mdp3 => {
                    "no frame of the capture holds MoldUDP64 or MDP 3.0: it is not of these feeds".to_owned()
                }
            });
        }
        if malformed_count > 0 {
            faults.push(format!("{malformed_count} malformed messages"));
        }
        let dropped = self.input.feed().counts().directory_full_count;
        if dropped > 0 {
            faults.push(format!("{dropped} messages are about more than {SYMBOL_COUNT_MAX} symbols: dropped"));
        }
        if matches!(statistics.end, peregrine_source::End::Truncated { .. }) {
            faults.push(format!("the file is cut: {}", statistics.end));
        }
        let anomalies = self.findings.books.anomalies().total() - self.findings.early_order_count;
        if anomalies > 0 {
            faults.push(format!("{anomalies} events that no whole book can see"));
        }
        if let Some(arbiter) = self.input.feed().arbiter() {
            let (lines, gaps) = summary::lines(arbiter);
            if gaps.lost_message_count > 0 {
                faults.push(format!("{} messages are missing in {} gaps", gaps.lost_message_count, gaps.lost_count));
            }
            for (stats, line) in arbiter.lines().iter().zip(&lines).filter(|(stats, _)| stats.far_count > 0) {
                let (count, last) = (stats.far_count, stats.far_last);
                let name = &line.name;
                faults
                    .push(format!("{count} packets of line {name} numbered too far ahead to be believed, last {last}"));
            }
            let bad: u64 = lines.iter().map(|line| line.malformed_count).sum();
            if bad > 0 {
                faults.push(format!("{bad} malformed packets"));
            }
        }
        faults
    }

    /// What does not make it unsound, but should be known.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let statistics = self.input.source().statistics();
        if !statistics.end.is_clean() && !matches!(statistics.end, peregrine_source::End::Truncated { .. }) {
            warnings.push(statistics.end.to_string());
        }
        for (reason, skipped) in statistics.skipped.iter().filter(|(_, skipped)| *skipped > 0) {
            warnings.push(format!("{skipped} frames skipped: {}", reason.as_str()));
        }
        if statistics.zeroed_checksum_count > 0 {
            warnings.push(format!("{} packets with wiped IP header checksums", statistics.zeroed_checksum_count));
        }
        if self.findings.early_order_count > 0 {
            let orders = self.findings.early_order_count;
            warnings
                .push(format!("the capture begins within a session: {orders} events are about orders added before"));
        }
        if usize::try_from(statistics.destination_count).is_ok_and(|seen| seen > self.file_count) {
            warnings.push(format!("{} destinations: are several feeds mixed?", statistics.destination_count));
        }
        if let Feed::Mdp3(feed) = self.input.feed() {
            warnings.extend(feed.decoder().counters().notes().map(|(count, what)| format!("{count} {what}")));
        }
        let unknown = self.input.feed().counts().unknown_count;
        if unknown > 0 && !matches!(self.input.feed(), Feed::Mdp3(_)) {
            warnings.push(format!("{unknown} messages of unknown types were skipped"));
        }
        if statistics.backward_step_count > 0 {
            warnings.push(format!("{} receive times went backwards", statistics.backward_step_count));
        }
        warnings
    }

    fn to_text(&self) -> String {
        let (input, findings) = (self.input, self.findings);
        let statistics = input.source().statistics();
        let format = match input.source().format() {
            Carrier::Itch => "length-prefixed ITCH 5.0",
            Carrier::MoldUdp64 if statistics.packet_count == 0 => "capture without MoldUDP64 or MDP 3.0",
            Carrier::MoldUdp64 => "capture of MoldUDP64/ITCH 5.0",
            Carrier::Mdp3 => "capture of MDP 3.0",
        };
        let mut text = format!(
            "format     {format}, session of {}\nread       {} packets or messages, {} of payload\nmessages   {}, events {}\n",
            input.session().date,
            count(statistics.packet_count),
            bytes(statistics.payload_len),
            count(input.feed().counts().message_count),
            count(findings.event_count),
        );
        if let (Some(first), Some(last)) = (findings.first, findings.last) {
            let span = last.since(first).0.max(0) / 1_000_000_000;
            text.push_str(&format!("span       {}, {span} s\n", moments(first, last)));
        }
        text.push_str(&format!(
            "symbols    {}; live orders at the end {}\n\n",
            count(u64::from(input.feed().symbols().count())),
            count(u64::try_from(findings.books.order_count()).unwrap_or(u64::MAX)),
        ));
        text.push_str(&self.message_table());
        if let Some(arbiter) = input.feed().arbiter() {
            text.push_str(&line_table(arbiter));
        }
        self.places("malformed", &self.malformed, &mut text);
        self.places("impossible for the book", &findings.anomalies, &mut text);
        self.places("note", &self.warnings(), &mut text);
        let faults = self.faults();
        if faults.is_empty() {
            text.push_str("\nsound\n");
        } else {
            text.push_str(&format!("\nNOT sound: {}\n", faults.join("; ")));
        }
        text
    }

    fn message_table(&self) -> String {
        let mut table = Table::new().left("type").left("message").right("count");
        for (code, title, seen) in self.input.feed().messages().into_iter().filter(|(_, _, seen)| *seen > 0) {
            table.row([code, title.to_owned(), count(seen)]);
        }
        table.to_text(100)
    }

    fn places(&self, what: &str, places: &[String], text: &mut String) {
        for place in places {
            text.push_str(&format!("{what}: {place}\n"));
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let (input, findings) = (self.input, self.findings);
        let (statistics, counts) = (input.source().statistics(), input.feed().counts());
        let messages: serde_json::Map<_, _> =
            input.feed().messages().into_iter().map(|(code, _, seen)| (code, json!(seen))).collect();
        let (lines, gaps) = input.feed().arbiter().map(summary::lines).unwrap_or_default();
        json!({
            "is_sound": self.faults().is_empty(),
            "faults": self.faults(),
            "warnings": self.warnings(),
            "date": input.session().date.to_string(),
            "packet_count": statistics.packet_count,
            "message_count": counts.message_count,
            "event_count": findings.event_count,
            "messages": messages,
            "malformed_count": counts.malformed_count,
            "malformed": self.malformed,
            "unknown_count": counts.unknown_count,
            "first_exch_time_ns": findings.first.map(|time| time.0),
            "last_exch_time_ns": findings.last.map(|time| time.0),
            "symbol_count": input.feed().symbols().count(),
            "anomalies": findings.anomalies,
            "lines": lines,
            "gaps": gaps,
            "end": statistics.end.to_string(),
        })
    }
}

fn line_table(arbiter: &peregrine_wire::Arbiter) -> String {
    let (lines, gaps) = summary::lines(arbiter);
    let mut table = Table::new().left("line").right("packets").right("messages").right("first").right("duplicates");
    table = table.right("gaps").right("missing").right("late").right("malformed");
    for line in lines {
        let numbers = [
            line.packet_count,
            line.message_count,
            line.first_count,
            line.duplicate_count,
            line.gap_count,
            line.gap_message_count,
            line.late_count,
            line.malformed_count,
        ];
        table.row(std::iter::once(line.name).chain(numbers.map(count)));
    }
    let text = table.to_text(120);
    format!(
        "\n{text}gaps: {} declared, {} recovered from the other line, {} lost ({} messages)\n",
        gaps.declared_count, gaps.recovered_count, gaps.lost_count, gaps.lost_message_count
    )
}

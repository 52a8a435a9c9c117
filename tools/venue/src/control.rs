//! What whoever runs the exchange may tell it while it runs, a line each, and the journal that such lines make: what was
//! told at which time of the day, so that another run can be told the same.

use core::fmt;

use peregrine_types::{Nanos, Symbol};

use crate::faults::{LineFaults, PortFaults};
use crate::orders::TimeOfDay;

/// Every command, for who mistyped one.
pub const CONTROL_COMMANDS: &str = "\
fault line A|B|retransmission KEY VALUE (loss_ppm, duplicate_ppm, reorder_ppm, reorder_delay, delay, jitter, outage; \
clear alone; retransmission: lie_ppm too); \
fault port N KEY VALUE (lost_order_ppm, lost_answer_ppm, duplicate_fill_ppm, late_fill_ppm, late_fill_delay, bust_ppm, \
bust_delay, storm; clear alone); \
halt SYMBOL; resume SYMBOL; bust MATCH; cut PORT; session roll; session reset; session roll port N; status; spans as 2s, \
500ms, 20us";

/// What is to be another one with a line, or with the answers of the retransmission server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineChange {
    Loss(u32),
    Duplication(u32),
    Reordering(u32),
    ReorderDelay(Nanos),
    Delay(Nanos),
    Jitter(Nanos),
    /// Nothing arrives for so long, from now on.
    Outage(Nanos),
    /// No fault any more.
    Clear,
}

impl LineChange {
    /// The faults with this change; an outage is no lasting one.
    pub(crate) const fn apply(self, faults: &mut LineFaults) {
        match self {
            Self::Loss(ppm) => faults.loss_ppm = ppm,
            Self::Duplication(ppm) => faults.duplicate_ppm = ppm,
            Self::Reordering(ppm) => faults.reorder_ppm = ppm,
            Self::ReorderDelay(span) => faults.reorder_delay = span,
            Self::Delay(span) => faults.delay = span,
            Self::Jitter(span) => faults.jitter = span,
            Self::Outage(_) => {}
            Self::Clear => *faults = LineFaults::NONE,
        }
    }
}

/// What is to be another one with an order port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortChange {
    LostOrders(u32),
    LostAnswers(u32),
    DuplicateFills(u32),
    LateFills(u32),
    LateFillDelay(Nanos),
    Busts(u32),
    BustDelay(Nanos),
    /// Every order is refused for so long by the wall's clock, from now on.
    Storm(Nanos),
    /// No fault any more.
    Clear,
}

impl PortChange {
    /// The faults with this change; `until` is the end of a storm that begins at `time`.
    pub(crate) fn apply(self, faults: &mut PortFaults, (time, until): (TimeOfDay, TimeOfDay)) {
        match self {
            Self::LostOrders(ppm) => faults.lost_order_ppm = ppm,
            Self::LostAnswers(ppm) => faults.lost_answer_ppm = ppm,
            Self::DuplicateFills(ppm) => faults.duplicate_fill_ppm = ppm,
            Self::LateFills(ppm) => faults.late_fill_ppm = ppm,
            Self::LateFillDelay(span) => faults.late_fill_delay = span,
            Self::Busts(ppm) => faults.bust_ppm = ppm,
            Self::BustDelay(span) => faults.bust_delay = span,
            Self::Storm(_) => faults.reject_storms.push((time, until)),
            Self::Clear => *faults = PortFaults::default(),
        }
    }
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Line(usize, LineChange),
    Retransmission(LineChange),
    Lies(u32),
    Port(usize, PortChange),
    Halt(Symbol),
    Resume(Symbol),
    Bust(u64),
    Cut(usize),
    SessionRoll,
    SequenceReset,
    PortSessionRoll(usize),
    Status,
}

/// Why a line is no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// It begins as none does.
    #[error("`{0}` is no command; there are: {CONTROL_COMMANDS}")]
    Unknown(String),
    /// A word of it cannot be what it is to be.
    #[error("`{word}` is no {wanted}; the commands are: {CONTROL_COMMANDS}")]
    Word {
        /// The word; empty where it is missing.
        word: String,
        /// What was wanted there.
        wanted: &'static str,
    },
    /// A line of a journal has no time of day at its begin.
    #[error("line {0} of the journal has no time of day, HH:MM:SS.nnnnnnnnn, in front of a command")]
    Time(usize),
    /// A line of a journal lies before the one above it.
    #[error("line {0} of the journal lies before the one above it")]
    Order(usize),
}

fn word(word: &str, wanted: &'static str) -> ControlError {
    ControlError::Word { word: word.to_owned(), wanted }
}

fn number<T: core::str::FromStr>(text: &str, wanted: &'static str) -> Result<T, ControlError> {
    text.replace('_', "").parse().map_err(|_| word(text, wanted))
}

fn share(text: &str) -> Result<u32, ControlError> {
    let wanted = "share in millionths, 0 to 1000000";
    number(text, wanted).and_then(|ppm: u32| if ppm <= 1_000_000 { Ok(ppm) } else { Err(word(text, wanted)) })
}

/// `2s`, `500ms`, `20us`: an hour at most.
fn span(text: &str) -> Result<Nanos, ControlError> {
    let wanted = "span like 2s, 500ms or 20us, an hour at most";
    let units = [("ms", 1_000_000), ("us", 1_000), ("s", 1_000_000_000_i64)];
    let found = units.iter().find_map(|(unit, nanos)| Some((text.strip_suffix(unit)?, *nanos)));
    let (count, nanos) = found.ok_or_else(|| word(text, wanted))?;
    let count: u32 = number(count, wanted).map_err(|_| word(text, wanted))?;
    let span = i64::from(count).saturating_mul(nanos);
    if span <= 3_600_000_000_000 { Ok(Nanos(span)) } else { Err(word(text, wanted)) }
}

fn line_change(words: &[&str]) -> Result<LineChange, ControlError> {
    let Some((key, values)) = words.split_first() else { return Err(word("", "fault of a line")) };
    let value = values.first().copied().unwrap_or_default();
    Ok(match (*key, values.len()) {
        ("clear", 0) => LineChange::Clear,
        ("loss_ppm", 1) => LineChange::Loss(share(value)?),
        ("duplicate_ppm", 1) => LineChange::Duplication(share(value)?),
        ("reorder_ppm", 1) => LineChange::Reordering(share(value)?),
        ("reorder_delay", 1) => LineChange::ReorderDelay(span(value)?),
        ("delay", 1) => LineChange::Delay(span(value)?),
        ("jitter", 1) => LineChange::Jitter(span(value)?),
        ("outage", 1) => LineChange::Outage(span(value)?),
        _ => return Err(word(&words.join(" "), "fault of a line")),
    })
}

fn port_change(words: &[&str]) -> Result<PortChange, ControlError> {
    let Some((key, values)) = words.split_first() else { return Err(word("", "fault of a port")) };
    let value = values.first().copied().unwrap_or_default();
    Ok(match (*key, values.len()) {
        ("clear", 0) => PortChange::Clear,
        ("lost_order_ppm", 1) => PortChange::LostOrders(share(value)?),
        ("lost_answer_ppm", 1) => PortChange::LostAnswers(share(value)?),
        ("duplicate_fill_ppm", 1) => PortChange::DuplicateFills(share(value)?),
        ("late_fill_ppm", 1) => PortChange::LateFills(share(value)?),
        ("late_fill_delay", 1) => PortChange::LateFillDelay(span(value)?),
        ("bust_ppm", 1) => PortChange::Busts(share(value)?),
        ("bust_delay", 1) => PortChange::BustDelay(span(value)?),
        ("storm", 1) => PortChange::Storm(span(value)?),
        _ => return Err(word(&words.join(" "), "fault of a port")),
    })
}

fn symbol(name: &str) -> Result<Symbol, ControlError> {
    Symbol::new(name).ok_or_else(|| word(name, "symbol"))
}

impl Control {
    /// Reads a line.
    pub(crate) fn parse(line: &str) -> Result<Self, ControlError> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        Ok(match &words[..] {
            ["fault", "line", "A", change @ ..] => Self::Line(0, line_change(change)?),
            ["fault", "line", "B", change @ ..] => Self::Line(1, line_change(change)?),
            ["fault", "line", "retransmission", "lie_ppm", ppm] => Self::Lies(share(ppm)?),
            ["fault", "line", "retransmission", change @ ..] => Self::Retransmission(line_change(change)?),
            ["fault", "line", name, ..] => return Err(word(name, "line: A, B or retransmission")),
            ["fault", "port", port, change @ ..] => Self::Port(number(port, "number of a port")?, port_change(change)?),
            ["halt", name] => Self::Halt(symbol(name)?),
            ["resume", name] => Self::Resume(symbol(name)?),
            ["bust", number_of] => Self::Bust(number(number_of, "match number")?),
            ["cut", port] => Self::Cut(number(port, "number of a port")?),
            ["session", "roll"] => Self::SessionRoll,
            ["session", "reset"] => Self::SequenceReset,
            ["session", "roll", "port", port] => Self::PortSessionRoll(number(port, "number of a port")?),
            ["status"] => Self::Status,
            _ => return Err(ControlError::Unknown(line.trim().to_owned())),
        })
    }
}

/// A line of a journal: when, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// The time of day.
    pub time: TimeOfDay,
    /// The command, as it was written.
    pub command: String,
}

impl fmt::Display for JournalEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", clock_text(self.time), self.command)
    }
}

/// `HH:MM:SS.nnnnnnnnn`.
pub(crate) fn clock_text(time: TimeOfDay) -> String {
    let (seconds, nanos) = (time.0 / 1_000_000_000, time.0 % 1_000_000_000);
    format!("{:02}:{:02}:{:02}.{nanos:09}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

fn parse_clock(text: &str) -> Option<TimeOfDay> {
    let (clock, nanos) = text.split_once('.')?;
    let parts: Vec<u64> = clock.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = parts[..] else { return None };
    let nanos: u64 = if nanos.len() == 9 { nanos.parse().ok()? } else { return None };
    let is_time = hours < 100 && minutes < 60 && seconds < 60;
    is_time.then_some(TimeOfDay(((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + nanos))
}

/// Reads a journal: one command a line behind its time, times that never fall; empty lines are passed over.
pub(crate) fn parse_journal(text: &str) -> Result<Vec<(TimeOfDay, Control, String)>, ControlError> {
    let mut entries: Vec<(TimeOfDay, Control, String)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let (time, command) = line.trim().split_once(' ').ok_or(ControlError::Time(number))?;
        let time = parse_clock(time).ok_or(ControlError::Time(number))?;
        if entries.last().is_some_and(|(before, ..)| *before > time) {
            return Err(ControlError::Order(number));
        }
        entries.push((time, Control::parse(command)?, command.trim().to_owned()));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_is_understood() {
        let ms = Nanos::from_millis;
        let alfa = Symbol::new("ALFA").expect("a symbol");
        for (line, control) in [
            ("fault line A loss_ppm 300_000", Control::Line(0, LineChange::Loss(300_000))),
            ("fault  line B outage 2s", Control::Line(1, LineChange::Outage(ms(2_000)))),
            ("fault line B clear", Control::Line(1, LineChange::Clear)),
            ("fault line retransmission delay 500ms", Control::Retransmission(LineChange::Delay(ms(500)))),
            ("fault line retransmission lie_ppm 7", Control::Lies(7)),
            ("fault port 1 storm 20us", Control::Port(1, PortChange::Storm(Nanos(20_000)))),
            ("fault port 0 bust_ppm 1000000", Control::Port(0, PortChange::Busts(1_000_000))),
            ("halt ALFA", Control::Halt(alfa)),
            ("resume ALFA", Control::Resume(alfa)),
            ("bust 17", Control::Bust(17)),
            ("cut 1", Control::Cut(1)),
            ("session roll", Control::SessionRoll),
            ("session reset", Control::SequenceReset),
            ("session roll port 1", Control::PortSessionRoll(1)),
            ("status", Control::Status),
        ] {
            assert_eq!(Control::parse(line), Ok(control), "{line}");
        }
    }

    #[test]
    fn what_is_no_command_is_told_what_there_is() {
        for (line, said) in [
            ("", "`` is no command"),
            ("hallt ALFA", "`hallt ALFA` is no command"),
            ("halt", "`halt` is no command"),
            ("halt TOOLONGNAME", "`TOOLONGNAME` is no symbol"),
            ("fault line C loss_ppm 1", "`C` is no line"),
            ("fault line A loss_ppm 1000001", "`1000001` is no share"),
            ("fault line A outage 2", "`2` is no span"),
            ("fault line A outage 3601s", "`3601s` is no span"),
            ("fault line A outage", "`outage` is no fault of a line"),
            ("fault port x clear", "`x` is no number of a port"),
            ("fault port 0 rain 1s", "`rain 1s` is no fault of a port"),
            ("bust -1", "`-1` is no match number"),
            ("session roll port one", "`one` is no number of a port"),
            ("session roll 1", "`session roll 1` is no command"),
        ] {
            let error = Control::parse(line).expect_err(line).to_string();
            assert!(error.contains(said) && error.contains("session roll"), "{line}: {error}");
        }
    }

    #[test]
    fn a_journal_is_read_as_it_is_written() {
        let entry = JournalEntry { time: TimeOfDay(36_000_000_000_017), command: "halt ALFA".to_owned() };
        assert_eq!(entry.to_string(), "10:00:00.000000017 halt ALFA");
        let text = format!("{entry}\n\n10:00:01.000000000 session roll\n");
        let read = parse_journal(&text).expect("sound");
        assert_eq!((read.len(), read[0].0, read[1].1), (2, entry.time, Control::SessionRoll));
        for (text, error) in [
            ("10:00:00 halt ALFA", ControlError::Time(1)),
            ("10:00:00.5 halt ALFA", ControlError::Time(1)),
            ("10:00:01.000000000 status\n10:00:00.000000000 status", ControlError::Order(2)),
        ] {
            assert_eq!(parse_journal(text), Err(error), "{text}");
        }
    }
}

//! What earlier runs of the venue's session left in their logs: orders and fills, so that the next run can hold them
//! against the venue before it trades.
//!
//! Each live run leaves `session.json` in its folder, before its first order can leave: the venue's session and the symbols
//! by their identifiers. The folders beside it that name the same session are the history; a log that was cut off by a
//! crash is closed first.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use peregrine_decide::HeldMemory;
use peregrine_eventlog::records::{AnyPayload, IntentKind, OrderRecord, OrderTransition};
use peregrine_eventlog::{LogError, LogReader, Recovery, Stream};
use peregrine_gateway::live::{LoggedAccount, LoggedFill, LoggedOrder};
use peregrine_types::{NewOrder, OrderId, ReasonCode, Symbol, SymbolId, TimeInForce};
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::run::write_whole;
use crate::stage::decide::held_change;

/// Name of the note in a run's folder.
pub const NOTE_NAME: &str = "session.json";

/// Name of the note that a run's log has lost records.
const LOST_NAME: &str = "lost.txt";

/// Which session a run traded in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionNote {
    /// Version of this file's format.
    pub version: u32,
    /// The session's name as the venue gives it.
    pub session: String,
    /// The order port.
    pub address: String,
    /// The account.
    pub username: String,
    /// Names of the symbols, by their identifiers.
    pub symbols: Vec<String>,
    /// Names of the folders beside it whose runs it took over, in the order in which they were read.
    #[serde(default)]
    pub earlier: Vec<String>,
}

impl SessionNote {
    /// The note of a run that goes on where those of `history` ended.
    #[must_use]
    pub fn taking_over(self, history: &History) -> Self {
        let names = history.runs.iter().filter_map(|run| Some(run.file_name()?.to_string_lossy().into_owned()));
        Self { earlier: names.collect(), ..self }
    }

    /// Writes the note into a run's folder: in whole or not at all, whatever dies before this returns.
    ///
    /// # Errors
    /// [`Failure`] when the folder does not take it.
    pub fn write(&self, dir: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).map_err(Failure::io)? + "\n";
        write_whole(dir, NOTE_NAME, text.as_bytes())
    }

    /// Whether both are about the same account in the same session.
    fn is_same(&self, other: &Self) -> bool {
        self.session.trim() == other.session.trim()
            && self.address == other.address
            && self.username.eq_ignore_ascii_case(&other.username)
    }
}

/// The folder that holds a run's own: there lie the other runs of its session.
///
/// # Errors
/// What the system says of the current folder, which a relative path begins at.
pub fn around(dir: &Path) -> io::Result<PathBuf> {
    let dir = std::path::absolute(dir)?;
    Ok(dir.parent().unwrap_or(&dir).to_path_buf())
}

/// Keeps a second program away from the same account while it lives.
#[derive(Debug)]
pub struct SessionLock {
    _file: File,
}

impl SessionLock {
    /// Takes the account of `username` at `address` for this process, by a file in `out_dir`.
    ///
    /// # Errors
    /// [`Failure`] when another process has it, or the folder does not take the file.
    pub fn take(out_dir: &Path, address: &str, username: &str) -> Result<Self, Failure> {
        let name: String = format!(".account-{}-{address}.lock", username.to_ascii_lowercase());
        let path = out_dir.join(name.replace(['/', ':', '[', ']'], "_"));
        let failed = |error: &io::Error| Failure::file("lock", &path, error, "check the folder of log.out_dir");
        fs::create_dir_all(out_dir).map_err(|error| failed(&error))?;
        let file = File::create(&path).map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Failure::usage(format_args!(
                "another run trades on the account {username} of {address}: stop it first ({} is locked)",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(failed(&error)),
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Orders and fills of all earlier runs together.
    pub account: LoggedAccount,
    /// Their folders, the oldest name first.
    pub runs: Vec<PathBuf>,
    /// Runs whose log had to be closed first.
    pub recovered_count: usize,
    /// What they left held by the engine.
    pub held: Vec<HeldMemory>,
}

/// Reads every run below `out_dir` that traded in the session of `note`; `note.symbols` name this run's symbols.
///
/// # Errors
/// [`Failure`] when a folder cannot be read, another run still writes its log, or a log is damaged: nothing is guessed.
pub fn read(out_dir: &Path, note: &SessionNote) -> Result<History, Failure> {
    let mut history = History::default();
    let unreadable = |path: &Path, error: &io::Error| {
        let advice = "what earlier runs of this session sent must be known: mend it, or move the folder away";
        Failure::file("read", path, error, advice)
    };
    let entries = match fs::read_dir(out_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(history),
        Err(error) => return Err(unreadable(out_dir, &error)),
    };
    let dirs: io::Result<Vec<PathBuf>> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut dirs = dirs.map_err(|error| unreadable(out_dir, &error))?;
    dirs.sort();
    for dir in dirs {
        let path = dir.join(NOTE_NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            Err(error) => return Err(unreadable(&path, &error)),
        };
        let known: SessionNote = serde_json::from_str(&text).map_err(|error| {
            Failure::io(format_args!("the note of an earlier run is not readable ({}): {error}", path.display()))
        })?;
        if known.is_same(note) {
            let recovery = close(&dir).map_err(|error| match error {
                CloseError::Log(error) => {
                    Failure::io(format_args!("the log of an earlier run of this session ({}): {error}", dir.display()))
                }
                CloseError::Note(failure) => failure,
            })?;
            nothing_lost(&dir)?;
            let was_open = recovery.streams.iter().any(|stream| stream.was_open);
            history.recovered_count += usize::from(was_open);
            read_run(&dir, &known, note, &mut history.account)?;
            read_held(&dir, &known, note, &mut history.held)?;
            history.runs.push(dir);
        }
    }
    Ok(history)
}

/// What the runs that the one in `dir` took over had left held, by their logs as they are. Changes nothing.
///
/// # Errors
/// [`Failure`] when a folder is not there, or a log cannot be read.
pub fn held_before(dir: &Path) -> Result<Vec<HeldMemory>, Failure> {
    let note_of = |dir: &Path| -> Result<SessionNote, Failure> {
        let path = dir.join(NOTE_NAME);
        let advice = "the run that is verified took that run over: put its folder back beside it";
        let text = fs::read_to_string(&path).map_err(|error| Failure::file("read", &path, &error, advice))?;
        serde_json::from_str(&text).map_err(|error| {
            Failure::io(format_args!("the note of a run is not readable ({}): {error}", path.display()))
        })
    };
    let beside = around(dir).map_err(|error| Failure::file("find", dir, &error, "give the run's folder"))?;
    let (note, mut held) = (note_of(dir)?, Vec::new());
    for name in &note.earlier {
        let other = beside.join(name);
        read_held(&other, &note_of(&other)?, &note, &mut held)?;
    }
    Ok(held)
}

/// Why a log was not closed.
#[derive(Debug)]
pub enum CloseError {
    /// The log is not as a crash leaves it, or somebody writes it.
    Log(LogError),
    /// It was closed, and what it has lost could not be noted.
    Note(Failure),
}

/// Closes the log of a run that was cut off, and notes beside it what it has lost of orders and decisions: the log is closed
/// then, and nobody could tell it a second time.
///
/// # Errors
/// [`CloseError`].
pub fn close(dir: &Path) -> Result<Recovery, CloseError> {
    let recovery = peregrine_eventlog::recover(dir).map_err(CloseError::Log)?;
    let lost_of = |(stream, what): (Stream, &str)| {
        let lost_count = recovery.streams.get(stream as usize).map_or(0, |stream| stream.lost_count);
        (lost_count > 0).then(|| format!("{lost_count} records of {what}"))
    };
    let lost: Vec<String> =
        [(Stream::Send, "orders"), (Stream::Decide, "decisions")].into_iter().filter_map(lost_of).collect();
    if !lost.is_empty() {
        write_whole(dir, LOST_NAME, lost.join(" and ").as_bytes()).map_err(CloseError::Note)?;
    }
    Ok(recovery)
}

/// What a log had lost of orders and decisions when it was closed.
///
/// # Errors
/// [`Failure`] when the note is there and cannot be read.
pub fn lost(dir: &Path) -> Result<Option<String>, Failure> {
    let path = dir.join(LOST_NAME);
    match fs::read_to_string(&path) {
        Ok(lost) => Ok(Some(lost)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file("read", &path, &error, "move the folder away once the venue was asked")),
    }
}

/// Refuses a log that has lost records of orders, or of decisions: what the engine held, and which orders were sent for it,
/// is in those alone.
fn nothing_lost(dir: &Path) -> Result<(), Failure> {
    lost(dir)?.map_or(Ok(()), |lost| {
        Err(Failure::io(format_args!(
            "the log of an earlier run of this session ({}) has lost {lost}: ask the venue what orders there were, then move \
             the folder away",
            dir.display()
        )))
    })
}

/// Adds one run's orders and fills.
fn read_run(dir: &Path, known: &SessionNote, now: &SessionNote, account: &mut LoggedAccount) -> Result<(), Failure> {
    let ids: BTreeMap<&str, SymbolId> = now.symbols.iter().map(String::as_str).zip((0..).map(SymbolId)).collect();
    let symbol_of = |id: SymbolId| known.symbols.get(id.index()).and_then(|name| ids.get(name.as_str())).copied();
    let log = LogReader::open(dir, Stream::Send).map_err(Failure::io)?;
    for item in log.payloads::<OrderRecord>() {
        let (_, record) = item.map_err(Failure::io)?;
        let id = record.order_id;
        account.last_number = account.last_number.max(id);
        let key = (id, record.match_number);
        match record.transition {
            OrderTransition::Submitted | OrderTransition::ReplaceRequested => {
                let Some(symbol) = symbol_of(record.symbol) else {
                    let name = known.symbols.get(record.symbol.index()).cloned().unwrap_or_default();
                    return Err(Failure::usage(format_args!(
                        "order {id} of an earlier run ({}) is in {name}, which this configuration does not name: add it to \
                         decide.symbols or risk.permitted_symbols",
                        dir.display()
                    )));
                };
                let order = order_of(record, symbol);
                let replaces = record.replaced_id();
                account.orders.insert(id, LoggedOrder { order_id: id, order, is_rejected: false, replaces });
            }
            OrderTransition::Rejected | OrderTransition::ReplaceRejected => {
                if let Some(order) = account.orders.get_mut(&id) {
                    order.is_rejected = true;
                }
            }
            OrderTransition::PartiallyFilled | OrderTransition::Filled => insert_fill(account, record),
            OrderTransition::Illegal if record.match_number.0 != 0 && record.qty.0 > 0 => insert_fill(account, record),
            OrderTransition::Busted => {
                if let Some(fill) = account.fills.get_mut(&key) {
                    fill.is_busted = true;
                } else {
                    // The fill was learnt by the same run's replay and broken before it was looked at.
                    insert_fill(account, record);
                    account.fills.entry(key).and_modify(|fill| fill.is_busted = true);
                }
            }
            OrderTransition::CancelRequested
            | OrderTransition::Accepted
            | OrderTransition::Canceled
            | OrderTransition::CancelRejected
            | OrderTransition::Repeated
            | OrderTransition::Illegal
            | OrderTransition::Reduced
            | OrderTransition::Replaced
            | OrderTransition::Overdue
            | OrderTransition::Resent => {}
        }
    }
    Ok(())
}

/// Adds what one run's decide stream says of engine-held orders, and of the orders that they sent.
fn read_held(dir: &Path, known: &SessionNote, now: &SessionNote, held: &mut Vec<HeldMemory>) -> Result<(), Failure> {
    let ids: BTreeMap<&str, SymbolId> = now.symbols.iter().map(String::as_str).zip((0..).map(SymbolId)).collect();
    let symbol_of = |id: SymbolId| known.symbols.get(id.index()).and_then(|name| ids.get(name.as_str())).copied();
    let log = LogReader::open(dir, Stream::Decide).map_err(Failure::io)?;
    for item in log.records() {
        match item.and_then(|record| record.any()).map_err(Failure::io)? {
            AnyPayload::HeldRecord(record) => {
                let Some(symbol) = symbol_of(record.symbol) else {
                    return Err(Failure::usage(format_args!(
                        "an engine-held order of an earlier run ({}) is in a symbol that this configuration does not name: \
                         add it to decide.symbols",
                        dir.display()
                    )));
                };
                HeldMemory::fold(held, held_change(record, symbol));
            }
            AnyPayload::DecisionRecord(record) => {
                // An exit is immediate or cancel: only resting orders stand.
                let is_exit = record.time_in_force == TimeInForce::ImmediateOrCancel;
                let is_sent = matches!(record.intent_kind, IntentKind::HeldNew | IntentKind::HeldReplace) && !is_exit;
                if let Some(symbol) = symbol_of(record.symbol).filter(|_| is_sent)
                    && record.verdict == ReasonCode::None
                {
                    HeldMemory::sent(held, symbol, record.order_id);
                }
            }
            AnyPayload::InputCheckpoint(_)
            | AnyPayload::SymbolListed(_)
            | AnyPayload::GapRecord(_)
            | AnyPayload::SessionRecord(_)
            | AnyPayload::TradingStateRecord(_)
            | AnyPayload::PolicyRecord(_)
            | AnyPayload::DecideCheckpoint(_)
            | AnyPayload::GuardHalt(_)
            | AnyPayload::HeardRecord(_)
            | AnyPayload::OrderRecord(_)
            | AnyPayload::DurationRecord(_)
            | AnyPayload::HistogramRecord(_)
            | AnyPayload::RunFact(_) => {}
        }
    }
    Ok(())
}

fn order_of(record: &OrderRecord, symbol: SymbolId) -> NewOrder {
    NewOrder {
        symbol,
        side: record.side,
        price: record.price,
        qty: record.qty,
        time_in_force: record.time_in_force,
        is_post_only: record.is_post_only,
    }
}

fn insert_fill(account: &mut LoggedAccount, record: &OrderRecord) {
    let fill = LoggedFill {
        order_id: record.order_id,
        match_number: record.match_number,
        qty: record.qty,
        price: record.price,
        is_busted: false,
    };
    account.fills.insert((record.order_id, record.match_number), fill);
}

/// The names of symbols as text.
#[must_use]
pub fn names(symbols: &[Symbol]) -> Vec<String> {
    symbols.iter().map(ToString::to_string).collect()
}

/// The highest number that the history used.
#[must_use]
pub const fn last_number(history: &History) -> OrderId {
    history.account.last_number
}

/// Refuses what earlier runs left held in symbols that this run does not watch: nobody would hold it against the market.
/// `symbols` are the names by identifier, `watched` those that are decided on.
///
/// # Errors
/// [`Failure`] with the first such symbol.
pub fn all_watched(history: &History, symbols: &[String], watched: &[String]) -> Result<(), Failure> {
    let name_of = |held: &HeldMemory| symbols.get(held.change.symbol.index()).cloned().unwrap_or_default();
    match history.held.iter().map(name_of).find(|name| !watched.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Failure::usage(format_args!(
            "an engine-held order of an earlier run of this session is in {name}, which this run does not watch: add it to \
             decide.symbols"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use peregrine_decide::HeldChange;
    use peregrine_eventlog::records::DecideCheckpoint;
    use peregrine_eventlog::{EventLog, LogConfig, RunFacts};
    use peregrine_types::Nanos;

    use super::*;

    #[test]
    fn the_folder_around_a_run_is_known_however_the_run_is_named() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(around(Path::new("run-1")).unwrap(), here);
        assert_eq!(around(Path::new("runs/run-1")).unwrap(), here.join("runs"));
        assert_eq!(around(Path::new(".")).unwrap(), here.parent().unwrap());
        assert_eq!(around(Path::new("/runs/run-1/")).unwrap(), Path::new("/runs"));
    }

    /// A run whose staging memory was damaged in one stream before its log was closed: it is not read as if it were whole.
    #[test]
    fn a_log_that_lost_orders_or_decisions_is_refused() {
        let note = SessionNote {
            version: 1,
            session: "DAY1".to_owned(),
            address: "127.0.0.1:30031".to_owned(),
            username: "desk".to_owned(),
            symbols: vec!["AAPL".to_owned()],
            earlier: Vec::new(),
        };
        let read_damaged = |damaged: Option<&str>| {
            let folder = tempfile::tempdir().unwrap();
            let (out_dir, staging) = (folder.path().join("runs"), folder.path().join("staging"));
            let dir = out_dir.join("one");
            fs::create_dir_all(&dir).unwrap();
            fs::create_dir_all(&staging).unwrap();
            let config = LogConfig {
                dir: dir.clone(),
                staging_dir: Some(staging.clone()),
                staging_record_counts: [1 << 6; 4],
                segment_len_max: 1 << 20,
                stream_len_max: 1 << 24,
                sync_interval: Nanos::from_millis(100),
                is_memory_locked: false,
            };
            let mut log = EventLog::create(&config, &RunFacts::default()).unwrap();
            for _ in 0..3 {
                log.decide.append(&DecideCheckpoint::default()).unwrap();
                log.send.append(&OrderRecord::default()).unwrap();
            }
            drop(log);
            note.write(&dir).unwrap();
            for path in fs::read_dir(&staging).unwrap().map(|entry| entry.unwrap().path()) {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if damaged.is_some_and(|stream| name.contains(stream)) {
                    let mut bytes = fs::read(&path).unwrap();
                    // Into the first record: behind the first page, and behind its header.
                    bytes[4_096 + 40] ^= 1;
                    fs::write(&path, bytes).unwrap();
                }
            }
            // Whoever starts the program again is told again.
            [(), ()].map(|()| {
                read(&out_dir, &note).map(|history| history.runs.len()).map_err(|failure| failure.to_string())
            })
        };
        assert_eq!(read_damaged(None), [Ok(1), Ok(1)]);
        for (stream, what) in [("send", "3 records of orders"), ("decide", "3 records of decisions")] {
            for said in read_damaged(Some(stream)) {
                let said = said.unwrap_err();
                assert!(said.contains("has lost") && said.contains(what), "{stream}: {said}");
            }
        }
    }

    #[test]
    fn what_is_held_in_a_symbol_that_is_not_watched_is_refused() {
        let of = |symbol: u32| HeldMemory {
            change: HeldChange { symbol: SymbolId(symbol), ..HeldChange::default() },
            ..HeldMemory::default()
        };
        let symbols = ["AAPL", "MSFT"].map(str::to_owned);
        let history = History { held: vec![of(0), of(1)], ..History::default() };
        all_watched(&history, &symbols, &symbols).unwrap();
        let said = all_watched(&history, &symbols, &symbols[..1]).unwrap_err().to_string();
        assert!(said.contains("MSFT") && said.contains("decide.symbols"), "{said}");
    }

    #[test]
    fn an_account_has_one_run_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let out_dir = folder.path().join("runs");
        let take = |address: &str, username: &str| SessionLock::take(&out_dir, address, username);
        let first = take("127.0.0.1:30031", "desk1").unwrap();
        let refused = take("127.0.0.1:30031", "DESK1").unwrap_err();
        assert_eq!(refused.exit, crate::exit::Exit::Usage);
        let said = refused.to_string();
        assert!(said.contains("another run") && said.contains("DESK1") && said.contains("127.0.0.1:30031"), "{said}");
        let (_other_user, _other_port) =
            (take("127.0.0.1:30031", "desk2").unwrap(), take("[::1]:30031", "desk1").unwrap());
        drop(first);
        take("127.0.0.1:30031", "desk1").unwrap();
    }
}

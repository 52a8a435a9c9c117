//! The control channel: a Unix-domain socket that takes a command a line and answers each with a line, the journal of what
//! was carried out, and the journal of another run, whose commands are carried out at their times.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use peregrine_types::{EpochNanos, Symbol};

use super::{Server, ServerError, socket_error};
use crate::control::{Control, JournalEntry, LineChange, PortChange, clock_text, parse_journal};
use crate::faults::LineFaults;
use crate::incidents::next_session;
use crate::orders::{Command, TimeOfDay};
use crate::settings::ControlSettings;

/// Connections at once; more are closed.
pub(super) const CALLER_COUNT_MAX: usize = 8;
/// Longest command, in bytes with the end of its line.
const LINE_LEN_MAX: usize = 512;
/// Commands that are taken in a turn, at most.
const LINES_PER_TURN_MAX: usize = 64;
/// Commands that the summary names.
const NAMED_COUNT_MAX: usize = 1_000;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was told by hand, or by a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlSummary {
    /// Commands that were carried out, `status` apart.
    pub done_count: u64,
    /// Lines that were refused.
    pub refused_count: u64,
    /// The first thousand of those that were carried out.
    pub entries: Vec<JournalEntry>,
}

struct Caller {
    stream: UnixStream,
    read: Vec<u8>,
}

/// See the module.
#[derive(Default)]
pub(super) struct ControlDesk {
    listener: Option<(UnixListener, PathBuf)>,
    first: usize,
    callers: Vec<Option<Caller>>,
    is_ready: bool,
    journal: Option<File>,
    script: VecDeque<(TimeOfDay, Control, String)>,
    summary: ControlSummary,
}

impl ControlDesk {
    /// Tokens from `first` on are the listener's and its connections'.
    pub(super) fn open(settings: &ControlSettings, registry: &Registry, first: usize) -> Result<Self, ServerError> {
        let mut desk = Self::default();
        desk.first = first;
        desk.callers.resize_with(CALLER_COUNT_MAX, || None);
        if let Some(path) = &settings.script {
            let of_file = |what: String| ServerError::Journal { path: path.clone(), what };
            let text = std::fs::read_to_string(path).map_err(|error| of_file(error.to_string()))?;
            desk.script = parse_journal(&text).map_err(|error| of_file(error.to_string()))?.into();
        }
        if let Some(path) = &settings.socket {
            let what = || format!("the control channel ({})", path.display());
            remove_stale(path);
            let mut listener = UnixListener::bind(path).map_err(socket_error(what()))?;
            registry.register(&mut listener, Token(first), Interest::READABLE).map_err(socket_error(what()))?;
            desk.listener = Some((listener, path.clone()));
        }
        // Only now: another program that has the socket keeps its journal.
        if let Some(path) = &settings.journal {
            let file = File::create(path);
            let what = |error: std::io::Error| ServerError::Journal { path: path.clone(), what: error.to_string() };
            desk.journal = Some(file.map_err(what)?);
        }
        Ok(desk)
    }

    pub(super) fn summary(&self) -> ControlSummary {
        self.summary.clone()
    }

    pub(super) const fn set_ready(&mut self) {
        self.is_ready = true;
    }

    /// When the next command of the other run's journal is due.
    pub(super) fn next_time(&self) -> Option<TimeOfDay> {
        self.script.front().map(|(time, ..)| *time)
    }

    /// The next command of that journal, if it is due.
    pub(super) fn take_script(&mut self, due: TimeOfDay) -> Option<(TimeOfDay, Control, String)> {
        self.script.pop_front_if(|(time, ..)| *time <= due)
    }

    fn accept(&mut self, registry: &Registry) {
        let Some((listener, _)) = &self.listener else { return };
        while let Ok((mut stream, _)) = listener.accept() {
            let free = self.callers.iter_mut().enumerate().find(|(_, caller)| caller.is_none());
            let Some((slot, caller)) = free else { continue };
            if registry.register(&mut stream, Token(self.first + 1 + slot), Interest::READABLE).is_ok() {
                *caller = Some(Caller { stream, read: Vec::new() });
            }
        }
    }

    /// The next whole line of a connection, with the connection's place.
    fn next_line(&mut self) -> Option<(usize, String)> {
        self.callers.iter_mut().enumerate().find_map(|(slot, caller)| {
            let line = match caller.as_mut()?.line() {
                Heard::Line(line) => Some(line),
                Heard::Nothing => None,
                Heard::Gone => {
                    *caller = None;
                    None
                }
            };
            line.map(|line| (slot, line))
        })
    }

    /// Writes an answer; who does not take it is not spoken to any more.
    fn answer(&mut self, slot: usize, answer: &str) {
        let Some(place) = self.callers.get_mut(slot) else { return };
        let line = format!("{answer}\n");
        let is_sent = place.as_mut().is_some_and(|caller| caller.stream.write_all(line.as_bytes()).is_ok());
        if !is_sent {
            *place = None;
        }
    }

    /// Puts what was carried out into journal and summary.
    fn note(&mut self, time: TimeOfDay, command: &str) -> Result<(), String> {
        let entry = JournalEntry { time, command: command.to_owned() };
        self.summary.done_count += 1;
        let written = self.journal.as_mut().map_or(Ok(()), |file| writeln!(file, "{entry}"));
        if self.summary.entries.len() < NAMED_COUNT_MAX {
            self.summary.entries.push(entry);
        }
        written.map_err(|error| format!("done, but the journal cannot be written: {error}"))
    }
}

impl Drop for ControlDesk {
    fn drop(&mut self) {
        if let Some((_, path)) = self.listener.take() {
            // Nobody is there any more whom it could lead to.
            drop(std::fs::remove_file(path));
        }
    }
}

/// Takes away the socket of a program that is gone; one that somebody answers at is left, and cannot be had.
fn remove_stale(path: &Path) {
    let is_refused = BlockingStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    if is_refused {
        drop(std::fs::remove_file(path));
    }
}

enum Heard {
    Line(String),
    Nothing,
    Gone,
}

impl Caller {
    fn line(&mut self) -> Heard {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&self.read[..end]).into_owned();
                self.read.drain(..=end);
                return Heard::Line(line);
            }
            if self.read.len() >= LINE_LEN_MAX {
                return Heard::Gone;
            }
            let mut buffer = [0; LINE_LEN_MAX];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Heard::Gone,
                Ok(count) => self.read.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Heard::Nothing,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Heard::Gone,
            }
        }
    }
}

impl Server {
    /// Takes the commands that wait, and answers them.
    pub(super) fn serve_control(&mut self, now: EpochNanos) {
        if !std::mem::take(&mut self.control.is_ready) {
            return;
        }
        self.control.accept(self.poll.registry());
        for _ in 0..LINES_PER_TURN_MAX {
            let Some((slot, line)) = self.control.next_line() else { return };
            let answer = self.obey(line.trim(), now);
            let text = match &answer {
                Ok(text) => format!("ok {text}"),
                Err(text) => format!("error: {text}"),
            };
            self.control.summary.refused_count += u64::from(answer.is_err());
            self.control.answer(slot, &text);
        }
        self.control.is_ready = true;
    }

    /// Carries out a line that came at `now`.
    fn obey(&mut self, line: &str, now: EpochNanos) -> Result<String, String> {
        let command = Control::parse(line).map_err(|error| error.to_string())?;
        let time = self.clock.time_of_day(now);
        if command == Control::Status {
            return Ok(self.status(time));
        }
        self.carry_out(command, (time, now))?;
        self.control.note(time, line)?;
        Ok(format!("{} {line}", clock_text(time)))
    }

    /// Carries out a command of the other run's journal.
    pub(super) fn follow(&mut self, (time, command, line): (TimeOfDay, Control, String), now: EpochNanos) {
        let is_done = self.carry_out(command, (time, now)).is_ok_and(|()| self.control.note(time, &line).is_ok());
        self.control.summary.refused_count += u64::from(!is_done);
    }

    /// Carries out a command at a time of day, behind what the venue does by itself until then.
    pub(super) fn carry_out(&mut self, command: Control, (time, now): (TimeOfDay, EpochNanos)) -> Result<(), String> {
        let is_of_market = matches!(
            command,
            Control::Halt(_)
                | Control::Resume(_)
                | Control::Bust(_)
                | Control::SessionRoll
                | Control::SequenceReset
                | Control::PortSessionRoll(_)
        );
        // Behind its end nothing more is told: its last number was said. The ports' sessions ended with it.
        if is_of_market && self.ended.is_some() {
            return Err("the feed is over".to_owned());
        }
        self.exchange.apply_at(&Command::Clock, time, now, &mut self.stream);
        match command {
            Control::Line(line, change) => {
                if let Some(line) = self.lines.get_mut(line) {
                    line.switch(change, now);
                }
            }
            Control::Retransmission(change) => {
                self.requests.switch(change, now);
                if change == LineChange::Clear {
                    self.requests.lie(0);
                }
            }
            Control::Lies(ppm) => self.requests.lie(ppm),
            Control::Port(port, change) => self.switch_port(port, change, time)?,
            Control::Halt(name) => {
                let symbol = self.listed(name)?;
                let halt = Command::Halt { symbol, reason: *b"T1  " };
                self.exchange.apply_at(&halt, time, now, &mut self.stream);
            }
            Control::Resume(name) => {
                let resume = Command::Resume { symbol: self.listed(name)? };
                self.exchange.apply_at(&resume, time, now, &mut self.stream);
            }
            Control::Bust(number) => {
                if !self.exchange.bust(number, time, now, &mut self.stream) {
                    return Err(format!(
                        "no port has an execution with the match number {number} that was not broken yet"
                    ));
                }
            }
            Control::Cut(port) => self.cut(port, now)?,
            Control::SessionRoll => self.roll(next_session(self.stream.session()), time, now),
            Control::SequenceReset => self.roll(self.stream.session(), time, now),
            Control::PortSessionRoll(port) => self.roll_port(port, time, now)?,
            Control::Status => {}
        }
        if let Some(agents) = &mut self.agents {
            agents.listen(&mut self.exchange);
        }
        Ok(())
    }

    fn listed(&self, name: Symbol) -> Result<peregrine_types::SymbolId, String> {
        self.exchange.venue().symbol(name).ok_or_else(|| format!("the symbol {name} is not listed"))
    }

    fn switch_port(&mut self, index: usize, change: PortChange, time: TimeOfDay) -> Result<(), String> {
        let speed = u64::from(self.clock.speed.max(1));
        let span = if let PortChange::Storm(span) = change { u64::try_from(span.0).unwrap_or(0) } else { 0 };
        let until = TimeOfDay(time.0.saturating_add(span.saturating_mul(speed)));
        let port_count = self.ports.len();
        let port = self.exchange.port(index).ok_or_else(|| no_port(index, port_count))?;
        port.switch_faults(|faults| change.apply(faults, (time, until)));
        Ok(())
    }

    fn cut(&mut self, index: usize, now: EpochNanos) -> Result<(), String> {
        let port_count = self.ports.len();
        let endpoint = self.ports.get_mut(index).ok_or_else(|| no_port(index, port_count))?;
        if endpoint.connection.is_none() {
            return Err(format!("nobody is connected to port {index}"));
        }
        endpoint.cut(&mut self.exchange, now, &mut self.stream);
        Ok(())
    }

    /// Ends the session of an order port and begins the next one. Nothing happens once the day is over.
    fn roll_port(&mut self, index: usize, time: TimeOfDay, now: EpochNanos) -> Result<(), String> {
        let port_count = self.ports.len();
        let endpoint = self.ports.get_mut(index).ok_or_else(|| no_port(index, port_count))?;
        if self.ended.is_none() {
            self.exchange.roll_session(index, (time, now), &mut self.stream);
            endpoint.write(&mut self.exchange, now, &mut self.stream);
        }
        Ok(())
    }

    /// How the exchange stands, in one line.
    fn status(&mut self, time: TimeOfDay) -> String {
        let session = String::from_utf8_lossy(&self.stream.session().0).trim().to_owned();
        let mut text =
            format!("{} session {session}, next message {}", clock_text(time), self.stream.next_sequence_number());
        let venue = self.exchange.venue();
        text.push_str(&format!(", {} orders alive, {} executions", venue.order_count(), venue.match_count()));
        for (name, line) in ["A", "B"].iter().zip(&self.lines) {
            let LineFaults { loss_ppm, duplicate_ppm, reorder_ppm, .. } = line.faults();
            let counters = line.report().faults;
            text.push_str(&format!(
                "; line {name}: loss {loss_ppm} ppm, twice {duplicate_ppm} ppm, late {reorder_ppm} ppm, {} lost, {} in outages",
                counters.lost_count, counters.outage_count
            ));
        }
        for (index, port) in self.ports.iter().enumerate() {
            let is = if port.connection.is_some() { "connected" } else { "free" };
            text.push_str(&format!("; port {index} {is}, {} cut", port.counters.cut_count));
            if let Some(port) = self.exchange.port(index) {
                let (session, orders) = (port.session().session().0, port.meant(None, None, None).len());
                let session = String::from_utf8_lossy(&session).trim().to_owned();
                text.push_str(&format!(", {orders} orders alive, session {session}"));
            }
        }
        text
    }
}

fn no_port(index: usize, count: usize) -> String {
    format!("there is no port {index}: they are 0 to {}", count.saturating_sub(1))
}

/// Sends a command to the exchange that listens at `path`, and gives its answer: `ok …` or `error: …`.
///
/// # Errors
/// What the system says when nobody is there, or nobody answers within ten seconds.
pub fn ask(path: &Path, command: &str) -> std::io::Result<String> {
    let mut stream = BlockingStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{}\n", command.replace('\n', " ")).as_bytes())?;
    let mut answer = String::new();
    if BufReader::new(stream).read_line(&mut answer)? == 0 {
        return Err(std::io::Error::new(ErrorKind::UnexpectedEof, "the exchange closed the connection"));
    }
    Ok(answer.trim_end().to_owned())
}

//! The program: the link's events through the desk onto the lines, with the servers that help who missed something. One
//! thread that waits for sockets and for the link.

mod summary;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use mio::{Events, Poll, Token, Waker};
use peregrine_convert::{ConvertError, Day, MessageSink};
use peregrine_gateway::soup::SessionId;
use peregrine_runtime::StopFlag;
use peregrine_types::{EpochNanos, Nanos};
use peregrine_venue::{FeedStream, Line, RequestServer, SnapshotServer, VISITOR_COUNT_MAX, next_session, snapshot_end};

use crate::alpaca::AlpacaSession;
use crate::credentials::CredentialError;
use crate::desk::Desk;
use crate::ib::IbSession;
use crate::instruments::Instruments;
use crate::latency::LatencyMonitor;
use crate::link::{self, Event, TlsError, TlsRoots, wall};
use crate::massive::MassiveSession;
use crate::settings::{Settings, VendorKind};
use crate::update::{SessionCounters, VendorSession};

pub use summary::Summary;

const REQUESTS: Token = Token(0);
const SNAPSHOTS: Token = Token(1);
const VISITORS: usize = 2;
const LINK: Token = Token(VISITORS + VISITOR_COUNT_MAX);
/// Events of the link that wait at most: beyond it the link reads no further, and the vendor sees a slow reader.
const QUEUE_LEN_MAX: usize = 4_096;
/// Events of the link in a turn, at most: requests and snapshots are not kept waiting behind more.
const EVENTS_PER_TURN_MAX: usize = 256;
/// Longest sleep of a turn: how late a stop is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(20);
/// How often silence about symbols is looked for.
const STALE_INTERVAL: Nanos = Nanos::from_millis(10);
/// Notes that are printed between two reports.
const NOTE_COUNT_MAX: u64 = 20;
/// Bytes of one read.
const READ_LEN: usize = 1 << 16;

/// Why the program cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A socket cannot be had.
    #[error("cannot open the socket of {what}: {source}; is another program using its address?")]
    Socket {
        /// Whose.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system refused to wait, to start a thread, or to write.
    #[error("cannot wait for sockets, start a thread or write: {0}")]
    System(#[from] std::io::Error),
    /// There are no credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// There is no TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The session of the feed cannot be written.
    #[error("the feed: {0}")]
    Feed(#[from] ConvertError),
    /// The vendor refused, and would again.
    #[error("the vendor refused: {0}")]
    Refused(String),
}

impl ServiceError {
    /// Whether the configuration, or what it names, must be changed before another try.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        match self {
            Self::Credentials(_) | Self::Tls(_) | Self::Refused(_) => true,
            Self::Socket { .. } | Self::System(_) | Self::Feed(_) => false,
        }
    }
}

/// Where the program listens; ports that were configured as 0 are the system's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The server that sends messages again.
    pub retransmission: SocketAddr,
    /// The server of the book's state.
    pub snapshot: SocketAddr,
}

/// The feed under way, as the desk sees it.
struct Published(FeedStream);

impl MessageSink for Published {
    fn on_message(&mut self, message: &[u8]) -> std::io::Result<()> {
        self.0.push(message).map(|_| ()).map_err(|_| std::io::Error::other("feed.message_count_max is too small"))
    }
}

/// See the module.
pub struct Service {
    settings: Settings,
    poll: Poll,
    waker: Arc<Waker>,
    events: Receiver<Event>,
    /// Until the link has it.
    start: Option<(SyncSender<Event>, Box<dyn VendorSession + Send>, TlsRoots)>,
    desk: Desk<Published>,
    lines: [Line; 2],
    requests: RequestServer,
    snapshots: SnapshotServer,
    latencies: LatencyMonitor,
    latencies_in_all: LatencyMonitor,
    counters: SessionCounters,
    connection_count: u64,
    lost_count: u64,
    session_count: u64,
    message_count: u64,
    note_count: u64,
    /// Whether something was heard on the present connection.
    has_heard: bool,
    refused: Option<String>,
    next_stale: EpochNanos,
    next_report: EpochNanos,
    buffer: Box<[u8]>,
}

fn session_of(settings: &Settings) -> Result<Box<dyn VendorSession + Send>, ServiceError> {
    let instruments = Instruments::new(settings.names.clone());
    Ok(match &settings.vendor {
        VendorKind::Alpaca { has_statuses } => {
            Box::new(AlpacaSession::new(instruments, settings.credentials.fetch(true)?, *has_statuses))
        }
        VendorKind::Massive => Box::new(MassiveSession::new(instruments, settings.credentials.fetch(false)?)),
        VendorKind::Ib(config) => Box::new(IbSession::new(instruments, config.clone())),
    })
}

/// Today's date in a zone.
fn today(zone: &str) -> Result<Date, ConvertError> {
    let now = Timestamp::now();
    let zone_known = TimeZone::get(zone)
        .map_err(|_| ConvertError::Zone { zone: zone.to_owned(), date: now.to_zoned(TimeZone::UTC).date() })?;
    Ok(now.to_zoned(zone_known).date())
}

fn socket_error(what: &'static str) -> impl FnOnce(std::io::Error) -> ServiceError {
    move |source| ServiceError::Socket { what, source }
}

impl Service {
    /// Fetches the credentials and opens every socket; the vendor is not spoken to yet.
    ///
    /// # Errors
    /// [`ServiceError`] with what cannot be had.
    pub fn bind(settings: &Settings) -> Result<Self, ServiceError> {
        let session = session_of(settings)?;
        let roots = TlsRoots::new(settings.authorities.as_deref())?;
        let poll = Poll::new()?;
        let registry = poll.registry();
        let waker = Arc::new(Waker::new(registry, LINK)?);
        let way = (settings.interface, settings.ttl);
        let line =
            |index: usize, name: &'static str| Line::bind(&settings.lines[index], way, 0).map_err(socket_error(name));
        let lines = [line(0, "line A")?, line(1, "line B")?];
        let requests = RequestServer::bind(&settings.retransmission, (registry, REQUESTS), 0)
            .map_err(socket_error("the retransmission server"))?;
        let name = SessionId(settings.stream.session.0);
        let snapshots = SnapshotServer::bind(settings.snapshot, name, (registry, SNAPSHOTS))
            .map_err(socket_error("the snapshot server"))?;
        let day = Day::new(today(&settings.zone)?, &settings.zone)?;
        let desk = Desk::new(settings.desk.clone(), day, Published(FeedStream::new(settings.stream)))?;
        let (sender, events) = sync_channel(QUEUE_LEN_MAX);
        Ok(Self {
            poll,
            waker,
            events,
            start: Some((sender, session, roots)),
            desk,
            lines,
            requests,
            snapshots,
            latencies: LatencyMonitor::new(settings.latency_warn),
            latencies_in_all: LatencyMonitor::new(settings.latency_warn),
            counters: SessionCounters::default(),
            connection_count: 0,
            lost_count: 0,
            session_count: 1,
            message_count: 0,
            note_count: 0,
            has_heard: false,
            refused: None,
            next_stale: EpochNanos(0),
            next_report: EpochNanos::MAX,
            buffer: vec![0; READ_LEN].into_boxed_slice(),
            settings: settings.clone(),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses { retransmission: self.requests.address()?, snapshot: self.snapshots.address()? })
    }

    /// Runs until the day is over, `stop` is raised, or the vendor refuses: then the quotes go and the feed is ended. What
    /// happens on the way is written to `out`.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub fn run(mut self, stop: &StopFlag, out: &mut impl Write) -> Result<Summary, ServiceError> {
        let link_stop = StopFlag::new();
        let now = wall();
        self.next_report = now.plus(self.settings.report_interval);
        self.desk.begin(now)?;
        let link = match self.start.take() {
            Some((sender, session, roots)) => {
                let plan = self.settings.link_plan(roots);
                Some(link::spawn(plan, session, (sender, Arc::clone(&self.waker)), link_stop.clone())?)
            }
            None => None,
        };
        let mut result = self.serve(stop, out);
        link_stop.request();
        if result.is_ok() {
            result = self.end(stop);
        }
        self.drain(out)?;
        let summary = self.summary();
        // The link ends by itself once nobody takes its events.
        drop(self);
        if link.is_some_and(|link| link.join().is_err()) {
            return Err(ServiceError::System(std::io::Error::other("the link's thread failed")));
        }
        result?;
        Ok(summary)
    }

    fn serve(&mut self, stop: &StopFlag, out: &mut impl Write) -> Result<(), ServiceError> {
        let mut events = Events::with_capacity(256);
        let mut is_busy = false;
        while !stop.is_requested() && self.refused.is_none() && wall() < self.desk.day().end {
            let timeout = if is_busy { Duration::ZERO } else { self.sleep(wall()) };
            self.wait(&mut events, timeout)?;
            is_busy = self.hear(out)?;
            let now = wall();
            if now >= self.next_stale {
                self.next_stale = now.plus(STALE_INTERVAL);
                self.make_room(now);
                self.desk.poll(now)?;
            }
            is_busy |= self.publish(now);
            if now >= self.next_report {
                self.report(now, out)?;
            }
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Duration) -> Result<(), ServiceError> {
        match self.poll.poll(events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        for event in &*events {
            match event.token() {
                REQUESTS => self.requests.set_readable(),
                SNAPSHOTS => {
                    let next = self.desk.out().0.next_sequence_number();
                    let desk = &self.desk;
                    let tell = |on_message: &mut dyn FnMut(&[u8])| {
                        desk.snapshot(&mut |message| on_message(message));
                        on_message(&snapshot_end(next));
                    };
                    self.snapshots.accept((self.poll.registry(), VISITORS), &tell, wall());
                }
                LINK => {}
                Token(visitor) => {
                    let ready = (event.is_readable(), event.is_writable());
                    self.snapshots.set_ready(visitor.saturating_sub(VISITORS), ready);
                }
            }
        }
        Ok(())
    }

    /// Takes what the link has. Returns whether there may be more.
    fn hear(&mut self, out: &mut impl Write) -> Result<bool, ServiceError> {
        for _ in 0..EVENTS_PER_TURN_MAX {
            match self.events.try_recv() {
                Ok(event) => self.on_event(event, out)?,
                Err(TryRecvError::Empty) => return Ok(false),
                // The link's last word is that it was refused; without it its thread failed.
                Err(TryRecvError::Disconnected) if self.refused.is_some() => return Ok(false),
                Err(TryRecvError::Disconnected) => {
                    return Err(std::io::Error::other("the link's thread ended").into());
                }
            }
        }
        Ok(true)
    }

    fn on_event(&mut self, event: Event, out: &mut impl Write) -> Result<(), ServiceError> {
        match event {
            Event::Ready => {
                self.connection_count = self.connection_count.saturating_add(1);
                writeln!(out, "connected ({}): the session is under way", self.settings.address)?;
            }
            Event::Heard(received, updates) => {
                self.has_heard = true;
                for update in updates {
                    if let Some(time) = update.time {
                        self.latencies.record(&update.what, time, received);
                        self.latencies_in_all.record(&update.what, time, received);
                    }
                    self.make_room(received);
                    self.desk.apply(received, update)?;
                }
            }
            Event::Notes(notes) => {
                for note in notes {
                    self.note_count = self.note_count.saturating_add(1);
                    if self.note_count <= NOTE_COUNT_MAX {
                        writeln!(out, "note: {note}")?;
                    }
                }
            }
            Event::Lost { reason, was_ready, pause } => {
                self.lost_count = self.lost_count.saturating_add(1);
                if was_ready || self.has_heard {
                    self.has_heard = false;
                    let now = wall();
                    self.make_room(now);
                    self.desk.lose(now)?;
                }
                writeln!(out, "not connected: {reason}; again in {} ms", pause.as_millis())?;
            }
            Event::Refused(reason) => self.refused = Some(reason),
            Event::Counted(counters) => self.counters = counters,
        }
        out.flush()?;
        Ok(())
    }

    /// Sends what was told, answers requests, serves snapshots. Returns whether there is more to do at once.
    fn publish(&mut self, now: EpochNanos) -> bool {
        let (stream, lines) = (&mut self.desk.out().0, &mut self.lines);
        stream.poll(now, &mut |packet| lines.iter_mut().for_each(|line| line.send(packet, now)));
        let is_busy = self.requests.serve(stream, now);
        self.snapshots.serve(now, &mut self.buffer) || is_busy
    }

    /// Begins another session of the feed where this one is nearly as long as it may be; it tells the state first.
    fn make_room(&mut self, now: EpochNanos) {
        let stream = &mut self.desk.out().0;
        let left = u64::try_from(self.settings.stream.message_count_max)
            .unwrap_or(u64::MAX)
            .saturating_sub(stream.next_sequence_number());
        if left > self.settings.message_reserve {
            return;
        }
        let lines = &mut self.lines;
        stream.end();
        stream.poll(now, &mut |packet| lines.iter_mut().for_each(|line| line.send(packet, now)));
        self.message_count = self.message_count.saturating_add(stream.next_sequence_number().saturating_sub(1));
        self.session_count = self.session_count.saturating_add(1);
        let session = next_session(stream.session());
        stream.begin_session(session);
        self.snapshots.set_session(SessionId(session.0));
        let mut messages = Vec::new();
        self.desk.snapshot(&mut |message| messages.push(message.to_vec()));
        let stream = &mut self.desk.out().0;
        for message in messages {
            // The settings' bound on message_count_max leaves room for it.
            let pushed = stream.push(&message);
            debug_assert!(pushed.is_ok(), "{pushed:?}");
        }
    }

    /// Takes every quote off the feed and ends it; says the end for as long as configured, once where it was stopped.
    fn end(&mut self, stop: &StopFlag) -> Result<(), ServiceError> {
        let begin = wall();
        self.desk.end(begin)?;
        self.desk.out().0.end();
        self.publish(begin);
        let mut events = Events::with_capacity(256);
        while !stop.is_requested() && wall().since(begin) < self.settings.end_of_session {
            self.wait(&mut events, SLEEP_MAX)?;
            self.publish(wall());
        }
        self.refused.take().map_or(Ok(()), |reason| Err(ServiceError::Refused(reason)))
    }

    /// The link's last words: its counts, and what became of a connection in the last moment.
    fn drain(&mut self, out: &mut impl Write) -> Result<(), ServiceError> {
        let begin = wall();
        let patience = self.settings.connect;
        while wall().since(begin) < patience {
            match self.events.recv_timeout(SLEEP_MAX) {
                Ok(Event::Counted(counters)) => self.counters = counters,
                Ok(Event::Notes(notes)) => notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))?,
                Ok(Event::Lost { reason, .. }) => {
                    self.lost_count = self.lost_count.saturating_add(1);
                    writeln!(out, "not connected: {reason}")?;
                }
                Ok(Event::Ready | Event::Heard(..) | Event::Refused(_))
                | Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(())
    }

    fn report(&mut self, now: EpochNanos, out: &mut impl Write) -> Result<(), ServiceError> {
        self.next_report = now.plus(self.settings.report_interval);
        writeln!(out, "{}", self.latencies)?;
        if self.latencies.is_late() {
            let bound = self.settings.latency_warn.0 / 1_000_000;
            writeln!(out, "warning: a 99th percentile is beyond quality.latency_warn_ms = {bound}")?;
        }
        if let Some(more) = self.note_count.checked_sub(NOTE_COUNT_MAX).filter(|more| *more > 0) {
            writeln!(out, "note: and {more} more")?;
        }
        self.note_count = 0;
        self.latencies.reset();
        out.flush()?;
        Ok(())
    }

    fn sleep(&mut self, now: EpochNanos) -> Duration {
        let stream = &self.desk.out().0;
        let deadlines = [stream.next_deadline(), self.snapshots.next_deadline(), Some(self.next_stale)];
        let wait = deadlines.into_iter().flatten().min().map_or(i64::MAX, |first| first.since(now).0);
        Duration::from_nanos(u64::try_from(wait).unwrap_or(0)).min(SLEEP_MAX)
    }
}

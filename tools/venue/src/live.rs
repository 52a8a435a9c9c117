//! The exchange with its sockets: one thread that polls, matches, answers and publishes.
//!
//! A turn reads every connection that has bytes, carries each message out and writes its answers, then plays what is due
//! of the tape, and at last sends the feed's packets. The wall's clock is read once a turn.

mod connection;
mod control;
mod copies;
mod lines;
mod ports;
mod snapshots;
mod summary;
mod tape;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mio::{Events, Poll, Token};
use peregrine_gateway::soup::SessionId;
use peregrine_runtime::StopFlag;
use peregrine_types::{EpochNanos, Nanos};
use peregrine_wire::moldudp64::Session;

use crate::agents::AgentFlow;
use crate::clock::VenueClock;
use crate::config::{SymbolConfig, VenueConfig, VenueConfigError};
use crate::drop_copy::DropCopy;
use crate::exchange::{Exchange, Feed};
use crate::incidents::{Incidents, next_session};
use crate::orders::{AccountId, Command, TimeOfDay};
use crate::port::PortConfig;
use crate::schedule::{DaySchedule, Step};
use crate::settings::{FlowSettings, Settings};
use crate::snapshot::end_of_snapshot;
use crate::stream::FeedStream;
use crate::tape::TapeFlow;

use control::ControlDesk;
use copies::CopyEndpoint;
use ports::Endpoint;
use tape::Tape;

pub use control::{ControlSummary, ask};
pub use lines::{Line, LineReport, RequestServer};
pub use ports::EndpointCounters;
pub use snapshots::{SnapshotServer, Tell, VISITOR_COUNT_MAX};
pub use summary::{PortSummary, Summary};

use summary::Digest;
pub use tape::TapeError;

/// Messages of the tape that are played in a turn, at most: orders are not kept waiting behind more.
const TAPE_MESSAGES_PER_TURN_MAX: usize = 256;
/// Longest sleep of a turn: how late a stop is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(20);
/// Bytes of one read.
const READ_LEN: usize = 1 << 16;

const REQUESTS: Token = Token(0);
const SNAPSHOTS: Token = Token(1);
const VISITORS: usize = 2;
const PORTS: usize = VISITORS + VISITOR_COUNT_MAX;

/// Why the program cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A socket cannot be had.
    #[error("cannot open the socket of {what}: {source}; is another program using its address?")]
    Socket {
        /// Whose.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system's poll failed.
    #[error("cannot wait for sockets: {0}")]
    Poll(std::io::Error),
    /// The venue refused its configuration.
    #[error(transparent)]
    Venue(#[from] VenueConfigError),
    /// The background flow cannot be had, or broke off.
    #[error("the background flow: {0}")]
    Tape(#[from] TapeError),
    /// A journal of commands cannot be read, or written.
    #[error("cannot use the journal of commands ({}): {what}", path.display())]
    Journal {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The feed's store is full: what comes next would be lost.
    #[error("the feed has more messages than capacity.feed_message_count_max: raise it for such a day")]
    FeedFull,
}

/// Where the program listens; ports that were configured as 0 are the system's choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The server that sends messages again.
    pub retransmission: SocketAddr,
    /// The server of the book's state.
    pub snapshot: SocketAddr,
    /// The order ports.
    pub ports: Vec<SocketAddr>,
    /// The drop copy.
    pub drop_copy: Option<SocketAddr>,
}

/// The exchange with its sockets: see the module.
pub struct Server {
    poll: Poll,
    clock: VenueClock,
    exchange: Exchange,
    stream: FeedStream,
    lines: [Line; 2],
    requests: RequestServer,
    snapshots: SnapshotServer,
    ports: Vec<Endpoint>,
    copy: Option<CopyEndpoint>,
    tape: Option<Tape>,
    flow: TapeFlow,
    agents: Option<AgentFlow>,
    addresses: Addresses,
    is_spinning: bool,
    end_of_session: Nanos,
    schedule: DaySchedule,
    incidents: Incidents,
    control: ControlDesk,
    session_message_count_max: u64,
    /// Messages at the begin of the feed's session that tell the state of the day.
    told_count: u64,
    digest: Digest,
    /// When the feed said its end first.
    ended: Option<EpochNanos>,
    buffer: Box<[u8]>,
}

fn socket_error(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> ServerError {
    move |source| ServerError::Socket { what: what.into(), source }
}

/// The wall's clock.
fn wall() -> EpochNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EpochNanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// The exchange behind the sockets, its ports with their faults.
fn exchange_of(
    settings: &Settings,
    symbols: Vec<SymbolConfig>,
    clock: VenueClock,
) -> Result<Exchange, VenueConfigError> {
    let [order_count_max, reference_count_max, level_count_max, side_level_count_max] = settings.capacities;
    let config = VenueConfig {
        symbols,
        firms: settings.firms.clone(),
        schedule: settings.schedule,
        order_count_max,
        reference_count_max,
        level_count_max,
        side_level_count_max,
    };
    let configs: Vec<PortConfig> = settings.ports.iter().map(|port| port.config).collect();
    let mut exchange = Exchange::new(config, &configs, clock)?;
    exchange.set_rules(settings.rules.clone());
    if let Some(copy) = &settings.drop_copy {
        exchange.set_drop_copy(DropCopy::new(copy.config.clone()));
    }
    for (index, port) in settings.ports.iter().enumerate() {
        if let Some(made) = exchange.port(index) {
            made.speak(port.protocol);
            made.set_faults(port.faults.clone(), settings.seed ^ (100 + index as u64));
        }
    }
    Ok(exchange)
}

impl Server {
    /// Opens every socket and the background flow.
    ///
    /// # Errors
    /// [`ServerError`] with what cannot be had.
    pub fn bind(settings: &Settings) -> Result<Self, ServerError> {
        let (symbols, tape) = Tape::open(&settings.flow, &settings.schedule, &settings.ticks)?;
        let clock = VenueClock { wall_start: wall(), day_start: settings.start, speed: settings.speed };
        let flow_account = AccountId(u32::try_from(settings.ports.len()).unwrap_or(u32::MAX));
        let agents = match &settings.flow {
            FlowSettings::Agents(config) => {
                Some(AgentFlow::new((**config).clone(), &symbols, &settings.schedule, flow_account))
            }
            FlowSettings::None { .. } | FlowSettings::Generator { .. } | FlowSettings::File { .. } => None,
        };
        let mut exchange = exchange_of(settings, symbols, clock)?;
        if agents.is_some() {
            exchange.hear_from(flow_account);
        }
        let poll = Poll::new().map_err(ServerError::Poll)?;
        let registry = poll.registry();
        let way = (settings.interface, settings.ttl);
        let line = |index: usize, name: &str| {
            let seed = settings.seed.wrapping_mul(2).wrapping_add(index as u64);
            Line::bind(&settings.lines[index], way, seed).map_err(socket_error(name))
        };
        let lines = [line(0, "line A")?, line(1, "line B")?];
        let requests = RequestServer::bind(&settings.retransmission, (registry, REQUESTS), settings.seed ^ 50)
            .map_err(socket_error("the retransmission server"))?;
        let session = SessionId(settings.stream.session.0);
        let snapshots = SnapshotServer::bind(settings.snapshot, session, (registry, SNAPSHOTS))
            .map_err(socket_error("the snapshot server"))?;
        let mut ports = Vec::new();
        for (index, port) in settings.ports.iter().enumerate() {
            let made = Endpoint::bind(index, port, registry, Token(PORTS + 2 * index));
            ports.push(made.map_err(socket_error(format!("port {index}")))?);
        }
        let token = Token(PORTS + 2 * ports.len());
        let copy = settings.drop_copy.as_ref().map(|copy| CopyEndpoint::bind(copy.address, registry, token));
        let copy = copy.transpose().map_err(socket_error("the drop copy"))?;
        let control = ControlDesk::open(&settings.control, registry, PORTS + 2 * ports.len() + 2)?;
        let address = socket_error("an address");
        let listening: std::io::Result<Vec<SocketAddr>> = ports.iter().map(Endpoint::address).collect();
        let addresses = requests.address().and_then(|retransmission| {
            let drop_copy = copy.as_ref().map(CopyEndpoint::address).transpose()?;
            Ok(Addresses { retransmission, snapshot: snapshots.address()?, ports: listening?, drop_copy })
        });
        Ok(Self {
            clock,
            exchange,
            stream: FeedStream::new(settings.stream),
            lines,
            requests,
            snapshots,
            ports,
            copy,
            tape,
            flow: TapeFlow::new(flow_account),
            agents,
            addresses: addresses.map_err(address)?,
            is_spinning: settings.is_spinning,
            end_of_session: settings.end_of_session,
            schedule: settings.schedule,
            incidents: Incidents::new(&settings.incidents, settings.start),
            control,
            session_message_count_max: settings.session_message_count_max,
            told_count: 0,
            digest: Digest::default(),
            ended: None,
            buffer: vec![0; READ_LEN].into_boxed_slice(),
            poll,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Runs until the day is over or `stop` is raised: then the sessions and the feed are ended, and the end of the feed
    /// is said for as long as configured (not when stopped).
    ///
    /// # Errors
    /// [`ServerError::Poll`], [`ServerError::Tape`], [`ServerError::FeedFull`].
    pub fn run(mut self, stop: &StopFlag) -> Result<Summary, ServerError> {
        self.clock.wall_start = wall();
        self.exchange.set_clock(self.clock);
        // A tape that began before the program did: what came before is history.
        while self.play(self.clock.wall_start)? {}
        self.stream.skip_unsent();
        let mut events = Events::with_capacity(256);
        let mut is_busy = false;
        while !stop.is_requested() && !self.is_over(wall()) {
            let timeout = if is_busy || self.is_spinning { Duration::ZERO } else { self.sleep(wall()) };
            match self.poll.poll(&mut events, Some(timeout)) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ServerError::Poll(error)),
            }
            is_busy = self.turn(&events, wall())?;
        }
        let now = wall();
        self.end(now);
        for index in 0..self.ports.len() {
            self.ports[index].write(&mut self.exchange, now, &mut self.stream);
        }
        if let (Some(endpoint), Some(copy)) = (&mut self.copy, self.exchange.drop_copy()) {
            endpoint.serve(copy, now, &mut self.buffer);
        }
        self.lines.iter_mut().for_each(|line| line.poll(EpochNanos::MAX));
        Ok(self.summary())
    }

    /// One turn. Returns whether there is more to do at once.
    fn turn(&mut self, events: &Events, now: EpochNanos) -> Result<bool, ServerError> {
        for event in events {
            self.on_ready(event.token(), (event.is_readable(), event.is_writable()), now);
        }
        let is_behind = self.play(now)?;
        let mut is_busy = is_behind;
        if is_behind {
            self.exchange.poll_sessions(now, &mut self.stream);
        } else {
            self.exchange.poll(now, &mut self.stream);
            self.roll_if_full(self.clock.time_of_day(now), now);
            self.serve_control(now);
        }
        for port in &mut self.ports {
            is_busy |= port.serve(&mut self.exchange, now, &mut self.stream, &mut self.buffer);
        }
        if let (Some(endpoint), Some(copy)) = (&mut self.copy, self.exchange.drop_copy()) {
            is_busy |= endpoint.serve(copy, now, &mut self.buffer);
        }
        if let Some(agents) = &mut self.agents {
            agents.listen(&mut self.exchange);
        }
        // A day that is behind its clock is not over before it was played.
        if !is_behind && self.exchange.time_of_day(now) >= self.schedule.time_of(Step::EndMessages) {
            self.end(now);
        }
        let lines = &mut self.lines;
        self.stream.poll(now, &mut |packet| lines.iter_mut().for_each(|line| line.send(packet, now)));
        self.lines.iter_mut().for_each(|line| line.poll(now));
        is_busy |= self.requests.serve(&mut self.stream, now);
        is_busy |= self.snapshots.serve(now, &mut self.buffer);
        if self.stream.counters().lost_count > 0 { Err(ServerError::FeedFull) } else { Ok(is_busy) }
    }

    fn on_ready(&mut self, token: Token, is_ready: (bool, bool), now: EpochNanos) {
        let next = self.stream.next_sequence_number();
        match token {
            REQUESTS => self.requests.set_readable(),
            SNAPSHOTS => {
                let venue = self.exchange.venue();
                let tell = |on_message: &mut dyn FnMut(&[u8])| venue.snapshot(next, &mut |message| on_message(message));
                self.snapshots.accept((self.poll.registry(), VISITORS), &tell, now);
            }
            Token(visitor) if visitor < PORTS => self.snapshots.set_ready(visitor - VISITORS, is_ready),
            Token(port) => {
                let (index, is_connection) = ((port - PORTS) / 2, (port - PORTS) % 2 == 1);
                if index > self.ports.len() {
                    return self.control.set_ready();
                }
                if index == self.ports.len() {
                    return self.on_copy_ready(is_connection, is_ready, now);
                }
                let Some(endpoint) = self.ports.get_mut(index) else { return };
                if !is_connection {
                    let registered = (self.poll.registry(), Token(port + 1));
                    return endpoint.accept(registered, &mut self.exchange, now, &mut self.stream);
                }
                if let Some(connection) = &mut endpoint.connection {
                    connection.is_readable |= is_ready.0;
                    connection.is_writable |= is_ready.1;
                }
            }
        }
    }

    fn on_copy_ready(&mut self, is_connection: bool, is_ready: (bool, bool), now: EpochNanos) {
        let (Some(endpoint), Some(copy)) = (&mut self.copy, self.exchange.drop_copy()) else { return };
        if !is_connection {
            let token = Token(PORTS + 2 * self.ports.len() + 1);
            return endpoint.accept((self.poll.registry(), token), copy, now);
        }
        if let Some(connection) = &mut endpoint.connection {
            connection.is_readable |= is_ready.0;
            connection.is_writable |= is_ready.1;
        }
    }

    /// Plays what is due, and carries out in between, each at its time, the day's faults and what another run's journal says.
    /// Returns whether more is.
    fn play(&mut self, now: EpochNanos) -> Result<bool, ServerError> {
        let due = self.clock.time_of_day(now);
        loop {
            let told = self.control.next_time().map_or(due, |time| time.min(due));
            let until = self.incidents.next_time().map_or(told, |time| time.min(told));
            if self.play_until(until, now)? {
                return Ok(true);
            }
            if let Some((time, incident)) = self.incidents.take(until) {
                // A symbol that is not listed cannot be halted, and nothing happens once the feed is over.
                drop(self.carry_out(incident.into(), (time, now)));
            } else if let Some(entry) = self.control.take_script(due) {
                self.follow(entry, now);
            } else {
                return Ok(false);
            }
        }
    }

    /// Plays what of the tape is due at `due`, or lets the agents act. Returns whether more is.
    fn play_until(&mut self, due: TimeOfDay, now: EpochNanos) -> Result<bool, ServerError> {
        for _ in 0..TAPE_MESSAGES_PER_TURN_MAX {
            let Some(time) = self.play_next(due, now)? else { return Ok(false) };
            self.roll_if_full(time, now);
        }
        Ok(true)
    }

    /// Plays one message of the tape, lets one agent act, or the venue by itself; says when it was.
    fn play_next(&mut self, due: TimeOfDay, now: EpochNanos) -> Result<Option<TimeOfDay>, ServerError> {
        if let Some(agents) = &mut self.agents {
            let look = agents.next_time().filter(|time| *time <= due);
            // What the venue does by itself may fill somebody, who looks again before the others do.
            let timer = self.exchange.next_timer().filter(|timer| *timer <= look.unwrap_or(due));
            if let Some(timer) = timer {
                self.exchange.apply_at(&Command::Clock, timer, now, &mut self.stream);
                agents.listen(&mut self.exchange);
            } else if look.is_some() {
                agents.step(now, &mut self.exchange, &mut self.stream);
            }
            return Ok(timer.or(look));
        }
        let Some(tape) = &mut self.tape else { return Ok(None) };
        let Some((time, message)) = tape.next().filter(|(time, _)| *time <= due) else { return Ok(None) };
        self.flow.apply(message, (time, now), &mut self.exchange, &mut self.stream);
        tape.advance()?;
        Ok(Some(time))
    }

    /// Begins another session of the feed once this one has as many messages as it may.
    fn roll_if_full(&mut self, time: TimeOfDay, now: EpochNanos) {
        // A session that had to roll for what it told at its begin would never tell anything else.
        let message_count = (self.stream.next_sequence_number() - 1).saturating_sub(self.told_count);
        if self.session_message_count_max > 0 && message_count >= self.session_message_count_max {
            self.roll(next_session(self.stream.session()), time, now);
        }
    }

    /// Ends the feed's session and begins another, which tells the state of the day first. Nothing happens once the feed
    /// is over.
    fn roll(&mut self, session: Session, time: TimeOfDay, now: EpochNanos) {
        if self.ended.is_some() {
            return;
        }
        let lines = &mut self.lines;
        self.stream.end();
        self.stream.poll(now, &mut |packet| lines.iter_mut().for_each(|line| line.send(packet, now)));
        self.digest.take(&self.stream);
        self.stream.begin_session(session);
        self.snapshots.set_session(SessionId(session.0));
        let stream = &mut self.stream;
        self.exchange.venue().snapshot(0, &mut |message| {
            if end_of_snapshot(message).is_none() {
                stream.on_message(time, message);
            }
        });
        self.told_count = self.stream.next_sequence_number() - 1;
    }

    /// Ends the sessions of the ports and the feed, once.
    fn end(&mut self, now: EpochNanos) {
        if self.ended.is_none() {
            self.ended = Some(now);
            self.stream.end();
            for index in 0..self.ports.len() {
                if let Some(port) = self.exchange.port(index) {
                    port.end(now);
                }
            }
            if let Some(copy) = self.exchange.drop_copy() {
                copy.end(now);
            }
            let lines = &mut self.lines;
            self.stream.poll(now, &mut |packet| lines.iter_mut().for_each(|line| line.send(packet, now)));
        }
    }

    fn is_over(&self, now: EpochNanos) -> bool {
        self.ended.is_some_and(|ended| now.since(ended) >= self.end_of_session)
    }

    /// How long nothing is to be done, if nothing arrives.
    fn sleep(&mut self, now: EpochNanos) -> Duration {
        let times: [Option<TimeOfDay>; 5] = [
            self.incidents.next_time(),
            self.control.next_time(),
            self.exchange.next_timer(),
            self.tape.as_ref().and_then(Tape::next).map(|(time, _)| time),
            self.agents.as_ref().and_then(AgentFlow::next_time),
        ];
        let moments = times.into_iter().flatten().map(|time| self.clock.moment(time));
        let copy = self.exchange.drop_copy().and_then(|copy| copy.session().next_deadline());
        let sessions = (0..self.ports.len()).filter_map(|index| self.exchange.next_deadline(index));
        let others = [
            copy,
            self.stream.next_deadline(),
            self.lines[0].next_deadline(),
            self.lines[1].next_deadline(),
            self.requests.next_deadline(),
            self.snapshots.next_deadline(),
        ];
        let first = moments.chain(sessions).chain(others.into_iter().flatten()).min();
        let wait = first.map_or(i64::MAX, |first| first.since(now).0);
        Duration::from_nanos(u64::try_from(wait).unwrap_or(0)).min(SLEEP_MAX)
    }
}

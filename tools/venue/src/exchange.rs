//! The venue with its ports: bytes of every port in, bytes of every port and the feed out. Still without sockets.

use peregrine_gateway::soup::{ServerEvent, ServerState};
use peregrine_types::{EpochNanos, OrderRef, Symbol};

use crate::clock::VenueClock;
use crate::config::{VenueConfig, VenueConfigError};
use crate::drop_copy::{DropCopy, order_of};
use crate::orders::{AccountId, Command, OrderEvent, TimeOfDay, VenueSink};
use crate::port::{Asked, OuchPort, PortConfig};
use crate::schedule::Phase;
use crate::supervisor::{DayRules, Supervisor};
use crate::venue::Venue;

/// Where the feed goes.
pub trait Feed {
    /// One ITCH 5.0 message, stamped `time`.
    fn on_message(&mut self, time: TimeOfDay, message: &[u8]);
}

impl<F: FnMut(TimeOfDay, &[u8])> Feed for F {
    fn on_message(&mut self, time: TimeOfDay, message: &[u8]) {
        self(time, message);
    }
}

/// A venue and the ports of its accounts.
#[derive(Debug)]
pub struct Exchange {
    venue: Venue,
    ports: Vec<OuchPort>,
    copy: Option<DropCopy>,
    supervisor: Option<Supervisor>,
    clock: VenueClock,
    phase: Phase,
    /// Events of the command under way, in order.
    events: Vec<(TimeOfDay, AccountId, OrderEvent)>,
    /// Messages of the bytes under way: their lengths and bytes.
    inbox: Vec<u8>,
    /// The first account whose events somebody else than a port wants, and those events.
    hears_from: Option<AccountId>,
    heard: Vec<(TimeOfDay, AccountId, OrderEvent)>,
}

struct Split<'a, F> {
    events: &'a mut Vec<(TimeOfDay, AccountId, OrderEvent)>,
    feed: &'a mut F,
}

impl<F: Feed> VenueSink for Split<'_, F> {
    fn on_order(&mut self, time: TimeOfDay, account: AccountId, event: OrderEvent) {
        self.events.push((time, account, event));
    }

    fn on_market(&mut self, time: TimeOfDay, message: &[u8]) {
        self.feed.on_message(time, message);
    }
}

impl Exchange {
    /// An exchange before its day, whose times of day are those of `clock`.
    ///
    /// # Errors
    /// [`VenueConfigError`] for the first value that no venue can have.
    pub fn new(config: VenueConfig, ports: &[PortConfig], clock: VenueClock) -> Result<Self, VenueConfigError> {
        Ok(Self {
            venue: Venue::new(config)?,
            ports: ports.iter().map(|port| OuchPort::new(*port)).collect(),
            copy: None,
            supervisor: None,
            clock,
            phase: Phase::Closed,
            events: Vec::with_capacity(4_096),
            inbox: Vec::with_capacity(1 << 16),
            hears_from: None,
            heard: Vec::new(),
        })
    }

    /// The venue.
    #[must_use]
    pub const fn venue(&self) -> &Venue {
        &self.venue
    }

    /// A port, by its index in the configuration.
    #[must_use]
    pub fn port(&mut self, index: usize) -> Option<&mut OuchPort> {
        self.ports.get_mut(index)
    }

    /// From now on the events of `first` and the accounts behind it are kept for [`Exchange::take_heard`], and no port
    /// gets them: they are the background flow's.
    pub const fn hear_from(&mut self, first: AccountId) {
        self.hears_from = Some(first);
    }

    /// Moves the events that were kept behind those of `heard`.
    pub fn take_heard(&mut self, heard: &mut Vec<(TimeOfDay, AccountId, OrderEvent)>) {
        heard.append(&mut self.heard);
    }

    /// From now on what happens to a port's orders is told here too.
    pub fn set_drop_copy(&mut self, copy: DropCopy) {
        self.copy = Some(copy);
    }

    /// From now on the venue does by itself what these rules say. To be said before its day.
    pub fn set_rules(&mut self, rules: DayRules) {
        let is_any = rules != DayRules::default();
        self.venue.touched = rules.bands.filter(|bands| bands.limit_state_ns > 0).map(|_| Vec::new());
        self.supervisor = is_any.then(|| Supervisor::new(&rules, self.venue.schedule, &self.venue.symbols));
    }

    /// When the venue does something by itself, a step of its day or what its rules ask for: no earlier, and perhaps nothing
    /// then (an order that was to end may be gone). `None` when it will not.
    #[must_use]
    pub fn next_timer(&self) -> Option<TimeOfDay> {
        let rules = self.supervisor.as_ref().and_then(Supervisor::next_time);
        rules.into_iter().chain(self.venue.next_expiry()).chain(self.venue.next_step()).min()
    }

    /// The drop copy, if there is one.
    #[must_use]
    pub const fn drop_copy(&mut self) -> Option<&mut DropCopy> {
        self.copy.as_mut()
    }

    /// Sets another clock; the venue's time never goes back.
    pub const fn set_clock(&mut self, clock: VenueClock) {
        self.clock = clock;
    }

    /// The time of day at `now`.
    #[must_use]
    pub fn time_of_day(&self, now: EpochNanos) -> TimeOfDay {
        self.clock.time_of_day(now)
    }

    /// The moment at which the session of a port has something to do, if nothing arrives before.
    #[must_use]
    pub fn next_deadline(&self, port: usize) -> Option<EpochNanos> {
        let port = self.ports.get(port)?;
        port.session.next_deadline().into_iter().chain(port.next_fault()).min()
    }

    /// A connection to a port stands.
    pub fn connect(&mut self, port: usize, now: EpochNanos) {
        if let Some(port) = self.ports.get_mut(port) {
            port.session.connect(now);
        }
    }

    /// The connection of a port is gone: with cancel-on-disconnect its orders go too.
    pub fn disconnect(&mut self, port: usize, now: EpochNanos, feed: &mut impl Feed) {
        let mut is_closed = false;
        if let Some(port) = self.ports.get_mut(port) {
            port.session.disconnect(&mut |event| is_closed |= matches!(event, ServerEvent::Closed(_)));
        }
        if is_closed {
            self.on_closed(port, now, feed);
        }
    }

    fn on_closed(&mut self, port: usize, now: EpochNanos, feed: &mut impl Feed) {
        self.withdraw(port, (self.time_of_day(now), now), feed);
    }

    /// Cancels every order of a port with cancel-on-disconnect.
    fn withdraw(&mut self, port: usize, (time, now): (TimeOfDay, EpochNanos), feed: &mut impl Feed) {
        let meant = match self.ports.get(port) {
            Some(port) if port.is_cancel_on_disconnect() => port.meant(None, None, None),
            Some(_) | None => return,
        };
        for order_ref in meant {
            self.apply_at(&Command::Cancel { order_ref, qty: 0 }, time, now, feed);
        }
    }

    /// Ends the session of a port and begins the next one at message 1: the client is told the end and its connection is
    /// closed; a login with the name of the old session is refused from now on. With cancel-on-disconnect the port's
    /// orders are cancelled first, so that the old session's stream says so. Without it they live on under their
    /// numbers, and the new session tells what becomes of them. While orders are taken the new session begins with the
    /// start of the day (`S`).
    pub fn roll_session(&mut self, port: usize, (time, now): (TimeOfDay, EpochNanos), feed: &mut impl Feed) {
        self.apply_at(&Command::Clock, time, now, feed);
        self.withdraw(port, (time, now), feed);
        let Some(port) = self.ports.get_mut(port) else { return };
        port.set_time(now, self.venue.now);
        port.roll(now);
        if self.phase != Phase::Closed {
            port.on_system(b'S');
        }
    }

    /// Takes bytes that arrived on a port: every whole message is carried out before the next. Answers wait in the
    /// sessions of the ports.
    pub fn receive(&mut self, port: usize, bytes: &[u8], now: EpochNanos, feed: &mut impl Feed) {
        let Some(session) = self.ports.get_mut(port).map(|port| &mut port.session) else { return };
        let mut inbox = core::mem::take(&mut self.inbox);
        inbox.clear();
        let mut is_closed = false;
        session.receive(bytes, now, &mut |event| match event {
            ServerEvent::Unsequenced(payload) => {
                inbox.extend_from_slice(&u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes());
                inbox.extend_from_slice(payload);
            }
            ServerEvent::Closed(_) => is_closed = true,
            ServerEvent::LoggedIn { .. } | ServerEvent::Debug(_) => {}
        });
        let mut rest = &inbox[..];
        while let Some((len, tail)) = rest.split_first_chunk::<2>() {
            let (message, tail) = tail.split_at(usize::from(u16::from_be_bytes(*len)).min(tail.len()));
            rest = tail;
            self.on_message(port, message, now, feed);
        }
        self.inbox = inbox;
        if is_closed {
            self.on_closed(port, now, feed);
        }
    }

    fn on_message(&mut self, index: usize, message: &[u8], now: EpochNanos, feed: &mut impl Feed) {
        let time = self.time_of_day(now);
        let Some(port) = self.ports.get_mut(index) else { return };
        port.set_time(now, time);
        let venue = &self.venue;
        let asked = port.on_message(message, |name: Symbol| venue.symbol(name));
        self.carry_out(index, asked, now, feed);
    }

    fn carry_out(&mut self, index: usize, asked: Asked, now: EpochNanos, feed: &mut impl Feed) {
        match asked {
            Asked::Nothing => {}
            Asked::One(command) => self.apply(&command, now, feed),
            Asked::Modify(command, order_ref) => {
                self.apply(&command, now, feed);
                if let Some(port) = self.ports.get_mut(index) {
                    port.finish_modify(order_ref);
                }
            }
            Asked::Cancels { symbol, side, group_id } => {
                let meant = self.ports.get(index).map(|port| port.meant(symbol, side, group_id)).unwrap_or_default();
                for order_ref in meant {
                    self.apply(&Command::Cancel { order_ref, qty: 0 }, now, feed);
                }
            }
        }
    }

    /// Carries out a command of the venue's operator, or lets time pass with [`Command::Clock`].
    pub fn apply(&mut self, command: &Command, now: EpochNanos, feed: &mut impl Feed) {
        self.apply_at(command, self.time_of_day(now), now, feed);
    }

    /// Carries out a command at a time of day of its own: how a tape's orders come in. What the venue does by itself until
    /// then comes first, each at its time. Returns the reference of the order that was entered, or that took the place of
    /// another one.
    pub fn apply_at(
        &mut self,
        command: &Command,
        time: TimeOfDay,
        now: EpochNanos,
        feed: &mut impl Feed,
    ) -> Option<OrderRef> {
        let Some(mut supervisor) = self.supervisor.take() else { return self.match_at(command, time, now, feed) };
        let next = |supervisor: &Supervisor, venue: &Venue| {
            supervisor.next_time().into_iter().chain(venue.next_expiry()).min().filter(|at| *at <= time)
        };
        while let Some(at) = next(&supervisor, &self.venue) {
            self.match_at(&Command::Clock, at, now, feed);
            // An order that ended may have let others trade.
            supervisor.on_command(&Command::Clock, false, &mut self.venue);
            self.obey(&mut supervisor, at, now, feed);
            supervisor.pass(at, &self.venue);
            self.obey(&mut supervisor, at, now, feed);
        }
        let made = self.match_at(command, time, now, feed);
        supervisor.on_command(command, false, &mut self.venue);
        self.obey(&mut supervisor, time, now, feed);
        self.supervisor = Some(supervisor);
        made
    }

    /// Carries out what the venue's rules ask for.
    fn obey(&mut self, supervisor: &mut Supervisor, time: TimeOfDay, now: EpochNanos, feed: &mut impl Feed) {
        while let Some(command) = supervisor.next_command() {
            self.match_at(&command, time, now, feed);
            supervisor.on_command(&command, true, &mut self.venue);
        }
    }

    fn match_at(
        &mut self,
        command: &Command,
        time: TimeOfDay,
        now: EpochNanos,
        feed: &mut impl Feed,
    ) -> Option<OrderRef> {
        self.venue.apply(time, command, &mut Split { events: &mut self.events, feed });
        self.on_phase(now, time);
        let made = self.events.iter().find_map(|(_, _, event)| {
            if let OrderEvent::Accepted { order_ref, .. } | OrderEvent::Replaced { order_ref, .. } = event {
                Some(*order_ref)
            } else {
                None
            }
        });
        for (time, account, event) in self.events.drain(..) {
            if self.hears_from.is_some_and(|first| account >= first) {
                self.heard.push((time, account, event));
                continue;
            }
            for (index, port) in self.ports.iter_mut().enumerate().filter(|(_, port)| port.account() == account) {
                port.set_time(now, time);
                port.on_event(event);
                let copy = self.copy.as_mut().filter(|copy| copy.port() == index);
                let order = order_of(&event).and_then(|order_ref| port.copied(order_ref));
                if let (Some(copy), Some(order)) = (copy, order) {
                    copy.on_event(order, &event, now);
                }
            }
        }
        if let Command::Break { match_number, .. } = command {
            for port in &mut self.ports {
                port.set_time(now, time);
                port.on_broken(*match_number, b'S');
            }
            if let Some(copy) = &mut self.copy {
                copy.on_broken(*match_number, now);
            }
        }
        made
    }

    /// Breaks an execution of which a port knows, for both sides; `false` when none does, or it was broken before.
    pub(crate) fn bust(&mut self, match_number: u64, time: TimeOfDay, now: EpochNanos, feed: &mut impl Feed) -> bool {
        let traded = self.ports.iter().find_map(|port| port.traded(match_number));
        let Some(symbol) = traded.and_then(|name| self.venue.symbol(name)) else { return false };
        // One that chance had chosen to be broken later is broken once.
        self.ports.iter_mut().for_each(|port| port.forget_bust(match_number));
        self.apply_at(&Command::Break { symbol, match_number }, time, now, feed);
        true
    }

    /// Ports hear of the begin and the end of the day.
    fn on_phase(&mut self, now: EpochNanos, time: TimeOfDay) {
        let phase = self.venue.phase();
        let event_code = match (self.phase, phase) {
            (Phase::Closed, Phase::PreMarket | Phase::Market | Phase::PostMarket) => Some(b'S'),
            (Phase::PreMarket | Phase::Market | Phase::PostMarket, Phase::Closed) => Some(b'E'),
            (Phase::Closed, Phase::Closed) => None,
            (Phase::PreMarket | Phase::Market | Phase::PostMarket, _) => None,
        };
        self.phase = phase;
        if let Some(event_code) = event_code {
            for port in &mut self.ports {
                port.set_time(now, time);
                port.on_system(event_code);
            }
        }
    }

    /// Lets time pass for the venue and every session.
    pub fn poll(&mut self, now: EpochNanos, feed: &mut impl Feed) {
        self.apply(&Command::Clock, now, feed);
        self.poll_sessions(now, feed);
    }

    /// Lets time pass for the sessions alone: while a tape is behind, the venue's day waits for it.
    pub fn poll_sessions(&mut self, now: EpochNanos, feed: &mut impl Feed) {
        for index in 0..self.ports.len() {
            let mut is_closed = false;
            while let Some((symbol, match_number)) = self.ports.get_mut(index).and_then(|port| port.next_bust(now)) {
                // Both sides of the trade may have been chosen; it is broken once.
                self.ports.iter_mut().for_each(|port| port.forget_bust(match_number));
                self.apply(&Command::Break { symbol, match_number }, now, feed);
            }
            if let Some(port) = self.ports.get_mut(index) {
                port.release(now);
                port.session.poll(now, &mut |event| is_closed |= matches!(event, ServerEvent::Closed(_)));
            }
            if is_closed {
                self.on_closed(index, now, feed);
            }
        }
    }

    /// Whether somebody is logged in to a port.
    #[must_use]
    pub fn is_active(&self, port: usize) -> bool {
        self.ports.get(port).is_some_and(|port| port.session.state() == ServerState::Active)
    }
}

//! The whole machine on one page: which stage runs in which role, which rings join them, and how they keep to one order
//! of events whatever runs faster.
//!
//! ```text
//! fused         feed ─► decide ─► send            | record
//! feed_apart    feed ═► decide ─► send            | record
//! four_threads  feed ═► decide ═► send (═► back)  | record      feed ═► send as well: the venue sees the market itself
//! ```
//! `─►` is a call, `═►` a ring, `|` separates threads. All wirings give the same orders, log and state: see `Floor`.

mod feed;
mod record;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use peregrine_book::MarketBooks;
use peregrine_gateway::{FillModel, LatencyModel};
use peregrine_risk::ApprovedOrder;
use peregrine_runtime::{RingConsumer, RingProducer, Role, StopFlag, Stopwatch};
use peregrine_types::{EpochNanos, Execution, Full, MarketEvent, Nanos, Sink};

use crate::stage::batch::{Batch, EventSink};
use crate::stage::decide::{Applied, DecideStage};
use crate::stage::log::wait_turn;
use crate::stage::machine::{Inbox, Machine};
use crate::stage::path::SendPath;
use crate::stage::send::SendStage;

pub use feed::{FeedProgress, FeedRole};
pub use record::RecordRole;

/// Events that a role handles in one turn at most.
const EVENTS_PER_TURN_MAX: usize = 256;

/// How far a role has come in the time of the input: everything before this moment is done.
///
/// The send role may handle an event of time T once every decision up to T less the way to the venue is known; the decide
/// role may handle it once everything that happened at the venue up to T less the way back is known. Each publishes the
/// time of the event that it looks at; both ways take at least 1 ns, so that one of the two can always go on.
#[derive(Clone, Debug)]
pub struct Floor(Arc<AtomicI64>);

impl Default for Floor {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MIN)))
    }
}

impl Floor {
    fn publish(&self, time: EpochNanos) {
        self.0.store(time.0, Ordering::Release);
    }

    fn time(&self) -> EpochNanos {
        EpochNanos(self.0.load(Ordering::Acquire))
    }
}

/// Says that the feed role is about to end, and that it has handed over its last event.
#[derive(Clone, Debug, Default)]
pub struct InputEnd(Arc<[AtomicBool; 2]>);

impl InputEnd {
    fn announce_stop(&self) {
        let [is_stopping, _] = &*self.0;
        is_stopping.store(true, Ordering::Release);
    }

    fn announce(&self) {
        let [_, has_ended] = &*self.0;
        has_ended.store(true, Ordering::Release);
    }

    fn is_stopping(&self) -> bool {
        let [is_stopping, _] = &*self.0;
        is_stopping.load(Ordering::Acquire)
    }

    fn is_announced(&self) -> bool {
        let [_, has_ended] = &*self.0;
        has_ended.load(Ordering::Acquire)
    }
}

impl<B, W, S> EventSink for Machine<B, W, S>
where
    B: MarketBooks + Send,
    W: Stopwatch + Send,
    S: SendPath<B>,
{
    fn stop(&mut self) {
        Self::stop(self);
    }

    fn end_input(&mut self) {
        self.finish();
    }

    fn cut_input(&mut self) {
        self.cut();
    }

    fn idle(&mut self) {
        if S::IS_LIVE {
            self.poll();
        }
        if let Some(rehearsal) = self.decide.idle(&self.books) {
            self.send.keep_warm(rehearsal);
        }
    }

    #[inline]
    fn turn_end(&mut self) {
        if S::IS_LIVE {
            self.poll();
        }
    }

    #[inline]
    fn expect(&mut self, events: &[MarketEvent]) {
        self.books.prefetch_hint(events);
        self.decide.prefetch_hint(events);
    }
}

/// The ring, or the two rings, from the feed role. A replay is lossless: it waits for room.
#[derive(Debug)]
pub struct FeedRings<P> {
    rings: Vec<P>,
    end: InputEnd,
    failed: StopFlag,
}

impl<P: RingProducer<MarketEvent>> FeedRings<P> {
    /// Events go into every ring of `rings`; `failed` ends the wait for room.
    pub const fn new(rings: Vec<P>, end: InputEnd, failed: StopFlag) -> Self {
        Self { rings, end, failed }
    }
}

impl<P: RingProducer<MarketEvent>> Sink<MarketEvent> for FeedRings<P> {
    #[inline]
    fn push(&mut self, event: MarketEvent) -> Result<(), Full<MarketEvent>> {
        for ring in &mut self.rings {
            push_waiting(ring, event, &self.failed, || {});
        }
        Ok(())
    }
}

impl<P: RingProducer<MarketEvent>> EventSink for FeedRings<P> {
    fn stop(&mut self) {
        self.end.announce_stop();
    }

    fn end_input(&mut self) {
        self.end.announce();
    }
}

/// Pushes, waiting for room and doing `meanwhile`; gives up when the run has failed or nobody reads any more.
fn push_waiting<T, P: RingProducer<T>>(ring: &mut P, value: T, failed: &StopFlag, mut meanwhile: impl FnMut()) {
    let mut turns = 0;
    let mut value = value;
    while let Err(Full(back)) = ring.push(value) {
        if failed.is_requested() || ring.is_abandoned() {
            return;
        }
        value = back;
        meanwhile();
        wait_turn(&mut turns);
    }
}

/// Takes what the venue said so far; what does not fit waits in the ring.
fn drain(executions: &mut impl RingConsumer<Execution>, inbox: &mut Inbox, failed: &StopFlag) {
    while inbox.has_room() {
        let Some(execution) = executions.pop() else { return };
        if inbox.push(execution).is_err() {
            failed.request();
        }
    }
}

/// [`drain`] of a role that waits. When nothing fits any more the send role waits too, for room that will never come: the
/// run has failed.
fn drain_or_fail(executions: &mut impl RingConsumer<Execution>, inbox: &mut Inbox, failed: &StopFlag) {
    drain(executions, inbox, failed);
    if !inbox.has_room() && executions.len() == executions.capacity() {
        failed.request();
    }
}

/// Decide and send on one thread behind a ring.
#[derive(Debug)]
pub struct MachineRole<C, M> {
    events: C,
    end: InputEnd,
    failed: StopFlag,
    is_stopped: bool,
    is_done: bool,
    batch: Batch,
    /// The machine, given back when the role ends.
    pub machine: M,
}

impl<C, M> MachineRole<C, M> {
    /// A role named `decide` that reads `events`.
    pub fn new(events: C, machine: M, end: InputEnd, failed: StopFlag) -> Self {
        Self { events, end, failed, is_stopped: false, is_done: false, batch: Batch::default(), machine }
    }
}

impl<C: RingConsumer<MarketEvent>, M: EventSink> Role for MachineRole<C, M> {
    fn name(&self) -> &str {
        "decide"
    }

    fn duty_cycle(&mut self) -> usize {
        if !self.is_stopped && self.end.is_stopping() {
            self.is_stopped = true;
            self.machine.stop();
        }
        let has_ended = self.end.is_announced();
        let mut done = 0;
        while done < EVENTS_PER_TURN_MAX {
            // What waits in the ring already makes a batch; a single event is handled at once.
            let Some(event) = self.events.pop() else { break };
            self.batch.add(&event, &mut self.machine);
            done += 1;
        }
        self.batch.flush(&mut self.machine);
        if done == 0 && has_ended && !self.is_done {
            self.machine.end_input();
            self.is_done = true;
        }
        if done == 0 && !self.is_done {
            self.machine.idle();
        }
        done
    }

    fn is_finished(&self) -> bool {
        self.is_done || self.failed.is_requested()
    }
}

/// What joins the decide and the send role of the four-thread wiring.
#[derive(Clone, Debug, Default)]
pub struct Lockstep {
    decided: Floor,
    venue: Floor,
    end: InputEnd,
    failed: StopFlag,
}

impl Lockstep {
    /// Nothing done yet; `failed` ends every wait.
    #[must_use]
    pub fn new(end: InputEnd, failed: StopFlag) -> Self {
        Self { end, failed, ..Self::default() }
    }
}

/// The decide role on a thread of its own.
#[derive(Debug)]
pub struct DecideRole<C, E, O, B, W> {
    /// Market events from the feed role.
    pub events: C,
    /// Reports from the send role.
    pub executions: E,
    /// Approved orders to the send role.
    pub orders: O,
    /// The books.
    pub books: B,
    /// The stage.
    pub decide: DecideStage<B, W>,
    /// Reports that are not visible yet.
    pub inbox: Inbox,
    /// Least way back from the venue.
    pub way_back_min: Nanos,
    /// How the two roles keep step.
    pub lockstep: Lockstep,
    /// Set when the input was handled to its end.
    pub is_done: bool,
}

impl<C, E, O, B, W> DecideRole<C, E, O, B, W>
where
    E: RingConsumer<Execution>,
    B: MarketBooks,
    W: Stopwatch,
{
    /// Tells the stage every report that is visible by `now`, those that still wait in the ring included.
    fn hear(&mut self, now: EpochNanos) {
        loop {
            drain(&mut self.executions, &mut self.inbox, &self.lockstep.failed);
            let Some(execution) = self.inbox.pop_visible(now) else { return };
            self.decide.on_execution(&execution);
        }
    }
}

impl<C, E, O, B, W> Role for DecideRole<C, E, O, B, W>
where
    C: RingConsumer<MarketEvent>,
    E: RingConsumer<Execution>,
    O: RingProducer<ApprovedOrder>,
    B: MarketBooks + Send,
    W: Stopwatch + Send,
{
    fn name(&self) -> &str {
        "decide"
    }

    fn duty_cycle(&mut self) -> usize {
        let has_ended = self.lockstep.end.is_announced();
        let mut done = 0;
        while done < EVENTS_PER_TURN_MAX {
            let Some(event) = self.events.peek().copied() else { break };
            self.lockstep.decided.publish(event.recv_time);
            if self.lockstep.venue.time() <= event.recv_time.minus(self.way_back_min) {
                drain_or_fail(&mut self.executions, &mut self.inbox, &self.lockstep.failed);
                return done;
            }
            let started = self.decide.begin(&event);
            let update = self.books.apply(&event);
            self.hear(event.recv_time);
            let (orders, executions, inbox) = (&mut self.orders, &mut self.executions, &mut self.inbox);
            let failed = &self.lockstep.failed;
            let mut out = |order| {
                push_waiting(orders, order, failed, || drain_or_fail(executions, inbox, failed));
                Ok(())
            };
            let applied = Applied { started, event: &event, update: &update };
            self.decide.on_event(&applied, &self.books, &mut out);
            self.events.pop();
            done += 1;
        }
        if done == 0 && has_ended && self.events.is_empty() && !self.is_done {
            self.lockstep.decided.publish(EpochNanos::MAX);
            let is_venue_done = self.lockstep.venue.time() == EpochNanos::MAX;
            self.hear(EpochNanos::MAX);
            if is_venue_done && self.executions.is_empty() {
                self.decide.finish(&self.books);
                self.is_done = true;
            }
        }
        if done == 0 && !self.is_done {
            self.decide.idle(&self.books);
        }
        done
    }

    fn is_finished(&self) -> bool {
        self.is_done || self.lockstep.failed.is_requested()
    }
}

/// The send role on a thread of its own, with books of its own.
#[derive(Debug)]
pub struct SendRole<C, O, E, B, F, L> {
    /// Market events from the feed role.
    pub events: C,
    /// Approved orders from the decide role.
    pub orders: O,
    /// Reports to the decide role.
    pub executions: E,
    /// The books, as the venue sees them.
    pub books: B,
    /// The stage.
    pub send: SendStage<F, L>,
    /// Least way to the venue.
    pub way_there_min: Nanos,
    /// How the two roles keep step.
    pub lockstep: Lockstep,
    /// Set when the input was handled to its end.
    pub is_done: bool,
}

impl<C, O, E, B, F, L> SendRole<C, O, E, B, F, L>
where
    O: RingConsumer<ApprovedOrder>,
    F: FillModel,
    L: LatencyModel,
{
    fn take_orders(&mut self) {
        while let Some(order) = self.orders.pop() {
            if self.send.accept(order).is_err() {
                self.lockstep.failed.request();
            }
        }
    }
}

impl<C, O, E, B, F, L> Role for SendRole<C, O, E, B, F, L>
where
    C: RingConsumer<MarketEvent>,
    O: RingConsumer<ApprovedOrder>,
    E: RingProducer<Execution>,
    B: MarketBooks + Send,
    F: FillModel + Send,
    L: LatencyModel + Send,
{
    fn name(&self) -> &str {
        "send"
    }

    fn duty_cycle(&mut self) -> usize {
        let has_ended = self.lockstep.end.is_announced();
        let mut done = 0;
        while done < EVENTS_PER_TURN_MAX {
            let Some(event) = self.events.peek().copied() else { break };
            // Before anything else, so that the decide role never waits for room while this one waits for it.
            let is_decided = self.lockstep.decided.time() > event.recv_time.minus(self.way_there_min);
            self.take_orders();
            if !is_decided {
                return done;
            }
            let (executions, failed) = (&mut self.executions, &self.lockstep.failed);
            let mut out = |execution| {
                push_waiting(executions, execution, failed, || {});
                Ok(())
            };
            self.send.before_event(event.recv_time, &self.books, &mut out);
            self.lockstep.venue.publish(event.recv_time);
            let update = self.books.apply(&event);
            self.send.after_event(&event, &update, &self.books, &mut out);
            self.events.pop();
            done += 1;
        }
        let is_all_decided = self.lockstep.decided.time() == EpochNanos::MAX;
        if done == 0 && has_ended && is_all_decided && self.events.is_empty() && !self.is_done {
            self.take_orders();
            let (executions, failed) = (&mut self.executions, &self.lockstep.failed);
            let mut out = |execution| {
                push_waiting(executions, execution, failed, || {});
                Ok(())
            };
            self.send.before_event(EpochNanos::MAX, &self.books, &mut out);
            self.lockstep.venue.publish(EpochNanos::MAX);
            self.is_done = true;
        }
        done
    }

    fn is_finished(&self) -> bool {
        self.is_done || self.lockstep.failed.is_requested()
    }
}

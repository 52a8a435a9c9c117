//! Faults on demand, each from its own seeded stream of chance: what happens to packets on a line, and to orders and
//! answers on a port. Nothing is drawn where nothing is asked for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use peregrine_types::{EpochNanos, Nanos};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::control::LineChange;
use crate::orders::TimeOfDay;

/// Packets that can be on their way at once; what comes on top is lost, and counted.
const IN_FLIGHT_MAX: usize = 1 << 16;
const MILLION: u32 = 1_000_000;

/// What is wrong with a line. Shares are in millionths of its packets (0 to 1,000,000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineFaults {
    /// Packets that never arrive.
    pub loss_ppm: u32,
    /// Packets that arrive twice, the second time within `reorder_delay`.
    pub duplicate_ppm: u32,
    /// Packets that arrive late by up to `reorder_delay`, behind packets sent after them.
    pub reorder_ppm: u32,
    /// How late a reordered or duplicated packet is, at most.
    pub reorder_delay: Nanos,
    /// Delay of every packet.
    pub delay: Nanos,
    /// Largest delay on top, drawn evenly; packets keep their order.
    pub jitter: Nanos,
    /// Length of an outage in which nothing arrives; 0 for none.
    pub outage: Nanos,
    /// Span from the begin of one outage to that of the next.
    pub outage_every: Nanos,
    /// Begin of the first outage, counted from the line's first packet. Two lines with the same span and other begins
    /// fail in turn (swizzle).
    pub outage_after: Nanos,
}

impl LineFaults {
    /// A sound line.
    pub const NONE: Self = Self {
        loss_ppm: 0,
        duplicate_ppm: 0,
        reorder_ppm: 0,
        reorder_delay: Nanos::ZERO,
        delay: Nanos::ZERO,
        jitter: Nanos::ZERO,
        outage: Nanos::ZERO,
        outage_every: Nanos::ZERO,
        outage_after: Nanos::ZERO,
    };
}

/// What became of a line's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounters {
    /// Packets that went out, second copies included.
    pub delivered_count: u64,
    /// Packets that were lost by chance.
    pub lost_count: u64,
    /// Packets that fell into an outage.
    pub outage_count: u64,
    /// Packets that went out twice.
    pub duplicated_count: u64,
    /// Packets that were held back behind later ones.
    pub reordered_count: u64,
    /// Packets that found too many others on their way.
    pub overflow_count: u64,
}

/// A line with its faults: packets and time go in, packets come out when they are due.
#[derive(Debug)]
pub struct FaultyLine {
    faults: LineFaults,
    chance: ChaCha8Rng,
    begin: Option<EpochNanos>,
    /// End of an outage that was switched on by hand.
    out_until: EpochNanos,
    due_last: EpochNanos,
    order: u64,
    in_flight: BinaryHeap<Reverse<(EpochNanos, u64, Vec<u8>)>>,
    counters: LineCounters,
}

/// Whether something of `ppm` millionths happens.
pub(crate) fn happens(chance: &mut ChaCha8Rng, ppm: u32) -> bool {
    ppm > 0 && chance.next_u32() % MILLION < ppm
}

/// A span from 0 to `most`, drawn evenly.
fn up_to(chance: &mut ChaCha8Rng, most: Nanos) -> Nanos {
    match u64::try_from(most.0) {
        Ok(most @ 1..) => Nanos(i64::try_from(chance.next_u64() % (most + 1)).unwrap_or(0)),
        Ok(0) | Err(_) => Nanos::ZERO,
    }
}

impl FaultyLine {
    /// A line whose chance comes from `seed`; lines with other seeds fail independently.
    #[must_use]
    pub fn new(faults: LineFaults, seed: u64) -> Self {
        Self {
            faults,
            chance: ChaCha8Rng::seed_from_u64(seed),
            begin: None,
            out_until: EpochNanos::MIN,
            due_last: EpochNanos::MIN,
            order: 0,
            in_flight: BinaryHeap::new(),
            counters: LineCounters::default(),
        }
    }

    /// What became of its packets.
    #[must_use]
    pub const fn counters(&self) -> LineCounters {
        self.counters
    }

    /// Its faults.
    #[must_use]
    pub const fn faults(&self) -> LineFaults {
        self.faults
    }

    /// Has other faults from `now` on; what is on its way arrives as it was to.
    pub(crate) fn switch(&mut self, change: LineChange, now: EpochNanos) {
        change.apply(&mut self.faults);
        match change {
            LineChange::Outage(span) => self.out_until = now.plus(span),
            LineChange::Clear => self.out_until = EpochNanos::MIN,
            LineChange::Loss(_)
            | LineChange::Duplication(_)
            | LineChange::Reordering(_)
            | LineChange::ReorderDelay(_)
            | LineChange::Delay(_)
            | LineChange::Jitter(_) => {}
        }
    }

    /// Takes a packet that leaves the sender at `now`.
    pub fn send(&mut self, packet: &[u8], now: EpochNanos) {
        let faults = self.faults;
        let is_lost = happens(&mut self.chance, faults.loss_ppm);
        let is_duplicated = happens(&mut self.chance, faults.duplicate_ppm);
        let is_reordered = happens(&mut self.chance, faults.reorder_ppm);
        let jitter = up_to(&mut self.chance, faults.jitter);
        if self.is_out(now) {
            self.counters.outage_count += 1;
            return;
        }
        if is_lost {
            self.counters.lost_count += 1;
            return;
        }
        let mut due = self.due_last.max(now.plus(faults.delay).plus(jitter));
        if is_reordered {
            due = due.plus(up_to(&mut self.chance, faults.reorder_delay));
            self.counters.reordered_count += 1;
        } else {
            self.due_last = due;
        }
        self.hold(due, packet);
        if is_duplicated {
            let again = due.plus(up_to(&mut self.chance, faults.reorder_delay));
            self.counters.duplicated_count += 1;
            self.hold(again, packet);
        }
    }

    fn hold(&mut self, due: EpochNanos, packet: &[u8]) {
        if self.in_flight.len() >= IN_FLIGHT_MAX {
            self.counters.overflow_count += 1;
            return;
        }
        self.order += 1;
        self.in_flight.push(Reverse((due, self.order, packet.to_vec())));
    }

    /// Whether `now` lies in an outage.
    fn is_out(&mut self, now: EpochNanos) -> bool {
        let LineFaults { outage, outage_every, outage_after, .. } = self.faults;
        let begin = *self.begin.get_or_insert(now);
        let since = now.since(begin).0 - outage_after.0;
        if now < self.out_until {
            return true;
        }
        if outage.0 <= 0 || since < 0 {
            return false;
        }
        let into = if outage_every.0 > 0 { since % outage_every.0 } else { since };
        into < outage.0
    }

    /// Hands out what is due at `now`, in the order of arrival.
    pub fn poll(&mut self, now: EpochNanos, on_packet: &mut impl FnMut(&[u8])) {
        while self.in_flight.peek().is_some_and(|Reverse((due, _, _))| *due <= now) {
            let Some(Reverse((_, _, packet))) = self.in_flight.pop() else { return };
            self.counters.delivered_count += 1;
            on_packet(&packet);
        }
    }

    /// The moment at which the next packet arrives.
    #[must_use]
    pub fn next_deadline(&self) -> Option<EpochNanos> {
        self.in_flight.peek().map(|Reverse((due, _, _))| *due)
    }
}

/// What is wrong with an order port. Shares are in millionths (0 to 1,000,000).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortFaults {
    /// Spans of the day, begin and end, in which every order is refused.
    pub reject_storms: Vec<(TimeOfDay, TimeOfDay)>,
    /// Messages of the client that get lost behind the session: they have no effect and no answer.
    pub lost_order_ppm: u32,
    /// Acceptances that are never said: the order lives.
    pub lost_answer_ppm: u32,
    /// Executions that are said twice, with the same match number.
    pub duplicate_fill_ppm: u32,
    /// Executions that are said late, and everything behind them with them: the numbered stream keeps its order.
    pub late_fill_ppm: u32,
    /// How late, by the wall's clock.
    pub late_fill_delay: Nanos,
    /// Executions that are broken later.
    pub bust_ppm: u32,
    /// How much later, by the wall's clock.
    pub bust_delay: Nanos,
}

/// How often a port's faults happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortFaultCounters {
    /// Orders refused in a storm.
    pub stormed_count: u64,
    /// Messages of the client without effect.
    pub lost_order_count: u64,
    /// Acceptances never said.
    pub lost_answer_count: u64,
    /// Executions said twice.
    pub duplicate_fill_count: u64,
    /// Executions said late.
    pub late_fill_count: u64,
    /// Executions broken.
    pub bust_count: u64,
}

/// The faults of a port, with their chance.
#[derive(Debug)]
pub(crate) struct PortChaos {
    faults: PortFaults,
    chance: ChaCha8Rng,
    pub(crate) counters: PortFaultCounters,
}

impl PortChaos {
    pub(crate) fn new(faults: PortFaults, seed: u64) -> Self {
        Self { faults, chance: ChaCha8Rng::seed_from_u64(seed), counters: PortFaultCounters::default() }
    }

    /// Has other faults from now on; what was counted stays.
    pub(crate) fn switch(&mut self, change: impl FnOnce(&mut PortFaults)) {
        change(&mut self.faults);
    }

    pub(crate) fn loses_order(&mut self) -> bool {
        let is_lost = happens(&mut self.chance, self.faults.lost_order_ppm);
        self.counters.lost_order_count += u64::from(is_lost);
        is_lost
    }

    pub(crate) fn is_stormy(&mut self, time: TimeOfDay) -> bool {
        let is_stormy = self.faults.reject_storms.iter().any(|(begin, end)| *begin <= time && time < *end);
        self.counters.stormed_count += u64::from(is_stormy);
        is_stormy
    }

    pub(crate) fn loses_answer(&mut self) -> bool {
        let is_lost = happens(&mut self.chance, self.faults.lost_answer_ppm);
        self.counters.lost_answer_count += u64::from(is_lost);
        is_lost
    }

    pub(crate) fn doubles_fill(&mut self) -> bool {
        let is_doubled = happens(&mut self.chance, self.faults.duplicate_fill_ppm);
        self.counters.duplicate_fill_count += u64::from(is_doubled);
        is_doubled
    }

    /// How late an execution is said, `None` for at once.
    pub(crate) fn delays_fill(&mut self) -> Option<Nanos> {
        let is_late = happens(&mut self.chance, self.faults.late_fill_ppm);
        self.counters.late_fill_count += u64::from(is_late);
        is_late.then_some(self.faults.late_fill_delay)
    }

    /// When an execution is broken, `None` for never.
    pub(crate) fn busts(&mut self) -> Option<Nanos> {
        let is_bust = happens(&mut self.chance, self.faults.bust_ppm);
        self.counters.bust_count += u64::from(is_bust);
        is_bust.then_some(self.faults.bust_delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends a packet each microsecond and returns what arrived, by its number.
    fn run(faults: LineFaults, seed: u64, count: u16) -> (Vec<u16>, LineCounters) {
        let mut line = FaultyLine::new(faults, seed);
        let mut arrived = Vec::new();
        let mut take = |packet: &[u8]| arrived.push(u16::from_be_bytes([packet[0], packet[1]]));
        for number in 0..count {
            let now = EpochNanos(i64::from(number) * 1_000);
            line.send(&number.to_be_bytes(), now);
            line.poll(now, &mut take);
        }
        line.poll(EpochNanos::MAX, &mut take);
        assert_eq!(line.next_deadline(), None);
        (arrived, line.counters())
    }

    #[test]
    fn a_line_without_faults_is_a_wire() {
        let (arrived, counters) = run(LineFaults::default(), 1, 1_000);
        assert_eq!(arrived, (0..1_000).collect::<Vec<_>>());
        assert_eq!(counters, LineCounters { delivered_count: 1_000, ..LineCounters::default() });
    }

    #[test]
    fn each_fault_happens_about_as_often_as_asked_and_the_same_way_for_a_seed() {
        let faults = LineFaults {
            loss_ppm: 300_000,
            duplicate_ppm: 100_000,
            reorder_ppm: 50_000,
            reorder_delay: Nanos::from_micros(20),
            delay: Nanos::from_micros(5),
            jitter: Nanos::from_micros(2),
            ..LineFaults::default()
        };
        let (arrived, counters) = run(faults, 7, 20_000);
        assert_eq!(run(faults, 7, 20_000), (arrived.clone(), counters));
        assert_ne!(run(faults, 8, 20_000).0, arrived);
        assert!((5_700..6_300).contains(&counters.lost_count), "{counters:?}");
        assert!((1_250..1_550).contains(&counters.duplicated_count), "{counters:?}");
        assert!((600..800).contains(&counters.reordered_count), "{counters:?}");
        assert_eq!(counters.delivered_count, 20_000 - counters.lost_count + counters.duplicated_count);
        assert!(!arrived.is_sorted());
        let mut distinct = arrived;
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len() as u64, 20_000 - counters.lost_count);
    }

    #[test]
    fn two_lines_that_fail_in_turn_lose_nothing_together() {
        let out = |after| LineFaults {
            outage: Nanos::from_micros(400),
            outage_every: Nanos::from_micros(1_000),
            outage_after: Nanos::from_micros(after),
            ..LineFaults::default()
        };
        let (a, a_counters) = run(out(0), 1, 10_000);
        let (b, b_counters) = run(out(500), 2, 10_000);
        assert_eq!((a_counters.outage_count, b_counters.outage_count), (4_000, 4_000));
        let both: std::collections::BTreeSet<u16> = a.into_iter().chain(b).collect();
        assert_eq!(both.len(), 10_000);
    }
}

//! The lines that carry a session's packets, each with its own faults. Packets come out in the order of their arrival.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use peregrine_types::{EpochNanos, Nanos};

use crate::math::{float, to_i64};
use crate::packets::{LINE_COUNT, LineFaults, LineReport, PacketConfig, PacketReport};
use crate::random::Random;

/// A packet under way. Ordered by arrival, then by order of sending, so that nothing depends on the heap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flying {
    arrival: i64,
    order: u64,
    line: u8,
    payload: Vec<u8>,
}

#[derive(Debug)]
struct Line {
    faults: LineFaults,
    random: Random,
    /// Arrival of the last packet in order.
    last_arrival: i64,
    report: LineReport,
}

impl Line {
    fn happens(&mut self, ppm: u32) -> bool {
        self.random.below(1_000_000) < ppm
    }

    fn lateness(&mut self) -> i64 {
        1 + to_i64(self.random.unit() * float(self.faults.reorder_delay.0.unsigned_abs()))
    }

    /// When a packet sent at `time` arrives in order.
    fn arrival(&mut self, time: EpochNanos) -> i64 {
        let jitter = self.random.exponential().min(10.0) * float(self.faults.jitter.0.unsigned_abs());
        let arrival = time.plus(self.faults.delay).plus(Nanos(to_i64(jitter))).0;
        self.last_arrival = self.last_arrival.max(arrival);
        self.last_arrival
    }
}

/// The lines of a session.
#[derive(Debug)]
pub(crate) struct Lines {
    lines: Vec<Line>,
    flying: BinaryHeap<Reverse<Flying>>,
    spare: Vec<Vec<u8>>,
    sent: u64,
    is_recoverable: bool,
    missing_message_count: u64,
}

impl Lines {
    /// The lines of `config`, on which nothing was sent yet.
    pub(crate) fn new(config: &PacketConfig) -> Self {
        let names = ["line A", "line B"];
        let faults = [Some(config.lines.0), config.lines.1];
        let line = |(name, faults): (&str, LineFaults)| Line {
            faults,
            random: Random::named(config.seed, name),
            last_arrival: i64::MIN,
            report: LineReport::default(),
        };
        Self {
            lines: names.into_iter().zip(faults.into_iter().flatten()).map(line).collect(),
            flying: BinaryHeap::new(),
            spare: Vec::new(),
            sent: 0,
            is_recoverable: config.is_recoverable,
            missing_message_count: 0,
        }
    }

    /// What became of `packet_count` packets with `message_count` messages.
    pub(crate) fn report(&self, packet_count: u64, message_count: u64) -> PacketReport {
        let mut report = PacketReport {
            message_count,
            packet_count,
            lines: Default::default(),
            missing_message_count: self.missing_message_count,
        };
        for (to, line) in report.lines.iter_mut().zip(&self.lines) {
            *to = line.report;
        }
        report
    }

    /// Sends one payload with `message_count` messages (0: heartbeat or end of session) on every line.
    pub(crate) fn send(&mut self, time: EpochNanos, payload: &[u8], message_count: u64) {
        let mut is_lost_everywhere = message_count > 0;
        for index in 0..self.lines.len() {
            let line = &mut self.lines[index];
            let is_held = self.is_recoverable && index + 1 == LINE_COUNT && is_lost_everywhere;
            if line.happens(line.faults.loss_ppm) && message_count > 0 && !is_held {
                line.report.lost_count += 1;
                line.report.lost_message_count += message_count;
                continue;
            }
            is_lost_everywhere = false;
            line.report.idle_count += u64::from(message_count == 0);
            let in_order = line.arrival(time);
            let mut arrival = in_order;
            if line.happens(line.faults.reorder_ppm) {
                line.report.reordered_count += 1;
                arrival += line.lateness();
            }
            let copy = if line.happens(line.faults.duplicate_ppm) {
                line.report.duplicated_count += 1;
                Some(in_order + line.lateness())
            } else {
                None
            };
            for arrival in [Some(arrival), copy].into_iter().flatten() {
                self.launch(arrival, index, payload);
            }
        }
        self.missing_message_count += if is_lost_everywhere { message_count } else { 0 };
    }

    fn launch(&mut self, arrival: i64, line: usize, payload: &[u8]) {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(payload);
        self.sent += 1;
        let line = u8::try_from(line).unwrap_or(u8::MAX);
        self.flying.push(Reverse(Flying { arrival, order: self.sent, line, payload: bytes }));
    }

    /// Hands out everything that arrives before `horizon`.
    pub(crate) fn deliver(&mut self, horizon: EpochNanos, on_packet: &mut impl FnMut(u8, EpochNanos, &[u8])) {
        while self.flying.peek().is_some_and(|next| next.0.arrival < horizon.0) {
            let Some(Reverse(packet)) = self.flying.pop() else { return };
            self.lines[usize::from(packet.line)].report.delivered_count += 1;
            on_packet(packet.line, EpochNanos(packet.arrival), &packet.payload);
            self.spare.push(packet.payload);
        }
    }
}

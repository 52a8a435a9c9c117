//! What recovery asks for and when, what it believes, and how long it waits: step by step, on a clock of the test's own.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use peregrine_types::{EpochNanos, EventKind, Full, MarketEvent, Nanos};
use peregrine_wire::arbiter::ArbiterConfig;
use peregrine_wire::itch50::Decoder;
use peregrine_wire::moldudp64::{PacketBuilder, Session};
use peregrine_wire::recovery::SnapshotStep;
use peregrine_wire::{LineId, MoldFeed, Recovery, RecoveryConfig};

const SESSION: Session = Session(*b"PACE      ");
const US: i64 = 1_000;
const MS: i64 = 1_000_000;

/// The system event that is message `number`.
fn message(number: u64) -> [u8; 12] {
    let mut message = [0; 12];
    (message[0], message[11]) = (b'S', b'O');
    message[5..11].copy_from_slice(&number.to_be_bytes()[2..]);
    message
}

/// A packet that begins with message `first`, of the messages given.
fn packet_of<'m>(first: u64, messages: impl IntoIterator<Item = &'m [u8]>) -> Vec<u8> {
    let mut buffer = [0; 1_400];
    let mut builder = PacketBuilder::new(&mut buffer, SESSION, first).unwrap();
    messages.into_iter().for_each(|message| builder.push(message).unwrap());
    builder.finish().to_vec()
}

/// A packet of the messages `first..end`.
fn packet(first: u64, end: u64) -> Vec<u8> {
    let messages: Vec<[u8; 12]> = (first..end).map(message).collect();
    packet_of(first, messages.iter().map(|message| &message[..]))
}

/// The end of a snapshot, which holds everything before message `next`.
fn end(next: u64) -> Vec<u8> {
    format!("G{next:>20}").into_bytes()
}

/// A feed of two lines, its recovery, and what came out of them.
struct Bench {
    feed: MoldFeed,
    recovery: Recovery,
    events: Vec<MarketEvent>,
    /// The first message of each request.
    requests: Vec<u64>,
}

impl Bench {
    fn new(config: RecoveryConfig, reorder_window: Nanos) -> Self {
        let lines = ArbiterConfig {
            held_packet_count_max: 4_096,
            reorder_window_ns: reorder_window,
            ..ArbiterConfig::default()
        };
        let recovery = Recovery::new(config, 2);
        let feed = MoldFeed::new(config.arbiter(lines), Decoder::new(EpochNanos(0), 8)).unwrap();
        let feed = feed.with_recovery_line(recovery.line());
        Self { feed, recovery, events: Vec::new(), requests: Vec::new() }
    }

    fn line(&mut self, line: LineId, packet: &[u8], now: i64) {
        let events = &mut self.events;
        let mut sink = |event| -> Result<(), Full<MarketEvent>> {
            events.push(event);
            Ok(())
        };
        self.feed.on_packet(line, packet, EpochNanos(now), &mut sink).unwrap();
    }

    fn snapshot(&mut self, packet: &[u8], now: i64) -> SnapshotStep {
        let events = &mut self.events;
        let mut sink = |event| -> Result<(), Full<MarketEvent>> {
            events.push(event);
            Ok(())
        };
        self.recovery.on_snapshot(&mut self.feed, packet, EpochNanos(now), &mut sink).unwrap()
    }

    /// Polls; gives how many requests that were.
    fn poll(&mut self, now: i64) -> usize {
        let requests = &mut self.requests;
        let before = requests.len();
        let mut take =
            |_: u8, request: &peregrine_wire::moldudp64::Request| requests.push(request.sequence_number.get());
        self.recovery.poll(&self.feed, EpochNanos(now), &mut take);
        requests.len() - before
    }

    fn wants_snapshot(&self, now: i64) -> bool {
        self.recovery.wants_snapshot(&self.feed, EpochNanos(now))
    }

    fn is_whole(&self) -> bool {
        self.feed.arbiter().missing().is_none()
    }

    fn count(&self, kind: EventKind) -> usize {
        self.events.iter().filter(|event| event.kind == kind).count()
    }
}

/// Nobody to ask but a snapshot service.
fn snapshots_only() -> RecoveryConfig {
    RecoveryConfig { server_count: 0, ..RecoveryConfig::default() }
}

#[test]
fn snapshots_that_leave_the_gap_open_are_counted_and_kept_apart() {
    let config = snapshots_only();
    let mut bench = Bench::new(config, Nanos::from_millis(2));
    bench.line(LineId::A, &packet(1, 2), 0);
    bench.line(LineId::A, &packet(100, 101), 0);
    // The service always gives the same snapshot, and takes a second for it: longer than the pause.
    let snapshot = packet_of(1, [&message(1)[..], &end(5)]);
    let (mut connections, mut begun) = (Vec::new(), None);
    for now in (0..120_000).map(|ms| ms * MS) {
        bench.poll(now);
        match begun {
            None if bench.wants_snapshot(now) => {
                bench.recovery.snapshot_begun(EpochNanos(now));
                begun = Some(now);
            }
            Some(from) if now - from >= 1_000 * MS => {
                assert_eq!(bench.snapshot(&snapshot, now), SnapshotStep::Done);
                bench.recovery.snapshot_over(EpochNanos(now));
                connections.push((from, now));
                begun = None;
            }
            None | Some(_) => {}
        }
    }
    assert_eq!(connections.len(), usize::try_from(config.snapshot_count_max).unwrap());
    let is_apart = |pair: &[(i64, i64)]| pair[1].0 - pair[0].1 >= config.snapshot_delay.0;
    assert!(connections.windows(2).all(is_apart), "{connections:?}");
    assert!(bench.recovery.is_exhausted() && bench.count(EventKind::GapEnd) == 0);
    // The gap closes after all: the next one has all its tries again.
    let now = 120_000 * MS;
    bench.line(LineId::B, &packet(5, 50), now);
    bench.line(LineId::B, &packet(50, 100), now);
    bench.poll(now);
    assert!(bench.is_whole() && bench.count(EventKind::GapEnd) == 1 && !bench.recovery.is_exhausted());
    bench.line(LineId::A, &packet(200, 201), now);
    bench.poll(now);
    bench.poll(now + 2 * MS);
    assert!(bench.wants_snapshot(now + 2 * MS));
}

#[test]
fn the_other_line_has_its_time_where_nobody_can_be_asked() {
    let mut bench = Bench::new(snapshots_only(), Nanos::from_millis(2));
    bench.line(LineId::A, &packet(1, 2), 0);
    // A misses every other packet, B brings each 20 us later.
    let mut now = 0;
    for first in (2..400).step_by(2) {
        now += 100 * US;
        bench.line(LineId::A, &packet(first + 1, first + 2), now);
        bench.poll(now);
        assert!(!bench.wants_snapshot(now), "asked at once before message {first}");
        bench.line(LineId::B, &packet(first, first + 2), now + 20 * US);
        bench.poll(now + 20 * US);
        assert!(bench.is_whole() && !bench.wants_snapshot(now + 20 * US));
    }
    // What the other line does not bring in its time either is the snapshot service's.
    bench.line(LineId::A, &packet(500, 501), now + MS);
    for (at, is_wanted) in [(MS, false), (3 * MS - 1, false), (3 * MS, true)] {
        bench.poll(now + at);
        assert_eq!(bench.wants_snapshot(now + at), is_wanted, "{at} ns later");
    }
    assert!(!bench.recovery.is_snapshot_needless(&bench.feed));
    bench.line(LineId::B, &packet(400, 450), now + 4 * MS);
    bench.line(LineId::B, &packet(450, 500), now + 4 * MS);
    assert!(bench.recovery.is_snapshot_needless(&bench.feed), "both lines have brought everything meanwhile");
    assert_eq!(bench.requests, []);
}

#[test]
fn a_run_too_long_to_ask_for_waits_for_the_other_line_too() {
    let config = RecoveryConfig { run_message_count_max: 60, ..RecoveryConfig::default() };
    let mut bench = Bench::new(config, Nanos::from_millis(2));
    bench.line(LineId::A, &packet(1, 2), 0);
    bench.line(LineId::A, &packet(100, 101), 0);
    for (at, is_wanted) in [(0, false), (2 * MS - 1, false), (2 * MS, true)] {
        bench.poll(at);
        assert_eq!(bench.wants_snapshot(at), is_wanted, "{at} ns later");
    }
    assert_eq!(bench.requests, []);
}

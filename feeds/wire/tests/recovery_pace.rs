//! What recovery asks for and when, what it believes, and how long it waits: step by step, on a clock of the test's own.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use peregrine_types::{EpochNanos, EventKind, Full, MarketEvent, Nanos};
use peregrine_wire::arbiter::ArbiterConfig;
use peregrine_wire::feed::GAP_LOST;
use peregrine_wire::itch50::Decoder;
use peregrine_wire::moldudp64::{PacketBuilder, Session};
use peregrine_wire::recovery::{Reply, SnapshotStep};
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

    fn reply(&mut self, packet: &[u8], now: i64) -> Reply {
        let events = &mut self.events;
        let mut sink = |event| -> Result<(), Full<MarketEvent>> {
            events.push(event);
            Ok(())
        };
        self.recovery.on_reply(&mut self.feed, packet, EpochNanos(now), &mut sink).unwrap()
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

    fn next(&self) -> u64 {
        self.feed.arbiter().next_sequence_number()
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

/// One server, no snapshot service.
fn requests_only() -> RecoveryConfig {
    RecoveryConfig { has_snapshot: false, ..RecoveryConfig::default() }
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

#[test]
fn what_the_slower_line_brings_is_not_asked_for_again_and_again() {
    const END: u64 = 20_000;
    let mut bench = Bench::new(requests_only(), Nanos::from_secs(1));
    bench.line(LineId::A, &packet(1, 2), 0);
    bench.line(LineId::A, &packet(END, END + 1), 0);
    assert_eq!(bench.poll(0), 0);
    assert_eq!(bench.poll(2 * MS), 1);
    // The other line begins to bring it, and needs 40 ms for three quarters; no answer comes.
    let mut now = 2 * MS;
    for first in (2..15_000).step_by(10) {
        now += 25 * US;
        bench.line(LineId::B, &packet(first, first + 10), now);
        bench.poll(now);
    }
    assert_eq!(bench.requests.len(), 1, "asked at {:?}", bench.requests);
    // Then it is silent: the rest is asked for when the answer is late, and on at once as answers come.
    now += 50 * MS;
    assert_eq!(bench.poll(now), 1);
    for _ in 0..20 {
        let first = bench.next();
        assert_eq!(bench.requests.last(), Some(&(first - 1)));
        assert_eq!(bench.poll(now), 0, "an answer is waited for");
        now += 500 * US;
        assert_eq!(bench.reply(&packet(first - 1, first + 40), now), Reply::Believed);
        assert_eq!(bench.poll(now), 1);
    }
    // An answer without anything new is no reason to ask, nor is what a line brings beside it.
    let first = bench.next();
    assert_eq!(bench.reply(&packet(first - 20, first), now), Reply::Believed);
    bench.line(LineId::B, &packet(first, first + 1), now);
    assert_eq!(bench.poll(now), 0);
    // A packet in the middle cuts the run in two: what is behind it was asked for as well.
    let first = bench.next();
    bench.line(LineId::B, &packet(first + 100, first + 110), now);
    assert_eq!(bench.poll(now), 0);
    assert_eq!(bench.recovery.counters().timeout_count, 1);
}

#[test]
fn a_reply_from_the_middle_of_a_run_needs_a_proof_too() {
    let mut bench = Bench::new(requests_only(), Nanos::from_secs(1));
    bench.line(LineId::A, &packet(1, 50), 0);
    bench.line(LineId::A, &packet(50, 100), 0);
    bench.line(LineId::A, &packet(200, 201), 0);
    let lie: Vec<[u8; 12]> = (350..360).map(message).collect();
    let lie = packet_of(150, lie.iter().map(|message| &message[..]));
    assert_eq!(bench.reply(&lie, MS), Reply::Unproven, "99 is known: a reply holds it");
    assert_eq!(bench.reply(&packet(120, 150), MS), Reply::Unproven);
    assert_eq!(bench.reply(&packet(99, 150), MS), Reply::Believed);
    assert_eq!(bench.reply(&packet(149, 200), MS), Reply::Believed);
    assert_eq!((bench.next(), bench.is_whole()), (201, true));
    for (number, event) in (1_i64..).zip(bench.events.iter().filter(|event| event.kind == EventKind::SystemEvent)) {
        assert_eq!(event.exch_time.0, number);
    }
    // The day's begin: nothing is known before it, so that nothing in a short answer can be known.
    let mut bench = Bench::new(requests_only(), Nanos::from_secs(1));
    bench.line(LineId::A, &packet(200, 201), 0);
    assert!(!bench.feed.arbiter().knows(0), "there is no message 0");
    assert_eq!(bench.poll(0) + bench.poll(2 * MS), 1);
    assert_eq!(bench.requests, [1]);
    assert_eq!(bench.reply(&packet(1, 50), 3 * MS), Reply::Believed);
    assert_eq!(bench.next(), 50);
}

/// Both lines were out for a while: a server gives back all of it, though that takes longer than one round of requests.
#[test]
fn a_retransmission_under_way_is_not_given_up() {
    const END: u64 = 20_000;
    const STEP: i64 = 500 * US;
    let config = requests_only();
    let window = config.request_delay.0 + i64::from(config.request_count_max) * config.request_timeout.0;
    for stop in [None, Some(9_000)] {
        let mut bench = Bench::new(config, Nanos(window));
        bench.line(LineId::A, &packet(1, 2), 0);
        let (mut now, mut live, mut answer, mut answered) = (0, END, None::<u64>, 0);
        while bench.next() < live || live == END {
            now += STEP;
            assert!(now < 2_000 * MS, "stands at {} of {live}", bench.next());
            bench.line(LineId::A, &packet(live, live + 1), now);
            live += 1;
            if let Some(first) = answer.take().filter(|first| stop.is_none_or(|stop| *first < stop)) {
                assert_eq!(bench.reply(&packet(first, first + 36), now), Reply::Believed);
                answered = now;
            }
            if bench.poll(now) > 0 {
                answer = bench.requests.last().copied();
            }
        }
        let lost = bench.feed.arbiter().counters().lost_message_count;
        if stop.is_none() {
            assert!(now > window + 50 * MS, "it takes longer than a round of requests: {now} ns");
            assert_eq!((lost, bench.count(EventKind::GapEnd)), (0, 1));
        } else {
            // What the server leaves out is given up a window after its last answer.
            assert!(lost > 10_000 && bench.count(EventKind::GapEnd) == 0);
            let given_up = bench
                .events
                .iter()
                .find(|event| event.kind == EventKind::GapStart && event.detail == GAP_LOST)
                .unwrap()
                .recv_time
                .0;
            assert!((window..window + STEP).contains(&(given_up - answered)), "{given_up} {answered}");
        }
    }
}

#[test]
fn a_snapshot_with_a_malformed_message_is_refused() {
    let mut bench = Bench::new(snapshots_only(), Nanos::from_millis(2));
    bench.line(LineId::A, &packet(1, 2), 0);
    bench.line(LineId::A, &packet(10, 11), 0);
    let cut = [&[b'A'][..], &[0; 30]].concat();
    let bad = packet_of(1, [&message(1)[..], &cut, &end(10)]);
    assert_eq!(bench.snapshot(&bad, MS), SnapshotStep::Refused);
    assert!(bench.feed.arbiter().is_suspended() && bench.count(EventKind::GapEnd) == 0);
    assert_eq!(bench.recovery.counters().snapshot_refused_count, 1);
    // The next one may be whole. A type that nobody knows is no reason to refuse it.
    let good = packet_of(1, [&message(1)[..], b"?new", &end(10)]);
    assert_eq!(bench.snapshot(&good, 2 * MS), SnapshotStep::Done);
    assert_eq!((bench.count(EventKind::SnapshotStart), bench.count(EventKind::GapEnd)), (2, 1));
    assert!(bench.is_whole());
}

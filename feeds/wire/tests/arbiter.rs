//! The arbiter held against a slow obvious twin under loss, duplication, reordering and different packet boundaries,
//! and against its rules one by one.

use std::collections::BTreeMap;

use peregrine_types::{EpochNanos, Full, Nanos};
use peregrine_wire::arbiter::*;
use peregrine_wire::gap::{Gap, Notice};
use peregrine_wire::moldudp64::{Header, PacketBuilder, Session};
use proptest::prelude::*;
use zerocopy::IntoBytes;

const SESSION: Session = Session(*b"TODAY     ");
const NEXT_SESSION: Session = Session(*b"TOMORROW  ");

/// One thing that came out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Out {
    Message(Vec<u8>),
    Notice(Notice),
}

/// A sink that refuses whenever its next verdict says so.
#[derive(Default)]
struct List {
    out: Vec<Out>,
    refusals: Vec<bool>,
}

impl List {
    fn push(&mut self, out: Out) -> Result<(), Full<()>> {
        if self.refusals.pop().unwrap_or(false) {
            return Err(Full(()));
        }
        self.out.push(out);
        Ok(())
    }
}

impl Deliver for List {
    fn message(&mut self, message: &[u8], _line: LineId) -> Result<(), Full<()>> {
        self.push(Out::Message(message.to_vec()))
    }

    fn notice(&mut self, notice: Notice) -> Result<(), Full<()>> {
        self.push(Out::Notice(notice))
    }
}

/// The content of message `number`, of varying length, sometimes empty.
fn message(number: u64) -> Vec<u8> {
    let len = usize::try_from(number % 5 * 4).expect("small");
    number.to_be_bytes().iter().copied().cycle().take(len).collect()
}

fn packet_of(session: Session, first: u64, count: u64) -> Vec<u8> {
    let mut buffer = [0; 1500];
    let mut builder = PacketBuilder::new(&mut buffer, session, first).expect("room");
    for number in first..first + count {
        builder.push(&message(number)).expect("room");
    }
    builder.finish().to_vec()
}

fn packet(first: u64, count: u64) -> Vec<u8> {
    packet_of(SESSION, first, count)
}

fn config(window: i64) -> ArbiterConfig {
    ArbiterConfig { reorder_window_ns: Nanos(window), ..ArbiterConfig::default() }
}

struct Rig {
    arbiter: Arbiter,
    list: List,
}

impl Rig {
    fn new(config: ArbiterConfig) -> Self {
        Self { arbiter: Arbiter::new(config).expect("a possible configuration"), list: List::default() }
    }

    /// Feeds one packet until it is taken, and returns what came out.
    fn feed(&mut self, line: u8, payload: &[u8], now: i64) -> Vec<Out> {
        while self.arbiter.on_packet(LineId(line), payload, EpochNanos(now), &mut self.list).is_err() {
            assert!(self.arbiter.is_retry_due());
        }
        assert!(!self.arbiter.is_retry_due());
        std::mem::take(&mut self.list.out)
    }
}

fn started(next_sequence_number: u64) -> Out {
    Out::Notice(Notice::SessionStarted { session: SESSION, next_sequence_number })
}

fn ended(next_sequence_number: u64) -> Out {
    Out::Notice(Notice::SessionEnded { session: SESSION, next_sequence_number })
}

fn detected(first_missing: u64, next_received: u64) -> Out {
    Out::Notice(Notice::GapDetected(Gap { first_missing, next_received }))
}

fn lost(first_missing: u64, next_received: u64) -> Out {
    Out::Notice(Notice::GapLost(Gap { first_missing, next_received }))
}

fn recovered(first_missing: u64, next_received: u64, recovered_count: u64) -> Out {
    Out::Notice(Notice::GapRecovered { gap: Gap { first_missing, next_received }, recovered_count })
}

fn differ(first_missing: u64, next_received: u64) -> Out {
    Out::Notice(Notice::CopiesDiffer(Gap { first_missing, next_received }))
}

fn settled(first_missing: u64, next_received: u64) -> Out {
    Out::Notice(Notice::CopiesSettled(Gap { first_missing, next_received }))
}

/// The packet with another last byte.
fn corrupt(first: u64, count: u64) -> Vec<u8> {
    let mut copy = packet(first, count);
    let last = copy.len() - 1;
    copy[last] ^= 1;
    copy
}

fn messages(numbers: std::ops::Range<u64>) -> Vec<Out> {
    numbers.map(|number| Out::Message(message(number))).collect()
}

fn concat(parts: &[&[Out]]) -> Vec<Out> {
    parts.concat()
}

#[test]
fn copies_are_dropped_and_partly_new_packets_are_cut() {
    let mut rig = Rig::new(config(100));
    assert_eq!(rig.feed(0, &packet(1, 4), 10), concat(&[&[started(1)], &messages(1..5)]));
    assert_eq!(rig.feed(1, &packet(1, 4), 25), []);
    assert_eq!(rig.feed(1, &packet(3, 5), 30), messages(5..8));
    assert_eq!(rig.feed(0, &packet(5, 3), 31), []);
    let [a, b] = rig.arbiter.lines() else { panic!("two lines") };
    assert_eq!((a.packet_count, a.message_count, a.first_count, a.duplicate_count), (2, 7, 4, 3));
    assert_eq!((b.packet_count, b.message_count, b.first_count, b.duplicate_count), (2, 9, 3, 6));
    assert_eq!((b.behind_sum, b.behind_count, b.recv_time_last), (Nanos(35), 2, EpochNanos(30)));
    assert_eq!((a.behind_sum, a.behind_count, a.gap_count), (Nanos(1), 1, 0));
    assert_eq!(rig.arbiter.counters().delivered_count, 7);
}

#[test]
fn a_gap_is_announced_on_the_first_packet_past_it_and_closed_by_the_other_line() {
    let mut rig = Rig::new(config(100));
    rig.feed(0, &packet(1, 2), 10);
    assert_eq!(rig.feed(0, &packet(5, 2), 20), [detected(3, 5)]);
    assert_eq!(rig.arbiter.missing(), Some(Gap { first_missing: 3, next_received: 5 }));
    assert_eq!(rig.feed(0, &packet(8, 1), 30), [], "a further gap is counted, not announced");
    assert_eq!(rig.feed(1, &packet(1, 4), 40), messages(3..7));
    assert_eq!(rig.feed(1, &packet(7, 2), 50), concat(&[&messages(7..9), &[recovered(3, 8, 3)]]));
    assert_eq!(rig.arbiter.missing(), None);
    let counters = rig.arbiter.counters();
    assert_eq!((counters.gap_count, counters.gap_message_count, counters.lost_message_count), (2, 3, 0));
    assert_eq!(counters.recovered_gap_count, 2);
    let [a, b] = rig.arbiter.lines() else { panic!("two lines") };
    assert_eq!((a.gap_count, a.gap_message_count, a.first_count), (2, 3, 5));
    assert_eq!((b.gap_count, b.first_count, b.duplicate_count), (1, 3, 3));
}

#[test]
fn what_both_lines_lost_is_given_up_after_the_window_with_its_exact_numbers() {
    let mut rig = Rig::new(config(100));
    rig.feed(0, &packet(1, 2), 10);
    assert_eq!(rig.feed(0, &packet(5, 1), 20), [detected(3, 5)]);
    assert_eq!(rig.feed(1, &packet(4, 2), 119), []);
    assert_eq!(rig.feed(1, &packet(6, 1), 120), concat(&[&[lost(3, 4)], &messages(4..7)]));
    assert_eq!(rig.feed(0, &packet(3, 1), 130), [], "too late");
    assert_eq!(rig.arbiter.lines()[0].late_count, 1);
    assert_eq!(rig.arbiter.lost().iter().collect::<Vec<_>>(), [Gap { first_missing: 3, next_received: 4 }]);
    rig.feed(0, &packet(9, 1), 140);
    assert_eq!(rig.feed(1, &packet(7, 2), 150), messages(7..10), "no recovery is announced after a loss");
}

#[test]
fn silence_ends_the_window_too() {
    let mut rig = Rig::new(config(100));
    rig.feed(0, &packet(1, 1), 0);
    rig.feed(0, &packet(3, 1), 10);
    assert!(rig.arbiter.on_time(EpochNanos(109), &mut rig.list).is_ok());
    assert_eq!(rig.list.out, []);
    assert!(rig.arbiter.on_time(EpochNanos(110), &mut rig.list).is_ok());
    assert_eq!(rig.list.out, concat(&[&[lost(2, 3)], &messages(3..4)]));
}

#[test]
fn a_heartbeat_shows_the_loss_of_the_last_packet() {
    let mut rig = Rig::new(config(100));
    rig.feed(0, &packet(1, 2), 0);
    assert_eq!(rig.feed(0, Header::heartbeat(SESSION, 3).as_bytes(), 10), []);
    assert_eq!(rig.feed(0, Header::heartbeat(SESSION, 5).as_bytes(), 20), [detected(3, 5)]);
    assert_eq!(rig.feed(1, &packet(3, 2), 30), concat(&[&messages(3..5), &[recovered(3, 5, 2)]]));
    assert_eq!(rig.feed(0, Header::heartbeat(SESSION, 6).as_bytes(), 40), [detected(5, 6)]);
    assert_eq!(rig.feed(0, Header::heartbeat(SESSION, 6).as_bytes(), 140), [lost(5, 6)]);
    assert_eq!(rig.arbiter.counters().heartbeat_count, 4);
}

#[test]
fn the_end_of_a_session_waits_for_its_last_message() {
    let mut rig = Rig::new(config(100));
    rig.feed(0, &packet(1, 2), 0);
    let end = Header::end_of_session(SESSION, 4);
    assert_eq!(rig.feed(0, end.as_bytes(), 10), [detected(3, 4)]);
    assert_eq!(rig.feed(1, &packet(3, 1), 20), concat(&[&messages(3..4), &[recovered(3, 4, 1), ended(4)]]));
    assert_eq!(rig.feed(1, end.as_bytes(), 30), [], "said once");
    assert_eq!(rig.feed(1, &packet(4, 1), 40), [], "nothing follows an end");
    assert_eq!(rig.arbiter.lines()[1].ignored_count, 1);
}

#[test]
fn a_new_session_ends_the_old_one_and_late_packets_of_it_are_ignored() {
    let mut rig = Rig::new(config(100));
    rig.feed(0, &packet(1, 2), 0);
    rig.feed(0, &packet(4, 1), 1);
    let begin = Out::Notice(Notice::SessionStarted { session: NEXT_SESSION, next_sequence_number: 1 });
    assert_eq!(
        rig.feed(0, &packet_of(NEXT_SESSION, 1, 1), 2),
        concat(&[&[lost(3, 4)], &messages(4..5), &[ended(5), begin], &messages(1..2)])
    );
    assert_eq!(rig.feed(1, &packet(3, 1), 3), []);
    assert_eq!(rig.arbiter.lines()[1].old_session_count, 1);
    assert_eq!(rig.arbiter.session(), Some(NEXT_SESSION));
    assert_eq!(rig.arbiter.lost().message_count(), 0);
}

#[test]
fn one_stray_packet_does_not_end_a_session_but_many_do() {
    let mut rig = Rig::new(config(100));
    rig.feed(0, &packet(1, 2), 0);
    let stray = packet_of(NEXT_SESSION, 77, 1);
    for turn in 1..FOREIGN_PACKET_COUNT_MAX {
        assert_eq!(rig.feed(0, &stray, i64::from(turn)), []);
    }
    assert_eq!(rig.feed(0, &packet(3, 1), 20), messages(3..4));
    for turn in 1..FOREIGN_PACKET_COUNT_MAX {
        assert_eq!(rig.feed(0, &stray, 20 + i64::from(turn)), []);
    }
    let out = rig.feed(0, &stray, 50);
    assert_eq!(out.len(), 3);
    assert_eq!((&out[0], &out[2]), (&ended(4), &detected(1, 77)));
}

#[test]
fn a_late_joiner_starts_where_the_stream_is() {
    let mut rig = Rig::new(ArbiterConfig { join: JoinPolicy::AtFirstPacket, ..config(100) });
    assert_eq!(rig.feed(0, &packet(900, 2), 0), concat(&[&[started(900)], &messages(900..902)]));
    let mut rig = Rig::new(config(100));
    assert_eq!(rig.feed(0, &packet(900, 2), 0), [started(1), detected(1, 900)]);
}

/// Whoever listens when the next session begins reads it from its start: its first packets may come on one line alone.
#[test]
fn a_session_that_begins_while_we_listen_is_read_from_its_start() {
    let mut rig = Rig::new(ArbiterConfig { join: JoinPolicy::AtFirstPacket, ..config(100) });
    rig.feed(0, &packet(900, 2), 0);
    rig.feed(0, Header::end_of_session(SESSION, 902).as_bytes(), 5);
    let begin = Out::Notice(Notice::SessionStarted { session: NEXT_SESSION, next_sequence_number: 1 });
    assert_eq!(rig.feed(0, &packet_of(NEXT_SESSION, 11, 2), 10), [begin, detected(1, 11)]);
    let held = concat(&[&messages(1..13), &[recovered(1, 11, 10)]]);
    assert_eq!(rig.feed(1, &packet_of(NEXT_SESSION, 1, 10), 20), held);
    assert_eq!(rig.arbiter.lines()[1].duplicate_count, 0);
}

#[test]
fn a_gap_that_loses_two_ranges_takes_nothing_from_those_that_were_recovered() {
    let mut rig = Rig::new(config(100));
    rig.feed(0, &packet(1, 1), 10);
    rig.feed(0, &packet(7, 1), 20);
    rig.feed(1, &packet(4, 1), 30);
    rig.feed(0, &packet(8, 1), 400);
    rig.feed(0, &packet(10, 1), 410);
    rig.feed(1, &packet(9, 1), 420);
    let counters = rig.arbiter.counters();
    assert_eq!((counters.gap_count, counters.lost_range_count, counters.recovered_gap_count), (2, 2, 1));
}

#[test]
fn a_full_window_gives_up_the_oldest_gap() {
    let mut rig = Rig::new(ArbiterConfig { held_packet_count_max: 2, ..config(1_000_000) });
    rig.feed(0, &packet(1, 1), 0);
    assert_eq!(rig.feed(0, &packet(3, 1), 1), [detected(2, 3)]);
    assert_eq!(rig.feed(0, &packet(5, 1), 2), []);
    assert_eq!(rig.feed(0, &packet(7, 1), 3), concat(&[&[lost(2, 3)], &messages(3..4)]));
    assert_eq!(rig.feed(0, &packet(4, 1), 4), messages(4..6));
    let mut rig = Rig::new(ArbiterConfig { packet_len_max: 30, ..config(1_000_000) });
    rig.feed(0, &packet(1, 1), 0);
    assert_eq!(
        rig.feed(0, &packet(3, 9), 1),
        concat(&[&[detected(2, 3), lost(2, 3)], &messages(3..12)]),
        "too long to wait"
    );
}

#[test]
fn copies_that_differ_are_counted() {
    let mut rig = Rig::new(config(100));
    rig.feed(0, &packet(1, 4), 0);
    assert_eq!(rig.feed(1, &corrupt(1, 4), 1), [differ(4, 5)]);
    assert_eq!((rig.arbiter.lines()[1].mismatch_count, rig.arbiter.counters().mismatch_first), (1, Some(4)));
    assert_eq!(rig.feed(1, &packet(1, 4), 1), []);
    assert_eq!(rig.arbiter.lines()[1].mismatch_count, 1);
    assert_eq!(rig.feed(1, &corrupt(1, 4), 1), [], "said once");
    assert_eq!(rig.arbiter.lines()[1].mismatch_count, 2);
    assert_eq!(rig.feed(0, &packet(5, 2), 2), messages(5..7), "without a snapshot service nothing is held back");
    assert_eq!((rig.arbiter.counters().dispute_count, rig.arbiter.counters().settled_dispute_count), (1, 0));
    assert_eq!(rig.arbiter.disputed(), Some(Gap { first_missing: 4, next_received: 5 }));
    assert!(!rig.arbiter.is_whole());
}

fn keeping(held_packet_count_max: u16) -> ArbiterConfig {
    ArbiterConfig { loss: LossPolicy::Keep, held_packet_count_max, ..config(100) }
}

fn settle(rig: &mut Rig) -> Vec<Out> {
    while rig.arbiter.settle(&mut rig.list).is_err() {}
    std::mem::take(&mut rig.list.out)
}

#[test]
fn a_snapshot_settles_what_differs_and_nothing_is_delivered_before_it() {
    let mut rig = Rig::new(keeping(8));
    rig.feed(0, &packet(1, 4), 0);
    assert_eq!(rig.feed(1, &corrupt(1, 4), 1), [differ(4, 5)]);
    assert_eq!(rig.feed(0, &packet(5, 2), 2), []);
    assert_eq!(rig.feed(0, &packet(7, 2), 3), []);
    assert_eq!(rig.feed(1, &corrupt(5, 2), 4), [], "what waits is compared too");
    assert_eq!(rig.arbiter.disputed(), Some(Gap { first_missing: 4, next_received: 7 }));
    rig.arbiter.suspend();
    rig.arbiter.resume(6, EpochNanos(5)).expect("a snapshot of before message 6");
    assert_eq!(settle(&mut rig), [], "message 6 is disputed still");
    assert_eq!(rig.arbiter.disputed(), Some(Gap { first_missing: 6, next_received: 7 }));
    rig.arbiter.suspend();
    rig.arbiter.resume(7, EpochNanos(6)).expect("a snapshot of before message 7");
    assert_eq!(settle(&mut rig), concat(&[&messages(7..9), &[settled(4, 7)]]));
    assert!(rig.arbiter.is_whole());
    assert_eq!(rig.feed(1, &corrupt(1, 4), 7), [], "what a snapshot took the place of is over");
    assert_eq!(rig.feed(1, &corrupt(5, 2), 7), []);
    assert_eq!(rig.feed(0, &packet(9, 1), 8), messages(9..10));
    assert_eq!((rig.arbiter.counters().dispute_count, rig.arbiter.counters().settled_dispute_count), (1, 1));
}

#[test]
fn what_finds_no_slot_while_copies_differ_is_a_gap_afterwards() {
    let mut rig = Rig::new(keeping(2));
    rig.feed(0, &packet(1, 4), 0);
    rig.feed(1, &corrupt(1, 4), 1);
    for first in [5, 7, 9] {
        assert_eq!(rig.feed(0, &packet(first, 2), 2), []);
    }
    rig.arbiter.suspend();
    rig.arbiter.resume(5, EpochNanos(5)).expect("a snapshot");
    assert_eq!(settle(&mut rig), [detected(5, 7)], "5 and 6 made room");
    assert!(!rig.arbiter.is_whole());
    let whole = [recovered(5, 7, 2), settled(4, 5)];
    assert_eq!(rig.feed(1, &packet(5, 2), 6), concat(&[&messages(5..11), &whole]));
}

#[test]
fn a_line_that_differs_again_and_again_is_settled_no_more() {
    let mut rig = Rig::new(keeping(8));
    rig.feed(0, &packet(1, 4), 0);
    for turn in 0..u64::from(DISPUTE_COUNT_MAX) + 2 {
        let first = 5 + 5 * turn;
        rig.feed(0, &packet(first, 5), 1);
        let out = rig.feed(1, &corrupt(first, 5), 2);
        assert_eq!(out, if turn > DISPUTE_COUNT_MAX.into() { vec![] } else { vec![differ(first + 4, first + 5)] });
        rig.arbiter.suspend();
        rig.arbiter.resume(first + 5, EpochNanos(3)).expect("a snapshot");
        let is_settled = turn < DISPUTE_COUNT_MAX.into();
        assert_eq!(settle(&mut rig), if is_settled { vec![settled(first + 4, first + 5)] } else { vec![] });
        assert!(rig.arbiter.is_whole(), "nobody is asked in vain");
    }
    let next = rig.arbiter.next_sequence_number();
    assert_eq!(rig.feed(0, &packet(next, 2), 4), messages(next..next + 2), "what comes is delivered, to stale books");
    let next_session = packet_of(NEXT_SESSION, 1, 2);
    rig.feed(0, &next_session, 5);
    assert!(rig.feed(1, &next_session, 5).is_empty());
}

#[test]
fn a_session_ends_although_copies_differ() {
    let mut rig = Rig::new(keeping(8));
    rig.feed(0, &packet(1, 4), 0);
    rig.feed(1, &corrupt(1, 4), 1);
    rig.feed(0, &packet(6, 2), 2);
    let out = rig.feed(0, &packet_of(NEXT_SESSION, 1, 1), 3);
    let started = Out::Notice(Notice::SessionStarted { session: NEXT_SESSION, next_sequence_number: 1 });
    assert_eq!(out, concat(&[&[lost(5, 6)], &messages(6..8), &[ended(8), started], &messages(1..2)]));
}

#[test]
fn a_session_that_has_ended_is_disputed_no_more() {
    let end = Header::end_of_session(SESSION, 5).as_bytes().to_vec();
    for is_disputed_before in [false, true] {
        let mut rig = Rig::new(config(100));
        rig.feed(0, &packet(1, 4), 0);
        if is_disputed_before {
            assert_eq!(rig.feed(1, &corrupt(1, 4), 1), [differ(4, 5)]);
        }
        assert_eq!(rig.feed(0, &end, 2), [ended(5)]);
        assert_eq!(rig.feed(1, &corrupt(1, 4), 3), [], "nothing comes outside a session");
        assert_eq!(rig.arbiter.lines()[1].mismatch_count, 1 + u64::from(is_disputed_before));
        assert_eq!(rig.arbiter.disputed(), None);
    }
}

#[test]
fn a_sink_that_refuses_hears_of_a_dispute_once() {
    for refused in 0..4 {
        let mut rig = Rig::new(keeping(8));
        rig.feed(0, &packet(1, 4), 0);
        rig.list.refusals = vec![true; refused];
        assert_eq!(rig.feed(1, &corrupt(1, 4), 1), [differ(4, 5)]);
        assert_eq!(rig.feed(0, &packet(5, 2), 2), []);
        rig.arbiter.suspend();
        rig.arbiter.resume(5, EpochNanos(3)).expect("a snapshot");
        rig.list.refusals = vec![true; refused];
        assert_eq!(settle(&mut rig), concat(&[&messages(5..7), &[settled(4, 5)]]));
    }
}

#[test]
fn broken_and_unnumbered_packets_are_refused_as_a_whole() {
    let mut rig = Rig::new(config(100));
    let good = packet(1, 4);
    assert_eq!(rig.feed(0, &good[..good.len() - 1], 0), []);
    assert_eq!(rig.arbiter.lines()[0].malformed_count, 1);
    assert_eq!(rig.feed(0, &packet(0, 1), 0), []);
    assert_eq!(rig.arbiter.lines()[0].ignored_count, 1);
    assert_eq!(rig.feed(2, &good, 0), []);
    assert_eq!(rig.arbiter.counters().unknown_line_count, 1);
    let mut rig = Rig::new(ArbiterConfig { is_sequence_checked: false, ..config(100) });
    assert_eq!(rig.feed(0, &packet(0, 2), 0), messages(0..2));
    assert_eq!(rig.feed(1, &packet(0, 2), 0), messages(0..2));
}

#[test]
fn impossible_configurations_are_refused() {
    let refuse = |config| Arbiter::new(config).err();
    assert_eq!(refuse(ArbiterConfig { line_count: 5, ..config(0) }), Some(ArbiterConfigError::LineCount(5)));
    assert_eq!(
        refuse(ArbiterConfig { held_packet_count_max: 0, ..config(0) }),
        Some(ArbiterConfigError::HeldPacketCount)
    );
    assert_eq!(refuse(config(-1)), Some(ArbiterConfigError::ReorderWindow(Nanos(-1))));
    assert_eq!(
        refuse(ArbiterConfig { history_message_count: 3, ..config(0) }),
        Some(ArbiterConfigError::HistoryMessageCount(3))
    );
}

/// The slow obvious twin: a map of messages, one at a time, no limit but the time.
struct Naive {
    window: i64,
    next: u64,
    known_end: u64,
    held: BTreeMap<u64, (Vec<u8>, i64)>,
    open: Option<(u64, u64, u64)>,
    tail_time: Option<i64>,
    has_lost: bool,
    end: Option<u64>,
    out: Vec<Out>,
}

impl Naive {
    fn new(window: i64) -> Self {
        let out = vec![started(1)];
        let held = BTreeMap::new();
        Self { window, next: 1, known_end: 1, held, open: None, tail_time: None, has_lost: false, end: None, out }
    }

    fn packet(&mut self, first: u64, count: u64, is_end: bool, now: i64) {
        if first > self.known_end {
            let missing = first - self.known_end;
            match &mut self.open {
                Some((_, next_received, count)) => (*next_received, *count) = (first, *count + missing),
                None => {
                    self.out.push(detected(self.known_end, first));
                    self.open = Some((self.known_end, first, missing));
                }
            }
            if count == 0 {
                self.tail_time.get_or_insert(now);
            }
        }
        self.known_end = self.known_end.max(first + count);
        for number in (first..first + count).filter(|number| *number >= self.next) {
            self.held.entry(number).or_insert_with(|| (message(number), now));
        }
        self.drain();
        while self.open.is_some() {
            let proof = self.held.values().map(|(_, arrival)| *arrival).min().or(self.tail_time).unwrap_or(now);
            if now - proof < self.window {
                break;
            }
            let to = self.held.keys().next().copied().unwrap_or(self.known_end);
            self.out.push(lost(self.next, to));
            (self.has_lost, self.next) = (true, to);
            self.drain();
        }
        if is_end {
            self.end = Some(first);
        }
        if self.end == Some(self.next) {
            self.end = Some(0);
            self.out.push(ended(self.next));
        }
    }

    fn drain(&mut self) {
        while let Some((message, _)) = self.held.remove(&self.next) {
            self.out.push(Out::Message(message));
            self.next += 1;
        }
        if let Some((first, next_received, count)) = self.open
            && self.next >= self.known_end
        {
            if !self.has_lost {
                self.out.push(recovered(first, next_received, count));
            }
            (self.open, self.tail_time) = (None, None);
        }
    }
}

/// What happens to one packet of one line.
#[derive(Clone, Debug)]
struct Fate {
    size: u64,
    is_lost: bool,
    is_doubled: bool,
    delay: i64,
}

fn fate() -> impl Strategy<Value = Fate> {
    (1_u64..6, prop::bool::weighted(0.15), prop::bool::weighted(0.1), prop_oneof![4 => Just(0_i64), 1 => 0_i64..80])
        .prop_map(|(size, is_lost, is_doubled, delay)| Fate { size, is_lost, is_doubled, delay })
}

const MESSAGE_COUNT: u64 = 60;

/// Arrivals of both lines by time: (time, line, first message, count).
fn arrivals(lines: &[Vec<Fate>]) -> Vec<(i64, u8, u64, u64)> {
    let mut arrivals = vec![(0, 0, 1, 0)];
    for (line, fates) in (0_u8..).zip(lines) {
        let (mut first, mut time) = (1, i64::from(line));
        for fate in fates.iter().cycle() {
            let count = fate.size.min(MESSAGE_COUNT + 1 - first);
            if count == 0 {
                break;
            }
            time += 10;
            if !fate.is_lost {
                arrivals.push((time + fate.delay, line, first, count));
                if fate.is_doubled {
                    arrivals.push((time + 2 * fate.delay + 7, line, first, count));
                }
            }
            first += count;
            // A heartbeat now and then.
            if first % 7 == 0 {
                arrivals.push((time + 5, line, first, 0));
            }
        }
    }
    arrivals.sort_by_key(|(time, line, ..)| (*time, *line));
    arrivals
}

/// Numbers delivered or lost, in order, must be 1, 2, 3 … without a repetition or an omission.
fn check_order(out: &[Out]) -> u64 {
    let mut next = 1;
    for one in out {
        match one {
            Out::Message(bytes) => {
                assert_eq!(*bytes, message(next));
                next += 1;
            }
            Out::Notice(Notice::GapLost(gap)) => {
                assert_eq!(gap.first_missing, next);
                assert!(gap.next_received > next);
                next = gap.next_received;
            }
            Out::Notice(_) => {}
        }
    }
    next
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn the_arbiter_equals_its_twin_whatever_the_sink_does(
        lines in prop::collection::vec(prop::collection::vec(fate(), 1..30), 2..4),
        window in prop_oneof![Just(0_i64), Just(1_000_000), 1_i64..200],
        refusals in prop::collection::vec(prop::bool::weighted(0.3), 0..200),
    ) {
        let config = ArbiterConfig { line_count: 3, ..config(window) };
        let (mut rig, mut calm) = (Rig::new(config), Rig::new(config));
        rig.list.refusals = refusals;
        let mut naive = Naive::new(window);
        let mut out = Vec::new();
        let mut received = std::collections::BTreeSet::new();
        let arrivals = arrivals(&lines);
        let end_time = arrivals.last().map_or(0, |(time, ..)| *time) + 10;
        for (time, line, first, count) in arrivals {
            let payload = packet(first, count);
            received.extend(first..first + count);
            naive.packet(first, count, false, time);
            out.extend(rig.feed(line, &payload, time));
            calm.feed(line, &payload, time);
            prop_assert_eq!(&out, &naive.out);
        }
        let end = Header::end_of_session(SESSION, MESSAGE_COUNT + 1);
        for time in [end_time, end_time + 2_000_000] {
            naive.packet(MESSAGE_COUNT + 1, 0, time == end_time, time);
            out.extend(rig.feed(0, end.as_bytes(), time));
            calm.feed(0, end.as_bytes(), time);
        }
        prop_assert_eq!(&out, &naive.out);
        prop_assert_eq!(check_order(&out), MESSAGE_COUNT + 1);
        prop_assert_eq!(rig.arbiter.counters(), calm.arbiter.counters());
        prop_assert_eq!(rig.arbiter.lines(), calm.arbiter.lines());
        if window == 1_000_000 {
            let wanted = (1..=MESSAGE_COUNT).filter(|number| !received.contains(number)).count();
            prop_assert_eq!(rig.arbiter.lost().message_count(), wanted as u64, "exactly what both lines lost");
        }
        let stats = rig.arbiter.lines();
        let first: u64 = stats.iter().map(|line| line.first_count).sum();
        prop_assert_eq!(first, rig.arbiter.counters().delivered_count);
        for line in stats {
            prop_assert_eq!(line.first_count + line.duplicate_count + line.late_count, line.message_count);
            prop_assert_eq!(line.mismatch_count, 0);
        }
    }

    #[test]
    fn a_small_window_never_breaks_the_order(
        lines in prop::collection::vec(prop::collection::vec(fate(), 1..30), 2..4),
        held_packet_count_max in 1_u16..4,
        packet_len_max in 20_u16..120,
    ) {
        let config = ArbiterConfig { line_count: 3, held_packet_count_max, packet_len_max, ..config(60) };
        let mut rig = Rig::new(config);
        let mut out = Vec::new();
        for (time, line, first, count) in arrivals(&lines) {
            out.extend(rig.feed(line, &packet(first, count), time));
        }
        out.extend(rig.feed(0, &packet_of(NEXT_SESSION, 1, 0), 1_000_000));
        check_order(&out[..out.len() - 1]);
    }
}

/// Far beyond what a line can carry in the nanoseconds of these tests.
const FAR: u64 = 1 << 40;

#[test]
fn a_number_that_no_line_can_have_carried_is_not_believed_at_once() {
    let mut rig = Rig::new(config(100));
    rig.feed(0, &packet(1, 2), 0);
    assert_eq!(rig.feed(0, &packet(FAR, 1), 10), [], "a corrupt number");
    assert_eq!(rig.feed(0, Header::heartbeat(SESSION, FAR).as_bytes(), 20), [], "of a heartbeat as well");
    assert_eq!(rig.feed(0, &packet(3, 2), 30), messages(3..5), "the stream goes on");
    let stats = rig.arbiter.lines()[0];
    assert_eq!((stats.far_count, stats.far_last, stats.gap_count), (2, FAR, 0));
    assert_eq!(rig.arbiter.counters().lost_message_count, 0);
}

#[test]
fn numbers_up_to_what_a_line_can_carry_are_believed() {
    let next = 3;
    let limit = next + JUMP_MESSAGE_COUNT;
    for (sequence, now, is_believed) in [
        (limit, 5, true),
        (limit + 1, 5, false),
        (limit + 1, i64::try_from(JUMP_NANOS_PER_MESSAGE).unwrap(), true),
        (limit + 2, i64::try_from(JUMP_NANOS_PER_MESSAGE).unwrap(), false),
    ] {
        let mut rig = Rig::new(config(100));
        rig.feed(0, &packet(1, 2), 0);
        let expected = if is_believed { vec![detected(next, sequence)] } else { vec![] };
        assert_eq!(rig.feed(1, &packet(sequence, 1), now), expected, "{sequence} at {now}");
    }
}

#[test]
fn packets_far_ahead_that_insist_are_believed_and_others_are_not() {
    let mut rig = Rig::new(config(1_000));
    rig.feed(0, &packet(1, 2), 0);
    let insisting = u64::from(FAR_PACKET_COUNT_MAX);
    for number in 0..insisting - 1 {
        assert_eq!(rig.feed(0, &packet(FAR + number, 1), 10), []);
    }
    assert_eq!(rig.feed(0, &packet(3, 1), 10), messages(3..4), "an expected one between");
    for number in 0..insisting - 1 {
        assert_eq!(rig.feed(1, &packet(FAR + number, 1), 20), []);
        assert_eq!(rig.feed(0, &packet(u64::MAX / 2 - number * FAR, 1), 20), [], "numbers that do not fit together");
    }
    for number in 0..insisting - 1 {
        assert_eq!(rig.feed(1, &packet(FAR + number, 1), 30), []);
    }
    let last = FAR + insisting - 1;
    assert_eq!(rig.feed(1, &packet(last, 1), 40), [detected(4, last)]);
}

#[test]
fn a_session_may_begin_anywhere() {
    let mut rig = Rig::new(config(100));
    assert_eq!(rig.feed(0, &packet(FAR, 1), 0), [started(1), detected(1, FAR)]);
}

//! Recovery against a network that loses, repeats, delays and lies: what is delivered builds the books of a feed without
//! loss, or leaves them stale.
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "helpers of tests fail by panicking")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use peregrine_types::{EpochNanos, EventKind, Full, MarketEvent, Nanos};
use peregrine_wire::arbiter::ArbiterConfig;
use peregrine_wire::feed::{GAP_DIFFERS, GAP_LOST};
use peregrine_wire::itch50::Decoder;
use peregrine_wire::moldudp64::{Header, Packet, PacketBuilder, Request, Session};
use peregrine_wire::recovery::{Reply, SnapshotStep, end_of_snapshot};
use peregrine_wire::{LineId, MoldFeed, Recovery, RecoveryConfig};
use proptest::prelude::*;
use zerocopy::IntoBytes;

const SESSION: Session = Session(*b"RECOVERY  ");
const OTHER: Session = Session(*b"LIAR      ");
const US: i64 = 1_000;
const MS: i64 = 1_000_000;
/// The time stamp of every message of a snapshot: none of the feed's.
const SNAPSHOT_STAMP: u64 = 80_000_000_000_000;
const LINES: u8 = 2;

/// An order as the tiny book of this test keeps it.
type Order = (u16, u8, u32, u32);
type Book = BTreeMap<u64, Order>;

/// A number that looks random, from a counter (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn hits(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

fn message(kind: u8, locate: u16, stamp: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(locate.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(&stamp.to_be_bytes()[2..]);
    bytes.extend(body);
    bytes
}

fn name(locate: u16) -> Vec<u8> {
    format!("SYM{locate:<5}").into_bytes()
}

fn directory(locate: u16, stamp: u64) -> Vec<u8> {
    let body = [&name(locate)[..], b"QN", &100_u32.to_be_bytes(), b"NCZ PNN1N", &0_u32.to_be_bytes(), b"N"].concat();
    message(b'R', locate, stamp, &body)
}

fn add(order_ref: u64, order: Order, stamp: u64) -> Vec<u8> {
    let (locate, side, qty, price) = order;
    let body =
        [&order_ref.to_be_bytes()[..], &[side], &qty.to_be_bytes(), &name(locate), &price.to_be_bytes()].concat();
    message(b'A', locate, stamp, &body)
}

/// The day: its messages, and the book before each of them and behind the last.
struct Day {
    messages: Vec<Vec<u8>>,
    books: Vec<Book>,
}

impl Day {
    fn new(chance: &mut Chance, count: usize) -> Self {
        let (mut messages, mut book, mut books, mut next_ref) = (Vec::new(), Book::new(), Vec::new(), 1_u64);
        while messages.len() < count {
            books.push(book.clone());
            let stamp = messages.len() as u64 + 1;
            if messages.len() < 3 {
                messages.push(directory(u16::try_from(stamp).unwrap(), stamp));
                continue;
            }
            let picked = usize::try_from(chance.below(book.len() as u64 + 1)).unwrap();
            let Some((order_ref, order)) = book.iter().nth(picked).map(|(key, order)| (*key, *order)) else {
                let side = if chance.hits(50) { b'B' } else { b'S' };
                let locate = u16::try_from(chance.below(3) + 1).unwrap();
                let order = (locate, side, u32::try_from(chance.below(90) + 2).unwrap(), 10_000 + u32::from(side));
                book.insert(next_ref, order);
                messages.push(add(next_ref, order, stamp));
                next_ref += 1;
                continue;
            };
            let (locate, side, qty, price) = order;
            match chance.below(3) {
                0 => {
                    book.remove(&order_ref);
                    messages.push(message(b'D', locate, stamp, &order_ref.to_be_bytes()));
                }
                1 if qty > 1 => {
                    book.insert(order_ref, (locate, side, qty - 1, price));
                    messages.push(message(
                        b'X',
                        locate,
                        stamp,
                        &[order_ref.to_be_bytes().to_vec(), 1_u32.to_be_bytes().to_vec()].concat(),
                    ));
                }
                _ => {
                    book.remove(&order_ref);
                    book.insert(next_ref, (locate, side, 7, price + 1));
                    let body = [
                        &order_ref.to_be_bytes()[..],
                        &next_ref.to_be_bytes(),
                        &7_u32.to_be_bytes(),
                        &(price + 1).to_be_bytes(),
                    ]
                    .concat();
                    messages.push(message(b'U', locate, stamp, &body));
                    next_ref += 1;
                }
            }
        }
        books.push(book);
        Self { messages, books }
    }

    /// A packet of the messages `first..end` (numbers), which claims to begin with `label`.
    fn packet(&self, session: Session, first: u64, end: u64, label: u64) -> Vec<u8> {
        let mut buffer = [0; 1_400];
        let mut builder = PacketBuilder::new(&mut buffer, session, label).unwrap();
        let number = |number: u64| usize::try_from(number - 1).unwrap();
        for message in &self.messages[number(first)..number(end)] {
            if builder.push(message).is_err() {
                break;
            }
        }
        builder.finish().to_vec()
    }

    /// The messages of a snapshot of the book before message `next`.
    fn snapshot(&self, next: u64) -> Vec<Vec<u8>> {
        let mut messages: Vec<Vec<u8>> = (1..4).map(|locate| directory(locate, SNAPSHOT_STAMP)).collect();
        let book = &self.books[usize::try_from(next - 1).unwrap()];
        messages.extend(book.iter().map(|(order_ref, order)| add(*order_ref, *order, SNAPSHOT_STAMP)));
        messages.push(format!("G{next:>20}").into_bytes());
        messages
    }
}

/// What a server makes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Honest,
    Dead,
    /// Its answers come after the time-out.
    Slow,
    /// Begins one message behind the one asked for, and says so.
    Behind,
    /// Sends the messages behind the ones asked for under their numbers.
    Shifted,
    OtherSession,
    /// Sends the right messages under numbers that nobody has heard of.
    Ahead,
}

/// What the snapshot service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Snapshots {
    None,
    Honest,
    /// Every other connection breaks in the middle.
    Cut,
    /// The first one is of the day's begin.
    StaleFirst,
    /// The first two are of another session, and with an end that nobody can have reached.
    LiesFirst,
    Dead,
}

#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    loss: u64,
    server: [Server; 2],
    snapshots: Snapshots,
    held_packet_count_max: u16,
    /// Packets before this one are not heard.
    join: u64,
    /// Every how many calls the sink refuses; 0: never.
    refusal: u64,
    /// Packets of line B with another last byte, and whether they come before those of line A.
    wrong: BTreeMap<u64, bool>,
}

enum Arrival {
    Line(u8, Vec<u8>),
    Reply(Vec<u8>),
    Snapshot(u32, Vec<u8>),
    SnapshotCut(u32),
    Tick,
}

/// The world around a recovery, and what came out of it.
struct World {
    day: Day,
    plan: Plan,
    chance: Chance,
    heap: BinaryHeap<Reverse<(i64, u64)>>,
    arrivals: BTreeMap<u64, Arrival>,
    arrival_count: u64,
    connection_count: u32,
    is_connected: bool,
    /// The number that the venue sends next.
    published: u64,
    /// From when on it is which.
    publications: Vec<(i64, u64)>,
    watch: Watch,
}

/// A sink that builds the book and holds it against the truth.
#[derive(Default)]
struct Watch {
    call_count: u64,
    refusal: u64,
    book: Book,
    delivered: u64,
    is_in_snapshot: bool,
    open_gap: bool,
    has_lost: bool,
    is_ended: bool,
    is_disputed: bool,
    /// Messages of which the wrong copy comes first: nobody can know that before the right one comes.
    doubtful: BTreeSet<u64>,
    good_count: u64,
    snapshot_count: u64,
}

impl Watch {
    fn take(&mut self, event: MarketEvent, books: &[Book]) -> Result<(), Full<MarketEvent>> {
        self.call_count += 1;
        if self.refusal > 0 && self.call_count.is_multiple_of(self.refusal) {
            return Err(Full(event));
        }
        let stamp = event.exch_time.0.cast_unsigned();
        let is_of_snapshot = stamp == SNAPSHOT_STAMP;
        let is_of_feed = !is_of_snapshot && event.exch_time != event.recv_time;
        if is_of_feed {
            assert!(stamp > self.delivered, "{event:?} after message {}", self.delivered);
            assert!(self.has_lost || self.is_in_snapshot || stamp == self.delivered + 1, "{event:?} leaves some out");
            (self.delivered, self.is_in_snapshot) = (stamp, false);
        }
        let (key, locate) = (event.id_a, u16::try_from(event.symbol.0.wrapping_add(1)).unwrap_or(0));
        match event.kind {
            EventKind::AddOrder => {
                let side = if event.side == peregrine_types::Side::Buy { b'B' } else { b'S' };
                let price = u32::try_from(event.price.0 / 100_000).unwrap();
                self.book.insert(key, (locate, side, u32::try_from(event.qty.0).unwrap(), price));
            }
            EventKind::DeleteOrder => drop(self.book.remove(&key)),
            EventKind::CancelOrder => {
                if let Some(order) = self.book.get_mut(&key) {
                    order.2 -= u32::try_from(event.qty.0).unwrap();
                }
            }
            EventKind::ReplaceOrder => {
                if let Some((locate, side, _, price)) = self.book.remove(&key) {
                    self.book.insert(event.id_b, (locate, side, 7, price + 1));
                }
            }
            EventKind::GapStart | EventKind::GapEnd if event.detail == GAP_DIFFERS => {
                assert_eq!(self.is_disputed, event.kind == EventKind::GapEnd);
                self.is_disputed = !self.is_disputed;
            }
            EventKind::GapStart => {
                assert!(!self.open_gap || self.has_lost || event.detail == GAP_LOST, "one gap at a time");
                self.open_gap = true;
                self.has_lost |= event.detail == GAP_LOST;
            }
            EventKind::GapEnd => {
                assert!(self.open_gap && !self.has_lost);
                self.open_gap = false;
            }
            EventKind::SnapshotStart => {
                assert!(self.open_gap || self.is_disputed, "a snapshot without a gap");
                self.book.clear();
                self.is_in_snapshot = true;
                self.snapshot_count += 1;
            }
            EventKind::SessionEnd => self.is_ended = true,
            _ => {}
        }
        if !self.open_gap && !self.is_disputed && is_of_feed && !self.doubtful.contains(&stamp) {
            assert_eq!(Some(&self.book), books.get(usize::try_from(stamp).unwrap()), "after message {stamp}");
            self.good_count += 1;
        }
        Ok(())
    }
}

impl World {
    fn new(plan: Plan, count: usize) -> Self {
        let mut chance = Chance(plan.seed);
        let day = Day::new(&mut chance, count);
        let watch = Watch { refusal: plan.refusal, ..Watch::default() };
        Self {
            day,
            plan,
            chance,
            heap: BinaryHeap::new(),
            arrivals: BTreeMap::new(),
            arrival_count: 0,
            connection_count: 0,
            is_connected: false,
            published: 1,
            publications: Vec::new(),
            watch,
        }
    }

    fn schedule(&mut self, time: i64, arrival: Arrival) {
        self.heap.push(Reverse((time, self.arrival_count)));
        self.arrivals.insert(self.arrival_count, arrival);
        self.arrival_count += 1;
    }

    /// Sends everything that the venue publishes; returns when the last of it is on its way.
    fn publish(&mut self) -> i64 {
        let end = self.day.messages.len() as u64 + 1;
        let (mut time, mut first, mut index) = (0, 1, 0);
        while first < end {
            time += 20 * US;
            let next = (first + self.chance.below(5) + 1).min(end);
            let packet = self.day.packet(SESSION, first, next, first);
            if index >= self.plan.join {
                self.send(time, &packet, index);
            }
            self.publications.push((time, next));
            (first, index) = (next, index + 1);
        }
        for beat in 0..40 {
            let last = if beat < 30 { Header::heartbeat(SESSION, end) } else { Header::end_of_session(SESSION, end) };
            self.send(time + (beat + 1) * 100 * MS, last.as_bytes(), u64::MAX);
        }
        time + 60 * 100 * MS
    }

    /// Sends a packet on both lines, with everything that can befall it there.
    fn send(&mut self, time: i64, packet: &[u8], index: u64) {
        if let Some(is_first) = self.plan.wrong.get(&index).copied() {
            let mut copy = packet.to_vec();
            *copy.last_mut().unwrap() ^= 1;
            let last = Packet::parse(packet).unwrap().next_sequence_number() - 1;
            self.watch.doubtful.extend(is_first.then_some(last));
            let (a, b) = if is_first { (9 * US, 0) } else { (0, 9 * US) };
            self.schedule(time + a, Arrival::Line(0, packet.to_vec()));
            return self.schedule(time + b, Arrival::Line(1, copy));
        }
        for line in 0..LINES {
            if self.chance.hits(self.plan.loss) {
                continue;
            }
            let delay = i64::try_from(self.chance.below(5)).unwrap() * US;
            let late = if self.chance.hits(self.plan.loss / 3) { 60 * US } else { 0 };
            self.schedule(time + delay + late, Arrival::Line(line, packet.to_vec()));
            if self.chance.hits(self.plan.loss / 3) {
                self.schedule(time + delay + 90 * US, Arrival::Line(line, packet.to_vec()));
            }
        }
    }

    fn answer(&mut self, server: u8, request: &Request, now: i64) {
        let kind = self.plan.server[usize::from(server)];
        let (first, count) = (request.sequence_number.get(), u64::from(request.requested_count.get()));
        assert!(first >= 1 && count >= 1 && request.session == SESSION);
        let end = (first + count).min(self.published);
        assert!(first + count <= self.published, "asked for what was not sent");
        let behind = end.min(first + 1);
        let packet = match kind {
            Server::Dead => return,
            Server::Honest | Server::Slow => self.day.packet(SESSION, first, end, first),
            Server::Behind if behind < end => self.day.packet(SESSION, behind, end, behind),
            Server::Shifted if behind < end => self.day.packet(SESSION, behind, end, first),
            Server::Behind | Server::Shifted => return,
            Server::OtherSession => self.day.packet(OTHER, first, end, first),
            Server::Ahead => self.day.packet(SESSION, first, end, self.published + 3),
        };
        let delay = if kind == Server::Slow { 7 * MS } else { 150 * US };
        if !self.chance.hits(self.plan.loss) {
            self.schedule(now + delay, Arrival::Reply(packet));
        }
    }

    fn connect(&mut self, now: i64) {
        self.connection_count += 1;
        self.is_connected = true;
        let (id, is_first) = (self.connection_count, self.connection_count == 1);
        let honest = self.published;
        let (session, place, end) = match self.plan.snapshots {
            Snapshots::Dead => return self.schedule(now + 300 * US, Arrival::SnapshotCut(id)),
            Snapshots::StaleFirst if is_first => (SESSION, 1, 1),
            Snapshots::LiesFirst if is_first => (OTHER, honest, honest),
            Snapshots::LiesFirst if id == 2 => (SESSION, honest, 1 << 60),
            Snapshots::None | Snapshots::Honest | Snapshots::Cut | Snapshots::StaleFirst | Snapshots::LiesFirst => {
                (SESSION, honest, honest)
            }
        };
        let mut messages = self.day.snapshot(place);
        if end != place {
            *messages.last_mut().unwrap() = format!("G{end:>20}").into_bytes();
        }
        let is_cut = self.plan.snapshots == Snapshots::Cut && id % 2 == 1;
        let kept = if is_cut { messages.len() / 2 } else { messages.len() };
        let mut time = now + 200 * US;
        for (chunk, number) in messages[..kept].chunks(7).zip((1_u64..).step_by(7)) {
            let mut buffer = [0; 1_400];
            let mut builder = PacketBuilder::new(&mut buffer, session, number).unwrap();
            chunk.iter().for_each(|message| builder.push(message).unwrap());
            self.schedule(time, Arrival::Snapshot(id, builder.finish().to_vec()));
            time += 15 * US;
        }
        self.schedule(time, Arrival::SnapshotCut(id));
    }

    /// Runs everything that is on its way.
    fn run(&mut self, feed: &mut MoldFeed, recovery: &mut Recovery) {
        let until = self.publish();
        let tick_end = until;
        let mut tick = 0;
        while tick < tick_end {
            self.schedule(tick, Arrival::Tick);
            tick += MS;
        }
        while let Some(Reverse((time, id))) = self.heap.pop() {
            let now = EpochNanos(time);
            let arrival = self.arrivals.remove(&id).unwrap();
            let sent = self.publications.partition_point(|(at, _)| *at <= time);
            self.published = sent.checked_sub(1).map_or(1, |last| self.publications[last].1);
            self.take(&arrival, now, feed, recovery);
            if self.is_connected && recovery.is_snapshot_needless(feed) {
                recovery.snapshot_left();
                self.is_connected = false;
            }
            let mut requests = Vec::new();
            recovery.poll(feed, now, &mut |server, request| requests.push((server, *request)));
            for (server, request) in requests {
                self.answer(server, &request, time);
            }
            if !self.is_connected && recovery.wants_snapshot(feed, now) {
                recovery.snapshot_begun(now);
                self.connect(time);
            }
        }
    }

    fn take(&mut self, arrival: &Arrival, now: EpochNanos, feed: &mut MoldFeed, recovery: &mut Recovery) {
        let Self { watch, day, .. } = self;
        let mut sink = |event| watch.take(event, &day.books);
        match arrival {
            Arrival::Tick => {}
            Arrival::Line(line, payload) => while feed.on_packet(LineId(*line), payload, now, &mut sink).is_err() {},
            Arrival::Reply(payload) => while recovery.on_reply(feed, payload, now, &mut sink).is_err() {},
            Arrival::Snapshot(id, payload) if self.is_connected && *id == self.connection_count => {
                let step = loop {
                    if let Ok(step) = recovery.on_snapshot(feed, payload, now, &mut sink) {
                        break step;
                    }
                };
                match step {
                    SnapshotStep::Taken => {}
                    SnapshotStep::Done => {
                        recovery.snapshot_over(now);
                        self.is_connected = false;
                    }
                    SnapshotStep::Refused => {
                        recovery.snapshot_failed(now);
                        self.is_connected = false;
                    }
                }
            }
            Arrival::SnapshotCut(id) if self.is_connected && *id == self.connection_count => {
                recovery.snapshot_failed(now);
                self.is_connected = false;
            }
            Arrival::Snapshot(..) | Arrival::SnapshotCut(_) => {}
        }
    }
}

fn config(plan: &Plan) -> RecoveryConfig {
    RecoveryConfig {
        server_count: 2,
        request_message_count_max: 40,
        request_delay: Nanos(100 * US),
        request_timeout: Nanos(2 * MS),
        request_count_max: 6,
        run_message_count_max: 60,
        has_snapshot: plan.snapshots != Snapshots::None,
        snapshot_delay: Nanos(3 * MS),
        snapshot_count_max: 30,
    }
}

fn run(plan: &Plan, count: usize) -> (World, MoldFeed, Recovery) {
    let config = config(plan);
    let lines = ArbiterConfig {
        line_count: LINES,
        held_packet_count_max: plan.held_packet_count_max,
        packet_len_max: 1_400,
        reorder_window_ns: Nanos(400 * MS),
        ..ArbiterConfig::default()
    };
    let mut feed = MoldFeed::new(config.arbiter(lines), Decoder::new(EpochNanos(0), 8)).unwrap();
    let mut recovery = Recovery::new(config, LINES);
    feed = feed.with_recovery_line(recovery.line());
    let mut world = World::new(plan.clone(), count);
    world.run(&mut feed, &mut recovery);
    (world, feed, recovery)
}

fn server() -> impl Strategy<Value = Server> {
    use Server::*;
    prop::sample::select(vec![Honest, Honest, Dead, Slow, Behind, Shifted, OtherSession, Ahead])
}

fn snapshots() -> impl Strategy<Value = Snapshots> {
    use Snapshots::*;
    prop::sample::select(vec![Honest, Cut, StaleFirst, LiesFirst])
}

fn plan() -> impl Strategy<Value = Plan> {
    (any::<u64>(), 0_u64..31, [server(), server()], snapshots(), 4_u16..200, prop_oneof![Just(0), 0_u64..60], 0_u64..9)
        .prop_map(|(seed, loss, server, snapshots, held_packet_count_max, join, refusal)| Plan {
            seed,
            loss,
            server,
            snapshots,
            held_packet_count_max,
            join,
            refusal: if refusal > 1 { refusal } else { 0 },
            wrong: BTreeMap::new(),
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever the network and the servers do: the books are those of a feed without loss in the end, they were never
    /// wrong while they counted as good, and what was asked for is bounded.
    #[test]
    fn the_books_are_whole_in_the_end(plan in plan()) {
        let (world, feed, recovery) = run(&plan, 400);
        let counters = recovery.counters();
        let end = world.day.messages.len() as u64 + 1;
        prop_assert!(!world.watch.open_gap, "{counters:?}, {:?}", feed.arbiter().counters());
        prop_assert_eq!(&world.watch.book, world.day.books.last().unwrap());
        prop_assert_eq!(feed.arbiter().next_sequence_number(), end);
        prop_assert!(world.watch.is_ended && !recovery.is_exhausted());
        // Six tries for what is missing at a time, and every message can be the first one missing once.
        prop_assert!(counters.request_count <= 6 * end, "{counters:?}");
        prop_assert!(u64::from(world.connection_count) >= counters.snapshot_count);
        prop_assert_eq!(counters.snapshot_count, world.watch.snapshot_count);
    }

    /// With nobody to help nothing wrong is delivered either, and asking ends.
    #[test]
    fn without_help_the_books_stay_stale(seed in any::<u64>(), loss in 10_u64..31, is_kept in any::<bool>()) {
        let snapshots = if is_kept { Snapshots::Dead } else { Snapshots::None };
        let plan = Plan {
            seed, loss, server: [Server::Dead, Server::OtherSession], snapshots, held_packet_count_max: 32, join: 0, refusal: 0, wrong: BTreeMap::new(),
        };
        let (world, feed, recovery) = run(&plan, 400);
        let lost_on_both = feed.arbiter().counters().gap_count > 0 && world.watch.open_gap;
        prop_assert!(lost_on_both || world.watch.book == *world.day.books.last().unwrap());
        prop_assert!(recovery.counters().request_count <= 6 * 400);
        prop_assert!(world.connection_count <= 30);
        prop_assert_eq!(recovery.counters().reply_count, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Lines that differ: books are stale at once, until a server has proved the copy that was taken, or a snapshot stands
    /// for it; they are right whenever they count as good.
    #[test]
    fn books_are_whole_again_after_copies_that_differed(
        (seed, refusal) in (any::<u64>(), 0_u64..9),
        server in [server(), server()],
        snapshots in snapshots(),
        wrong in prop::collection::btree_map(3_u64..90, any::<bool>(), 1..6),
    ) {
        let refusal = if refusal > 1 { refusal } else { 0 };
        let plan = Plan { seed, loss: 0, server, snapshots, held_packet_count_max: 200, join: 0, refusal, wrong };
        let (world, feed, recovery) = run(&plan, 400);
        let (arbiter, counters) = (feed.arbiter(), recovery.counters());
        prop_assert!(!world.watch.open_gap && !world.watch.is_disputed, "{counters:?}, {:?}", arbiter.counters());
        prop_assert_eq!(&world.watch.book, world.day.books.last().unwrap());
        prop_assert!(world.watch.is_ended && world.watch.good_count > 0);
        prop_assert_eq!(arbiter.lines()[0].mismatch_count + arbiter.lines()[1].mismatch_count, plan.wrong.len() as u64);
        prop_assert!(arbiter.counters().dispute_count > 0);
        prop_assert_eq!(arbiter.counters().settled_dispute_count, arbiter.counters().dispute_count);
        // A wrong copy that was taken can be put right by a snapshot alone, and an honest server makes that needless else.
        let is_snapshot_due = plan.wrong.values().any(|is_first| *is_first);
        prop_assert!(counters.snapshot_done_count > 0 || !is_snapshot_due);
        let is_honest = server == [Server::Honest; 2];
        prop_assert!(counters.snapshot_count == 0 || is_snapshot_due || !is_honest);
        prop_assert!(counters.request_count <= 6 * 400);
    }
}

#[test]
fn a_server_proves_the_copy_that_was_taken_and_no_snapshot_is_needed() {
    let wrong = BTreeMap::from([(10, false), (40, false)]);
    let (world, feed, recovery) = run(&Plan { loss: 0, wrong, ..one_kind(Server::Honest, Snapshots::None) }, 400);
    let (counters, arbiter) = (recovery.counters(), feed.arbiter().counters());
    assert_eq!(
        (arbiter.dispute_count, arbiter.settled_dispute_count, counters.request_count),
        (2, 2, 2),
        "{counters:?}"
    );
    assert_eq!(&world.watch.book, world.day.books.last().unwrap());
    let wrong = BTreeMap::from([(10, true)]);
    let (world, feed, recovery) = run(&Plan { loss: 0, wrong, ..one_kind(Server::Honest, Snapshots::None) }, 400);
    assert!(
        world.watch.is_disputed && feed.arbiter().counters().settled_dispute_count == 0,
        "the copy taken was wrong"
    );
    assert_eq!(recovery.counters().reply_mismatch_count, 6);
}

/// A lossy plan whose faults are all of one kind.
fn one_kind(server: Server, snapshots: Snapshots) -> Plan {
    Plan {
        seed: 11,
        loss: 30,
        server: [server; 2],
        snapshots,
        held_packet_count_max: 150,
        join: 0,
        refusal: 0,
        wrong: BTreeMap::new(),
    }
}

#[test]
fn every_lie_is_counted_and_none_is_believed() {
    for (server, what) in [
        (Server::OtherSession, "session"),
        (Server::Ahead, "numbers"),
        (Server::Shifted, "content"),
        (Server::Behind, "proof"),
    ] {
        let (world, _, recovery) = run(&one_kind(server, Snapshots::Honest), 400);
        let counters = recovery.counters();
        let counted = match server {
            Server::OtherSession => counters.reply_session_count,
            Server::Ahead => counters.reply_number_count,
            Server::Shifted => counters.reply_mismatch_count,
            Server::Behind => counters.reply_unproven_count,
            Server::Honest | Server::Dead | Server::Slow => 0,
        };
        assert!(counted > 5, "{what}: {counters:?}");
        assert!(counters.snapshot_done_count > 0, "{what}: {counters:?}");
        assert_eq!(&world.watch.book, world.day.books.last().unwrap(), "{what}");
    }
    let (world, _, recovery) = run(&one_kind(Server::Dead, Snapshots::LiesFirst), 400);
    assert!(recovery.counters().snapshot_refused_count >= 2, "{:?}", recovery.counters());
    assert_eq!(&world.watch.book, world.day.books.last().unwrap());
    let (_, _, recovery) = run(&one_kind(Server::Dead, Snapshots::StaleFirst), 400);
    assert_eq!(recovery.counters().snapshot_stale_count, 1);
}

#[test]
fn an_honest_server_makes_snapshots_needless() {
    let (world, feed, recovery) = run(&one_kind(Server::Honest, Snapshots::Honest), 400);
    let counters = recovery.counters();
    assert!(counters.reply_count > 5, "{counters:?}");
    assert_eq!(counters.snapshot_count, 0, "{counters:?}");
    assert_eq!(feed.arbiter().counters().delivered_count, 400);
    assert!(world.watch.good_count > 20);
}

/// Who comes late to a silent feed knows nothing to prove an answer by: it is believed where nobody else can help.
#[test]
fn a_late_joiner_without_a_snapshot_service_gets_everything_again() {
    let config = RecoveryConfig { has_snapshot: false, ..RecoveryConfig::default() };
    let lines = ArbiterConfig { reorder_window_ns: Nanos::from_millis(100), ..ArbiterConfig::default() };
    let mut feed = MoldFeed::new(config.arbiter(lines), Decoder::new(EpochNanos(0), 8)).unwrap();
    let mut recovery = Recovery::new(config, 2);
    let day = Day::new(&mut Chance(7), 40);
    let mut count = 0;
    let mut sink = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
        count += u32::from(event.exch_time != event.recv_time);
        Ok(())
    };
    feed.on_packet(LineId::A, Header::heartbeat(SESSION, 41).as_bytes(), EpochNanos(MS), &mut sink).unwrap();
    for (first, now) in [(1, 4), (21, 8)] {
        let mut asked = Vec::new();
        let now = EpochNanos(now * MS);
        recovery.poll(&feed, now, &mut |_, request| asked.push(request.sequence_number.get()));
        recovery
            .poll(&feed, now.plus(config.request_delay), &mut |_, request| asked.push(request.sequence_number.get()));
        // From the second time on one message early, which is known.
        let from = if first > 1 { first - 1 } else { first };
        assert_eq!(asked, [from]);
        let reply = day.packet(SESSION, from, first + 20, from);
        assert_eq!(recovery.on_reply(&mut feed, &reply, now, &mut sink), Ok(Reply::Believed));
    }
    assert_eq!((feed.arbiter().missing(), count), (None, 40));
}

/// A new session in the middle of a snapshot: nothing of the old one comes any more, and the new one begins whole.
#[test]
fn a_new_session_ends_every_recovery() {
    let config = RecoveryConfig::default();
    let lines = ArbiterConfig::default();
    let mut feed = MoldFeed::new(config.arbiter(lines), Decoder::new(EpochNanos(0), 8)).unwrap();
    let mut recovery = Recovery::new(config, 2);
    let day = Day::new(&mut Chance(3), 40);
    let mut kinds = Vec::new();
    let mut sink = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
        kinds.push(event.kind);
        Ok(())
    };
    let now = EpochNanos(MS);
    feed.on_packet(LineId::A, &day.packet(SESSION, 30, 32, 30), now, &mut sink).unwrap();
    let mut buffer = [0; 1_400];
    let mut begin = PacketBuilder::new(&mut buffer, SESSION, 1).unwrap();
    begin.push(&day.snapshot(30)[0]).unwrap();
    let begin = begin.finish().to_vec();
    assert_eq!(recovery.on_snapshot(&mut feed, &begin, now, &mut sink), Ok(SnapshotStep::Taken));
    feed.on_packet(LineId::A, &day.packet(SESSION, 32, 34, 32), now, &mut sink).unwrap();
    feed.on_packet(LineId::B, &day.packet(OTHER, 1, 3, 1), now, &mut sink).unwrap();
    let mut second = begin.clone();
    second[17] = 2;
    assert_eq!(recovery.on_snapshot(&mut feed, &second, now, &mut sink), Ok(SnapshotStep::Refused));
    assert_eq!(recovery.on_reply(&mut feed, &day.packet(SESSION, 1, 3, 1), now, &mut sink), Ok(Reply::OtherSession));
    recovery.poll(&feed, now, &mut |_, _| panic!("nothing is missing"));
    assert!(!recovery.wants_snapshot(&feed, now));
    use EventKind::{GapStart, SessionEnd, SessionStart, SnapshotStart, StockDirectory};
    let first = [SessionStart, GapStart, SnapshotStart, StockDirectory, GapStart, SessionEnd];
    assert_eq!(kinds, [&first[..], &[SessionStart, StockDirectory, StockDirectory]].concat());
}

/// What was missing comes while a snapshot is being taken in: too late, the books are no longer those that it fits.
#[test]
fn nothing_of_the_feed_comes_between_the_messages_of_a_snapshot() {
    let config = RecoveryConfig::default();
    let mut feed = MoldFeed::new(config.arbiter(ArbiterConfig::default()), Decoder::new(EpochNanos(0), 8)).unwrap();
    let mut recovery = Recovery::new(config, 2);
    let day = Day::new(&mut Chance(5), 40);
    let mut stamps = Vec::new();
    let mut sink = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
        if event.exch_time != event.recv_time {
            stamps.push(event.exch_time.0.cast_unsigned());
        }
        Ok(())
    };
    let now = EpochNanos(MS);
    let messages = day.snapshot(20);
    let mut buffer = [0; 1_400];
    let packets: Vec<Vec<u8>> = (1..)
        .zip(&messages)
        .map(|(number, message)| {
            let mut builder = PacketBuilder::new(&mut buffer, SESSION, number).unwrap();
            builder.push(message).unwrap();
            builder.finish().to_vec()
        })
        .collect();
    let (last, first) = packets.split_last().unwrap();
    feed.on_packet(LineId::A, &day.packet(SESSION, 10, 12, 10), now, &mut sink).unwrap();
    for packet in first {
        assert_eq!(recovery.on_snapshot(&mut feed, packet, now, &mut sink), Ok(SnapshotStep::Taken));
        feed.on_packet(LineId::B, &day.packet(SESSION, 1, 10, 1), now, &mut sink).unwrap();
        feed.on_packet(LineId::B, &day.packet(SESSION, 15, 25, 15), now, &mut sink).unwrap();
    }
    assert_eq!(recovery.on_snapshot(&mut feed, last, now, &mut sink), Ok(SnapshotStep::Done));
    let snapshot = vec![SNAPSHOT_STAMP; messages.len() - 1];
    assert_eq!(stamps, [snapshot, (20..25).collect()].concat());
}

#[test]
fn the_end_of_a_snapshot_is_read_as_it_is_written() {
    let of = |kind: char, number: &str| end_of_snapshot(format!("{kind}{number:>20}").as_bytes());
    assert_eq!(of('G', "17"), Some(17));
    assert_eq!(end_of_snapshot(b"G17"), None, "too short");
    assert_eq!([of('S', "17"), of('G', "1x"), of('G', "+17"), of('G', "")], [None; 4]);
}

//! Lines A and B lose packets independently of each other, day after day: what both have lost comes back from a
//! retransmission server that loses and sometimes lies, or a snapshot takes its place. Every event is the truth's next one,
//! every book is the truth's after each recovered range, every range is recovered, and nothing is approved from a book that
//! lacks anything. No sockets; time is simulated.
//!
//! `PEREGRINE_LOSS_MESSAGES` sets how many messages (300,000), `PEREGRINE_LOSS_SEED` the first day's seed,
//! `PEREGRINE_LOSS_PERCENT` the loss of each line (30); `scripts/deep.sh HOURS both_lines` runs 10⁸ and more.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how much was tried")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most events are messages like any other")]

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use peregrine_book::{BookConfig, Books, MarketBooks, Priority, RestingOrder};
use peregrine_generate::{GeneratorConfig, Session as Day, SessionHours};
use peregrine_risk::{InstrumentRules, LimitsConfig, RiskContext, RiskGate};
use peregrine_types::*;
use peregrine_wire::arbiter::ArbiterConfig;
use peregrine_wire::itch50::{Decoder, Message, parse};
use peregrine_wire::moldudp64::{Header, PacketBuilder, Request, Session};
use peregrine_wire::recovery::{Reply, SnapshotStep};
use peregrine_wire::{LineId, MoldFeed, Recovery, RecoveryConfig};
use zerocopy::IntoBytes;

const SESSION: Session = Session(*b"BOTHLINES ");
const OTHER: Session = Session(*b"LIAR      ");
const US: i64 = 1_000;
const MS: i64 = 1_000_000;
const DAY_MESSAGES: u64 = 1_000_000;
const SYMBOLS: u32 = 40;
const PACKET_MESSAGES_MAX: u64 = 20;

/// A number that looks random, from a counter (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn hits(&mut self, per_thousand: u64) -> bool {
        self.below(1_000) < per_thousand
    }
}

/// A day's messages, one behind the other: number 1 is the first.
struct Store {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Store {
    fn of(seed: u64, message_count: u64) -> Self {
        let config = GeneratorConfig {
            hours: SessionHours::short(60),
            symbol_count: SYMBOLS,
            message_count,
            // What a snapshot cannot tell (docs/live.md).
            operational_halt_count: 0,
            has_rare_messages: false,
            ..GeneratorConfig::demo(seed)
        };
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        Day::new(config).unwrap().for_each_message(|_, message| {
            bytes.extend_from_slice(message);
            ends.push(bytes.len());
        });
        Self { bytes, ends }
    }

    /// The number behind the last message.
    fn end(&self) -> u64 {
        self.ends.len() as u64 + 1
    }

    fn message(&self, number: u64) -> &[u8] {
        let index = usize::try_from(number).unwrap() - 1;
        let begin = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[begin..self.ends[index]]
    }

    /// A packet with the messages `from` to `end`, named `first`.
    fn packet<'b>(&self, session: Session, (from, end): (u64, u64), first: u64, buffer: &'b mut [u8]) -> &'b [u8] {
        let mut packet = PacketBuilder::new(buffer, session, first).unwrap();
        for number in from..end {
            packet.push(self.message(number)).unwrap();
        }
        packet.finish()
    }
}

/// Books and the decoder before them, without a feed between.
struct Market {
    decoder: Decoder,
    books: Books,
    /// Events of the last message that were not handed out yet.
    waiting: VecDeque<MarketEvent>,
    /// Orders that may live: those that were ever added, less those that were found gone.
    refs: BTreeSet<OrderRef>,
    /// The number of the next message.
    next: u64,
}

/// Symbol, side, price, place in the queue, reference, quantity.
type Order = (SymbolId, Side, Price, Priority, OrderRef, Qty);

impl Market {
    fn new() -> Self {
        let books = Books::new(BookConfig::new(SYMBOLS + 1, 1 << 15, 1 << 15)).unwrap();
        Self {
            decoder: Decoder::new(EpochNanos(0), SYMBOLS + 1),
            books,
            waiting: VecDeque::new(),
            refs: BTreeSet::new(),
            next: 1,
        }
    }

    /// The next event: most messages are one, some are two.
    fn next_event(&mut self, store: &Store) -> MarketEvent {
        while self.waiting.is_empty() {
            assert!(self.next < store.end(), "an event behind the last message");
            let Self { decoder, waiting, next, .. } = self;
            let mut sink = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
                waiting.push_back(event);
                Ok(())
            };
            decoder.decode(store.message(*next), EpochNanos(0), EventFlags::NONE, &mut sink).unwrap();
            *next += 1;
        }
        let event = self.waiting.pop_front().unwrap();
        assert_eq!(self.books.apply(&event).anomaly, None, "{event:?}");
        match event.kind {
            EventKind::AddOrder => drop(self.refs.insert(OrderRef(event.id_a))),
            EventKind::ReplaceOrder => drop(self.refs.insert(OrderRef(event.id_b))),
            _ => {}
        }
        event
    }

    /// Every order that lives, level by level, the oldest first at each.
    fn orders(&mut self) -> Vec<Order> {
        let mut all = Vec::new();
        self.refs.retain(|order_ref| {
            let order = self.books.order(*order_ref);
            let line =
                |order: RestingOrder| (order.symbol, order.side, order.price, order.priority, *order_ref, order.qty);
            all.extend(order.map(line));
            order.is_some()
        });
        assert_eq!(all.len(), self.books.order_count());
        all.sort_unstable();
        all
    }

    fn go_to(&mut self, store: &Store, next: u64) {
        while self.next < next || !self.waiting.is_empty() {
            self.next_event(store);
        }
    }
}

/// The levels of a side, the best first.
fn levels(books: &Books, symbol: SymbolId, side: Side) -> Vec<Level> {
    let mut levels = vec![Level::default(); books.level_count(symbol, side)];
    let count = books.depth(symbol, side, &mut levels);
    assert_eq!(count, levels.len());
    levels
}

/// What stands against a book, but for the gap, and the symbol's trading state.
fn state(books: &Books, symbol: SymbolId) -> (BookState, TradingState) {
    (books.state(symbol).without(BookState::STALE), books.trading_state(symbol))
}

/// What was counted over all days.
#[derive(Debug, Default)]
struct Counts {
    messages: u64,
    packets: u64,
    lost: [u64; 2],
    lost_on_both: u64,
    recovered: u64,
    by_snapshot: u64,
    lies: u64,
    requests: u64,
    approved: u64,
    denied_stale: u64,
    compared: u64,
}

/// Takes the engine's events: holds each against the truth, and decides on it.
struct Watch<'a> {
    store: &'a Store,
    books: Books,
    truth: Market,
    gate: RiskGate,
    /// Messages of the snapshot that is being taken in which are still to come as events.
    snapshot_left: Option<u64>,
    /// Where the feed goes on behind it.
    snapshot_end: u64,
    is_gap_open: bool,
    /// Whether anything that a line has spoken of was not given to the feed yet.
    is_missing: bool,
    /// Symbols and orders that events named since the gap opened.
    touched: BTreeSet<u32>,
    orders: BTreeSet<OrderRef>,
    seq: u64,
    counts: &'a mut Counts,
}

impl Watch<'_> {
    fn take(&mut self, event: MarketEvent) {
        self.seq += 1;
        if self.snapshot_left == Some(0) {
            self.resume();
        }
        let update = self.books.apply(&event);
        assert_eq!(update.anomaly, None, "{event:?}");
        match event.kind {
            EventKind::GapStart => {
                assert_eq!(event.detail, 0, "nothing is given up");
                assert!(self.is_missing, "a gap where nothing is missing: {event:?}");
                self.is_gap_open = true;
            }
            EventKind::GapEnd => {
                self.is_gap_open = false;
                self.counts.recovered += 1;
                self.compare_touched();
                if self.counts.recovered.is_multiple_of(4_096) {
                    self.compare_all();
                }
            }
            EventKind::SnapshotStart => assert!(self.is_gap_open && self.snapshot_left.is_some()),
            EventKind::SessionStart | EventKind::SessionEnd => {}
            _ => self.feed(&event),
        }
        if update.is_top_changed {
            self.decide(event.symbol, event.recv_time);
        }
    }

    /// An event of a message: of the snapshot, or the truth's next one.
    fn feed(&mut self, event: &MarketEvent) {
        if let Some(left) = self.snapshot_left {
            self.snapshot_left = Some(left - 1);
            return;
        }
        let true_event = self.truth.next_event(self.store);
        let said = MarketEvent { recv_time: true_event.recv_time, flags: true_event.flags, ..*event };
        assert_eq!(said, true_event, "message {}", self.truth.next - 1);
        if self.is_gap_open {
            self.touched.insert(event.symbol.0);
            self.orders.extend([OrderRef(event.id_a), OrderRef(event.id_b)]);
        }
    }

    /// The snapshot is in the books: the truth goes to where it was made, and they are the same.
    fn resume(&mut self) {
        self.snapshot_left = None;
        self.truth.go_to(self.store, self.snapshot_end);
        self.counts.by_snapshot += 1;
        self.compare_all();
    }

    /// The recovered range is in the books as it is in the truth: levels of each symbol that it names, and every order.
    fn compare_touched(&mut self) {
        let Self { books, truth, .. } = self;
        for symbol in std::mem::take(&mut self.touched).into_iter().map(SymbolId) {
            self.counts.compared += 1;
            assert_eq!(state(books, symbol), state(&truth.books, symbol), "{symbol}");
            for side in Side::BOTH {
                let (ours, theirs) = (levels(books, symbol, side), levels(&truth.books, symbol, side));
                assert_eq!(ours, theirs, "{symbol} {side:?} before message {}", truth.next);
            }
        }
        let order = |books: &Books, order_ref: OrderRef| {
            books.order(order_ref).map(|order| (order.symbol, order.side, order.price, order.qty))
        };
        for order_ref in std::mem::take(&mut self.orders) {
            assert_eq!(order(books, order_ref), order(&truth.books, order_ref), "{order_ref}");
        }
        assert_eq!(books.order_count(), truth.books.order_count());
    }

    /// Every order of every book, in its place.
    fn compare_all(&mut self) {
        let Self { books, truth, .. } = self;
        for symbol in (0..SYMBOLS).map(SymbolId) {
            self.counts.compared += 1;
            assert_eq!(state(books, symbol), state(&truth.books, symbol), "{symbol}");
        }
        assert_eq!(books.order_count(), truth.books.order_count());
        let mut before = None;
        for (symbol, side, price, _, order_ref, qty) in truth.orders() {
            let order = books.order(order_ref).unwrap_or_else(|| panic!("{order_ref} is not in the book"));
            assert_eq!((order.symbol, order.side, order.price, order.qty), (symbol, side, price, qty), "{order_ref}");
            // Places in the queue differ by a snapshot, their order does not.
            let place = (symbol, side, price, order.priority);
            assert!(before.is_none_or(|before| before < place), "{order_ref} is not behind the one before it");
            before = Some(place);
        }
    }

    /// What a strategy would ask for at every change of the best prices, if the gate lets it.
    fn decide(&mut self, symbol: SymbolId, now: EpochNanos) {
        let (state, top) = (self.books.state(symbol), self.books.top(symbol));
        let Some((bid, ask)) = top.bid.zip(top.ask) else { return };
        let intent = OrderIntent::New(NewOrder {
            symbol,
            side: Side::Buy,
            price: bid.price,
            qty: Qty(100),
            time_in_force: TimeInForce::ImmediateOrCancel,
            is_post_only: false,
        });
        let context = RiskContext {
            book_state: state,
            reference_price: Some(Price(i64::midpoint(bid.price.0, ask.price.0))),
            top,
            data_time: now,
            is_input_finite: true,
        };
        match self.gate.check(&intent, &context, EventSeq(self.seq), now) {
            Ok(approved) => {
                assert!(!self.is_missing && !self.is_gap_open, "approved from a stale book at {}", self.truth.next);
                self.counts.approved += 1;
                self.gate.revoke(approved);
            }
            Err(ReasonCode::BookStale) => self.counts.denied_stale += 1,
            Err(_) => {}
        }
    }
}

fn gate() -> RiskGate {
    let limits = LimitsConfig {
        order_qty_max: Some(Qty(10_000)),
        order_notional_max: Some(Notional(i128::from(i64::MAX))),
        price_collar_bps: Some(9_000),
        position_qty_max: Some(Qty(1_000_000)),
        gross_notional_max: Some(Notional(i128::from(i64::MAX))),
        open_orders_max: Some(64),
        order_rate_max: Some(1_000_000),
        order_rate_window: Some(Nanos::from_secs(1)),
        duplicate_window: Some(Nanos(1)),
        data_age_max: Some(Nanos::from_secs(1)),
    };
    let mut gate = RiskGate::new(&limits.validate().unwrap(), SYMBOLS + 1);
    for symbol in 0..=SYMBOLS {
        gate.permit(SymbolId(symbol), Some(InstrumentRules::US_EQUITY));
    }
    gate
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lie {
    None,
    /// Begins one message behind the one asked for, and says so.
    Behind,
    /// The messages of one number as those of the one before.
    Shifted,
    OtherSession,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Arrival {
    /// The venue sends its next packet.
    Publish,
    /// A packet with the messages from one number to another.
    Line(u8, u64, u64),
    Beat(u8),
    Reply(u64, u64, Lie),
    /// A part of the snapshot with this number, and where it begins.
    Snapshot(u32, usize),
    Tick,
}

/// Everything around the feed.
struct World<'a> {
    store: &'a Store,
    chance: Chance,
    loss: u64,
    heap: BinaryHeap<Reverse<(i64, u64, Arrival)>>,
    count: u64,
    feed: MoldFeed,
    recovery: Recovery,
    venue: Market,
    watch: Watch<'a>,
    /// What was given to the feed, by number, and the first that was not.
    given: Vec<bool>,
    first_missing: u64,
    known_end: u64,
    outages: Vec<(u64, u64)>,
    snapshot: Vec<Vec<u8>>,
    snapshot_id: u32,
    snapshot_end: u64,
    is_connected: bool,
}

impl<'a> World<'a> {
    fn new(store: &'a Store, seed: u64, loss: u64, counts: &'a mut Counts) -> Self {
        let recovery = RecoveryConfig { run_message_count_max: 4_096, ..RecoveryConfig::default() };
        let lines = ArbiterConfig { held_packet_count_max: 4_096, ..ArbiterConfig::default() };
        let feed = MoldFeed::new(recovery.arbiter(lines), Decoder::new(EpochNanos(0), SYMBOLS + 1)).unwrap();
        let recovery = Recovery::new(recovery, 2);
        let mut chance = Chance(seed);
        // Both lines dark at the same time, a few times a day: too long a run to ask for.
        let outages = (0..3).map(|_| chance.below(store.end())).map(|first| (first, first + 6_000)).collect();
        let feed = feed.with_recovery_line(recovery.line());
        let watch = Watch {
            store,
            books: Market::new().books,
            truth: Market::new(),
            gate: gate(),
            snapshot_left: None,
            snapshot_end: 0,
            is_gap_open: false,
            is_missing: false,
            touched: BTreeSet::new(),
            orders: BTreeSet::new(),
            seq: 0,
            counts,
        };
        Self {
            store,
            chance,
            loss,
            heap: BinaryHeap::new(),
            count: 0,
            feed,
            recovery,
            venue: Market::new(),
            watch,
            given: vec![false; store.ends.len() + 2],
            first_missing: 1,
            known_end: 1,
            outages,
            snapshot: Vec::new(),
            snapshot_id: 0,
            snapshot_end: 0,
            is_connected: false,
        }
    }

    fn at(&mut self, time: i64, arrival: Arrival) {
        self.count += 1;
        self.heap.push(Reverse((time, self.count, arrival)));
    }

    /// Plays the day to its end, and beyond it until everything is there.
    fn play(&mut self) {
        self.at(0, Arrival::Publish);
        while let Some(Reverse((now, _, arrival))) = self.heap.pop() {
            let time = EpochNanos(now);
            match arrival {
                Arrival::Publish => self.publish(now),
                Arrival::Line(line, first, end) => self.on_line(line, (first, end), time),
                Arrival::Beat(line) => {
                    let beat = Header::heartbeat(SESSION, self.venue.next);
                    self.spoken_of(self.venue.next);
                    let Self { feed, watch, .. } = self;
                    feed.on_packet(LineId(line), beat.as_bytes(), time, &mut sink(watch)).unwrap();
                }
                Arrival::Reply(first, end, lie) => self.on_reply((first, end), lie, time),
                Arrival::Snapshot(id, from) => self.on_snapshot(id, from, now),
                Arrival::Tick => {}
            }
            self.ask(now);
            let is_missing = self.first_missing < self.known_end;
            assert_eq!(self.feed.arbiter().missing().is_some(), is_missing, "a gap is known as soon as it can be");
            let is_over = self.venue.next == self.store.end();
            if is_over && !is_missing && self.known_end == self.store.end() {
                break;
            }
            assert!(now < 4_000_000 * MS, "it does not come to an end");
        }
        assert_eq!(self.watch.truth.next, self.store.end(), "every message was applied");
        assert!(!self.watch.is_gap_open);
        self.watch.compare_all();
        self.watch.counts.requests += self.recovery.counters().request_count;
        self.watch.counts.messages += self.store.end() - 1;
    }

    fn publish(&mut self, now: i64) {
        let first = self.venue.next;
        if first == self.store.end() {
            // The end is said until it is heard, and what is missing was brought.
            for line in 0..2 {
                if !self.chance.hits(self.loss) {
                    self.at(now + 1, Arrival::Beat(line));
                }
            }
            return self.at(now + 20 * MS, Arrival::Publish);
        }
        let end = (first + 1 + self.chance.below(PACKET_MESSAGES_MAX)).min(self.store.end());
        self.venue.go_to(self.store, end);
        self.watch.counts.packets += 1;
        let is_dark = self.outages.iter().any(|(from, to)| (*from..*to).contains(&first));
        let mut lost_count = 0;
        for line in 0..2_u8 {
            if is_dark || self.chance.hits(self.loss) {
                self.watch.counts.lost[usize::from(line)] += 1;
                lost_count += 1;
                continue;
            }
            let delay = i64::try_from(self.chance.below(300)).unwrap() * US;
            let late = if self.chance.hits(5) { MS } else { 0 };
            self.at(now + delay + late, Arrival::Line(line, first, end));
            if self.chance.hits(5) {
                self.at(now + delay + 2 * MS, Arrival::Line(line, first, end));
            }
        }
        self.watch.counts.lost_on_both += u64::from(lost_count == 2);
        let pause = 200 + i64::try_from(self.chance.below(1_800)).unwrap();
        self.at(now + pause * US, Arrival::Publish);
    }

    /// Messages before `end` exist, as a line says.
    fn spoken_of(&mut self, end: u64) {
        self.known_end = self.known_end.max(end);
        self.watch.is_missing = self.first_missing < self.known_end;
    }

    /// Messages are with the feed.
    fn give(&mut self, first: u64, end: u64) {
        for number in first..end {
            self.given[usize::try_from(number).unwrap()] = true;
        }
        self.known_end = self.known_end.max(end);
        while self.given[usize::try_from(self.first_missing).unwrap()] {
            self.first_missing += 1;
        }
        self.watch.is_missing = self.first_missing < self.known_end;
    }

    fn on_line(&mut self, line: u8, (first, end): (u64, u64), time: EpochNanos) {
        self.give(first, end);
        let mut buffer = [0; 1_500];
        let packet = self.store.packet(SESSION, (first, end), first, &mut buffer);
        self.feed.on_packet(LineId(line), packet, time, &mut sink(&mut self.watch)).unwrap();
    }

    fn on_reply(&mut self, (first, end): (u64, u64), lie: Lie, time: EpochNanos) {
        let mut buffer = vec![0; 64_000];
        let packet = match lie {
            Lie::None => self.store.packet(SESSION, (first, end), first, &mut buffer),
            Lie::Behind => self.store.packet(SESSION, (first + 1, end), first + 1, &mut buffer),
            Lie::Shifted => self.store.packet(SESSION, (first + 1, end), first, &mut buffer),
            Lie::OtherSession => self.store.packet(OTHER, (first, end), first, &mut buffer),
        };
        let Self { feed, recovery, watch, .. } = self;
        let reply = recovery.on_reply(feed, packet, time, &mut sink(watch)).unwrap();
        match (reply, lie) {
            (Reply::Believed, Lie::None) => self.give(first, end),
            // Not what was asked for, but true: it may be believed.
            (Reply::Believed, Lie::Behind) => self.give(first + 1, end),
            (Reply::Believed, Lie::Shifted | Lie::OtherSession) => panic!("a lie was believed: {lie:?} {first} {end}"),
            (_, _) => {}
        }
    }

    /// What the recovery wants to ask, and the answers that come of it.
    fn ask(&mut self, now: i64) {
        let mut asked: Vec<(u64, u64)> = Vec::new();
        self.recovery.poll(&self.feed, EpochNanos(now), &mut |_, request: &Request| {
            asked.push((request.sequence_number.get(), u64::from(request.requested_count.get())));
        });
        for (first, count) in asked {
            // As many whole messages as fit one packet, none that was not sent.
            let end = (first + count).min(self.venue.next).min(first + 30);
            if first >= end || self.chance.hits(100) {
                continue;
            }
            let lie = match self.chance.below(100) {
                0 if first + 1 < end => Lie::Behind,
                1 if first + 1 < end => Lie::Shifted,
                2 => Lie::OtherSession,
                _ => Lie::None,
            };
            self.watch.counts.lies += u64::from(lie != Lie::None);
            let delay = 150 * US + i64::try_from(self.chance.below(400)).unwrap() * US;
            self.at(now + delay, Arrival::Reply(first, end, lie));
            // Somebody looks again when the answer is overdue.
            self.at(now + 51 * MS, Arrival::Tick);
        }
        if !self.is_connected && self.recovery.wants_snapshot(&self.feed, EpochNanos(now)) {
            self.recovery.snapshot_begun(EpochNanos(now));
            self.is_connected = true;
            self.snapshot_id += 1;
            self.make_snapshot();
            let id = self.snapshot_id;
            self.at(now + 300 * US, Arrival::Snapshot(id, 0));
        }
    }

    /// The venue's state as messages, by its books; sometimes with an end that cannot be.
    fn make_snapshot(&mut self) {
        let (mut messages, orders) = (Vec::new(), self.venue.orders());
        let (mut directories, mut states) = (Vec::new(), Vec::new());
        for number in 1..self.venue.next {
            let message = self.store.message(number);
            match parse(message) {
                // The latest step of the day stands at the begin.
                Ok(Message::SystemEvent(_)) => messages = vec![message.to_vec()],
                Ok(Message::StockDirectory(_)) => directories.push(message.to_vec()),
                Ok(Message::StockTradingAction(action)) => states.push((action.stock_locate.get(), message.to_vec())),
                Ok(_) | Err(_) => {}
            }
        }
        for (directory, symbol) in directories.into_iter().zip((0..).map(SymbolId)) {
            let locate = u16::from_be_bytes([directory[1], directory[2]]);
            let (head, name) = (directory[1..11].to_vec(), directory[11..19].to_vec());
            messages.push(directory);
            messages.extend(states.iter().rfind(|(of, _)| *of == locate).map(|(_, message)| message.clone()));
            for (_, side, price, _, order_ref, qty) in orders.iter().filter(|order| order.0 == symbol) {
                let code = if *side == Side::Buy { b'B' } else { b'S' };
                let price = u32::try_from(price.0 / 100_000).unwrap();
                let qty = u32::try_from(qty.0).unwrap();
                let parts: [&[u8]; 7] =
                    [b"A", &head, &order_ref.0.to_be_bytes(), &[code], &qty.to_be_bytes(), &name, &price.to_be_bytes()];
                messages.push(parts.concat());
            }
        }
        let is_lie = self.chance.hits(100);
        self.watch.counts.lies += u64::from(is_lie);
        self.snapshot_end = self.venue.next;
        let end = if is_lie { 1 << 60 } else { self.snapshot_end };
        messages.push(format!("G{end:>20}").into_bytes());
        self.snapshot = messages;
    }

    fn on_snapshot(&mut self, id: u32, from: usize, now: i64) {
        if id != self.snapshot_id || !self.is_connected {
            return;
        }
        let end = (from + 20).min(self.snapshot.len());
        let mut buffer = [0; 1_500];
        let mut packet = PacketBuilder::new(&mut buffer, SESSION, from as u64 + 1).unwrap();
        for message in &self.snapshot[from..end] {
            packet.push(message).unwrap();
        }
        let packet = packet.finish();
        if from == 0 {
            self.watch.snapshot_left = Some(self.snapshot.len() as u64 - 1);
            self.watch.snapshot_end = self.snapshot_end;
        }
        let Self { feed, recovery, watch, .. } = self;
        let step = recovery.on_snapshot(feed, packet, EpochNanos(now), &mut sink(watch)).unwrap();
        match step {
            SnapshotStep::Taken => self.at(now + 20 * US, Arrival::Snapshot(id, end)),
            SnapshotStep::Done => {
                self.is_connected = false;
                if self.watch.snapshot_left.is_some() {
                    self.watch.resume();
                }
                self.give(1, self.snapshot_end);
            }
            SnapshotStep::Refused => {
                self.is_connected = false;
                self.recovery.snapshot_failed(EpochNanos(now));
                self.at(now + 501 * MS, Arrival::Tick);
            }
        }
    }
}

fn sink<'s, 'a>(watch: &'s mut Watch<'a>) -> impl FnMut(MarketEvent) -> Result<(), Full<MarketEvent>> + use<'s, 'a> {
    |event| {
        watch.take(event);
        Ok(())
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.replace('_', "").parse().ok()).unwrap_or(default)
}

#[test]
fn both_lines_lose_packets_and_nothing_is_applied_wrongly() {
    let wanted = setting("PEREGRINE_LOSS_MESSAGES", 300_000);
    let (first_seed, loss) = (setting("PEREGRINE_LOSS_SEED", 1), setting("PEREGRINE_LOSS_PERCENT", 30) * 10);
    let mut counts = Counts::default();
    let mut seed = first_seed;
    while counts.messages < wanted {
        let store = Store::of(seed, (wanted - counts.messages).clamp(100_000, DAY_MESSAGES));
        World::new(&store, seed, loss, &mut counts).play();
        seed += 1;
        if wanted > DAY_MESSAGES && (seed - first_seed).is_multiple_of(10) {
            println!("{} messages, {} ranges recovered", counts.messages, counts.recovered);
        }
    }
    let Counts { messages, packets, lost, lost_on_both, recovered, by_snapshot, lies, .. } = counts;
    println!(
        "{messages} messages in {packets} packets, {} and {} lost on A and B, {lost_on_both} on both; {recovered} ranges \
         recovered, {by_snapshot} by a snapshot, {} requests, {lies} lies; {} approved, {} denied from stale books, 0 wrongly; \
         {} books compared",
        lost[0], lost[1], counts.requests, counts.approved, counts.denied_stale, counts.compared
    );
    assert!(packets < 5_000 || loss < 100 || lost_on_both * 2_000_000 > packets * loss * loss, "{counts:?}");
    assert!(
        recovered > 0 && by_snapshot > 0 && lies > 0 && counts.approved > 1_000 && counts.denied_stale > 1_000,
        "{counts:?}"
    );
}

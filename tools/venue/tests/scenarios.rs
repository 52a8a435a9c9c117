//! What the venue does, worked out by hand.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Log, cents, config};
use peregrine_gateway::ouch50::{CancelReason, RejectReason};
use peregrine_types::{OrderRef, Price, Side, SymbolId};
use peregrine_venue::*;
use peregrine_wire::itch50::{Message, parse};

const ALFA: SymbolId = SymbolId(0);

/// A venue in the market's hours, and what it said since it was last asked.
struct Bench {
    venue: Venue,
    log: Log,
    time: u64,
}

impl Bench {
    fn new() -> Self {
        Self::at(5_001)
    }

    fn at(time: u64) -> Self {
        let mut bench = Self { venue: Venue::new(config()).expect("possible"), log: Log::default(), time };
        bench.say(Command::Clock);
        bench.log.0.clear();
        bench
    }

    /// Carries out a command: its order events.
    fn say(&mut self, command: Command) -> Vec<OrderEvent> {
        self.log.0.clear();
        self.time += 1;
        self.venue.apply(TimeOfDay(self.time), &command, &mut self.log);
        self.log.events()
    }

    fn enter(&mut self, account: u32, side: Side, qty: u32, terms: Terms) -> Vec<OrderEvent> {
        self.say(Command::Enter(NewOrder { account: AccountId(account), token: 0, symbol: ALFA, side, qty, terms }))
    }

    /// Enters an order that must be accepted: its reference.
    fn order(&mut self, side: Side, qty: u32, terms: Terms) -> OrderRef {
        match self.enter(0, side, qty, terms).first() {
            Some(OrderEvent::Accepted { order_ref, .. }) => *order_ref,
            other => panic!("{other:?}"),
        }
    }

    fn book(&self, side: Side) -> Vec<(u64, i64, u32)> {
        self.venue
            .displayed(ALFA, side)
            .map(|order| (order.display_ref.0, order.price.0 / 10_000_000, order.shares))
            .collect()
    }
}

/// Executions as (order, shares, price in hundredths of a cent).
fn fills(events: &[OrderEvent]) -> Vec<(u64, u32, i64)> {
    let fill = |event: &OrderEvent| match event {
        OrderEvent::Executed { order_ref, qty, price, .. } => Some((order_ref.0, *qty, price.0 / 100_000)),
        OrderEvent::Accepted { .. }
        | OrderEvent::Rejected { .. }
        | OrderEvent::Replaced { .. }
        | OrderEvent::Canceled { .. }
        | OrderEvent::Prevented { .. }
        | OrderEvent::Restated { .. }
        | OrderEvent::Triggered { .. }
        | OrderEvent::CancelPending { .. }
        | OrderEvent::CancelRejected { .. } => None,
    };
    events.iter().filter_map(fill).collect()
}

fn canceled(events: &[OrderEvent]) -> Vec<(u64, u32, CancelReason)> {
    let cancel = |event: &OrderEvent| {
        if let OrderEvent::Canceled { order_ref, qty, reason } = event {
            Some((order_ref.0, *qty, *reason))
        } else {
            None
        }
    };
    events.iter().filter_map(cancel).collect()
}

fn limit(price: i64) -> Terms {
    Terms::limit(cents(price))
}

#[test]
fn the_best_price_trades_first_and_at_one_price_the_oldest() {
    let mut bench = Bench::new();
    let (late, early) = (bench.order(Side::Sell, 100, limit(1_001)), bench.order(Side::Sell, 100, limit(1_000)));
    let second = bench.order(Side::Sell, 100, limit(1_000));
    let events = bench.enter(2, Side::Buy, 250, limit(1_001));
    let taker = second.0 + 1;
    let wanted = [
        (early.0, 100, 100_000),
        (taker, 100, 100_000),
        (second.0, 100, 100_000),
        (taker, 100, 100_000),
        (late.0, 50, 100_100),
        (taker, 50, 100_100),
    ];
    assert_eq!(fills(&events), wanted);
    assert_eq!(bench.log.types(), "EEE");
    assert_eq!((bench.book(Side::Sell), bench.book(Side::Buy)), (vec![(late.0, 1_001, 50)], vec![]));
    bench.enter(2, Side::Buy, 70, limit(1_002));
    assert_eq!((bench.log.types(), bench.book(Side::Buy)), ("EA".to_owned(), vec![(taker + 1, 1_002, 20)]));
}

#[test]
fn displayed_orders_come_before_hidden_ones_and_a_reserve_goes_to_the_back() {
    let mut bench = Bench::new();
    let hidden = bench.order(Side::Sell, 100, Terms { display: Display::Hidden, ..limit(1_000) });
    let reserve = bench.order(Side::Sell, 250, Terms { display: Display::Iceberg { floor: 100 }, ..limit(1_000) });
    let plain = bench.order(Side::Sell, 100, limit(1_000));
    let events = bench.enter(2, Side::Buy, 400, limit(1_000));
    let makers: Vec<(u64, u32)> = fills(&events).chunks(2).map(|pair| (pair[0].0, pair[0].1)).collect();
    assert_eq!(makers, [(reserve.0, 100), (plain.0, 100), (reserve.0, 100), (reserve.0, 50), (hidden.0, 50)]);
    assert_eq!(bench.log.types(), "EAEEAEP", "each part of the reserve is another order on the feed");
    assert_eq!(bench.book(Side::Sell), []);
}

#[test]
fn immediate_whole_and_market_orders_lose_their_rest() {
    let mut bench = Bench::new();
    bench.order(Side::Sell, 100, limit(1_000));
    let whole = Terms { lifetime: Lifetime::FillOrKill, ..limit(1_000) };
    assert_eq!(canceled(&bench.enter(2, Side::Buy, 101, whole)), [(2, 101, CancelReason::IMMEDIATE)]);
    let events = bench.enter(2, Side::Buy, 150, Terms { lifetime: Lifetime::ImmediateOrCancel, ..limit(1_000) });
    assert_eq!((fills(&events).len(), canceled(&events)), (2, vec![(3, 50, CancelReason::IMMEDIATE)]));
    bench.order(Side::Sell, 100, limit(1_000));
    assert_eq!(fills(&bench.enter(2, Side::Buy, 100, whole)).len(), 2);
    let market = Terms { price: None, ..Terms::default() };
    assert_eq!(canceled(&bench.enter(2, Side::Buy, 10, market)), [(6, 10, CancelReason::IMMEDIATE)]);
}

#[test]
fn post_only_never_takes() {
    let mut bench = Bench::new();
    bench.order(Side::Sell, 100, limit(1_000));
    let post = |price| Terms { is_post_only: true, ..limit(price) };
    assert_eq!(canceled(&bench.enter(2, Side::Buy, 10, post(1_000))), [(2, 10, CancelReason::POST_ONLY_CONTRA)]);
    assert_eq!(bench.enter(2, Side::Buy, 10, post(999)).len(), 1);
    assert_eq!(bench.book(Side::Buy), [(3, 999, 10)]);
}

#[test]
fn a_cancel_keeps_the_place_and_a_replace_loses_it() {
    let mut bench = Bench::new();
    let (first, second) = (bench.order(Side::Buy, 100, limit(999)), bench.order(Side::Buy, 100, limit(999)));
    bench.say(Command::Cancel { order_ref: first, qty: 60 });
    assert_eq!(
        (bench.log.types(), bench.book(Side::Buy)),
        ("X".to_owned(), vec![(first.0, 999, 60), (second.0, 999, 100)])
    );
    bench.say(Command::Cancel { order_ref: first, qty: 80 });
    assert_eq!((bench.log.types(), bench.book(Side::Buy)[0].2), (String::new(), 60), "a cancel never adds");
    let events = bench.say(Command::Replace { order_ref: first, token: 9, qty: 60, terms: limit(999) });
    let wanted = OrderEvent::Replaced { old_ref: first, token: 9, order_ref: OrderRef(3), open: 60 };
    assert_eq!((events, bench.log.types()), (vec![wanted], "U".to_owned()));
    assert_eq!(
        bench.book(Side::Buy),
        [(second.0, 999, 100), (3, 999, 60)],
        "the same price, and the back of the queue"
    );
    assert_eq!(bench.say(Command::Cancel { order_ref: first, qty: 0 }), [], "the old name finds nothing");
    // OUCH 5.0: 100 entered and 40 done; replaced with 100 leaves 60, cancelled to 50 leaves 10.
    bench.enter(2, Side::Sell, 40, limit(999));
    let events = bench.say(Command::Replace { order_ref: second, token: 1, qty: 100, terms: limit(998) });
    assert!(matches!(events[0], OrderEvent::Replaced { open: 60, .. }), "{events:?}");
    let newest = bench.book(Side::Buy).last().expect("it rests").0;
    assert_eq!(
        canceled(&bench.say(Command::Cancel { order_ref: OrderRef(newest), qty: 50 })),
        [(newest, 50, CancelReason::USER)]
    );
    let events =
        bench.say(Command::Replace { order_ref: OrderRef(newest), token: 1, qty: 1_000_000, terms: limit(998) });
    assert_eq!(canceled(&events), [(newest, 10, CancelReason::USER)], "a replace that cannot be removes the order");
}

#[test]
fn a_replacement_that_trades_is_removed_from_the_feed_first() {
    let mut bench = Bench::new();
    let own = bench.order(Side::Buy, 100, limit(998));
    bench.enter(2, Side::Sell, 30, limit(1_000));
    bench.say(Command::Replace { order_ref: own, token: 1, qty: 100, terms: limit(1_000) });
    assert_eq!(bench.log.types(), "DEA");
    assert_eq!(bench.book(Side::Buy), [(3, 1_000, 70)]);
}

#[test]
fn pegs_stand_in_the_middle_and_meet_when_it_appears() {
    let mut bench = Bench::new();
    let peg = Terms { price: None, is_midpoint_peg: true, display: Display::Hidden, ..Terms::default() };
    let buy = bench.order(Side::Buy, 100, peg);
    let sell = bench.enter(2, Side::Sell, 60, peg);
    assert_eq!(fills(&sell), [], "no middle, no trade");
    bench.order(Side::Buy, 10, limit(1_000));
    let events = bench.enter(2, Side::Sell, 10, limit(1_003));
    // The older peg, the buy, meets the other one at the middle of 10.00 and 10.03.
    assert_eq!(fills(&events), [(2, 60, 100_150), (buy.0, 60, 100_150)]);
    assert_eq!(bench.log.types(), "AP");
    let events = bench.enter(2, Side::Sell, 50, limit(1_000));
    assert_eq!(
        fills(&events),
        [(buy.0, 40, 100_150), (5, 40, 100_150), (3, 10, 100_000), (5, 10, 100_000)],
        "a peg is a better price"
    );
    let capped = bench.order(Side::Buy, 5, Terms { price: Some(cents(900)), ..peg });
    assert_eq!(fills(&bench.enter(2, Side::Sell, 5, limit(901))), [], "never worse than its limit");
    assert_eq!(bench.venue.open_and_spent(capped), Some((5, 0)));
}

#[test]
fn stop_orders_wake_up_by_a_trade_the_oldest_first() {
    let mut bench = Bench::new();
    let stop =
        |stop, price: Option<i64>| Terms { price: price.map(cents), stop_price: Some(cents(stop)), ..Terms::default() };
    let market = bench.order(Side::Buy, 10, stop(1_002, None));
    let with_limit = bench.order(Side::Buy, 10, stop(1_001, Some(1_001)));
    for price in [1_001, 1_002, 1_003] {
        bench.enter(2, Side::Sell, 10, limit(price));
    }
    let events = bench.enter(1, Side::Buy, 10, limit(1_001));
    let triggered: Vec<u64> = events
        .iter()
        .filter_map(|event| if let OrderEvent::Triggered { order_ref } = event { Some(order_ref.0) } else { None })
        .collect();
    assert_eq!(triggered, [with_limit.0], "the trade at 10.01 does not reach 10.02");
    assert_eq!(bench.book(Side::Buy).len(), 1, "and the limit order rests");
    let events = bench.enter(1, Side::Buy, 10, limit(1_002));
    assert_eq!(fills(&events)[2..], [(5, 10, 100_300), (market.0, 10, 100_300)]);
}

#[test]
fn a_firm_does_not_trade_with_itself_when_it_says_so() {
    let own = |self_trade| Terms { self_trade, ..limit(1_000) };
    let outcome = |self_trade| {
        let mut bench = Bench::new();
        bench.order(Side::Sell, 100, limit(1_000));
        bench.enter(2, Side::Sell, 100, limit(1_000));
        // Accounts 0 and 1 are of one firm, account 2 is not.
        let events = bench.enter(1, Side::Buy, 150, own(self_trade));
        let prevented: Vec<(u64, u32)> = events
            .iter()
            .filter_map(|event| {
                if let OrderEvent::Prevented { order_ref, qty, .. } = event { Some((order_ref.0, *qty)) } else { None }
            })
            .collect();
        (prevented, fills(&events), bench.log.types(), bench.book(Side::Sell))
    };
    let fill = |order, qty| (order, qty, 100_000);
    assert_eq!(outcome(SelfTrade::Allow).0, []);
    let (prevented, trades, types, left) = outcome(SelfTrade::CancelNewest);
    assert_eq!((prevented, trades, types.as_str(), left.len()), (vec![(3, 150)], vec![], "", 2));
    let (prevented, trades, types, left) = outcome(SelfTrade::CancelOldest);
    assert_eq!((prevented, trades, types.as_str()), (vec![(1, 100)], vec![fill(2, 100), fill(3, 100)], "DEA"));
    assert_eq!(left, []);
    let (prevented, trades, types, left) = outcome(SelfTrade::DecrementBoth);
    assert_eq!((prevented, trades, types.as_str()), (vec![(1, 100), (3, 100)], vec![fill(2, 50), fill(3, 50)], "DE"));
    assert_eq!(left, [(2, 1_000, 50)]);
}

#[test]
fn the_opening_cross_takes_the_price_of_most_volume() {
    let open = |price: Option<i64>| Terms { price: price.map(cents), auction: Auction::Opening, ..Terms::default() };
    let mut bench = Bench::at(100);
    let refs = [
        (Side::Buy, 100, limit(998)),
        (Side::Sell, 100, limit(1_002)),
        (Side::Buy, 300, open(None)),
        (Side::Buy, 200, open(Some(1_001))),
        (Side::Sell, 400, open(Some(999))),
    ]
    .map(|(side, qty, terms)| bench.order(side, qty, terms));
    let [_, _, market, buy, sell] = refs;
    assert_eq!((bench.say(Command::Imbalance { symbol: ALFA }), bench.log.types()), (vec![], "I".to_owned()));
    let Some(common::Said::Market(_, bytes)) = bench.log.0.first() else { panic!("a message of the feed") };
    let Ok(Message::NetOrderImbalance(noii)) = parse(bytes) else { panic!("it is an I") };
    assert_eq!((noii.paired_shares.get(), noii.imbalance_shares.get(), noii.imbalance_direction), (400, 100, b'B'));
    assert_eq!((noii.near_price.get(), noii.far_price.get(), noii.cross_type), (100_000, 100_000, b'O'));
    assert_eq!((noii.current_reference_price.get(), noii.price_variation), (100_000, b'L'));
    // Demand is 500 up to 10.01 and 300 above, supply 400 from 9.99 to 10.01: 9.99, 10.00 and 10.01 tie in volume and
    // imbalance, and 10.00 is the previous close.
    bench.time = 4_999;
    let events = bench.say(Command::Clock);
    let price = 100_000;
    assert_eq!(
        fills(&events),
        [(market.0, 300, price), (sell.0, 300, price), (buy.0, 100, price), (sell.0, 100, price)]
    );
    assert_eq!(canceled(&events), [(buy.0, 100, CancelReason::TIMEOUT)]);
    assert_eq!(bench.log.types(), "SQQQ", "one cross for each symbol, also when nothing paired");
    assert_eq!((bench.book(Side::Buy).len(), bench.book(Side::Sell).len()), (1, 1));
    assert_eq!(bench.venue.phase(), Phase::Market);
}

#[test]
fn late_orders_of_a_cross_cannot_be_taken_back() {
    let mut bench = Bench::at(100);
    let open = Terms { auction: Auction::Opening, ..limit(999) };
    let order = bench.order(Side::Buy, 100, open);
    bench.time = 4_600;
    assert_eq!(
        bench.say(Command::Cancel { order_ref: order, qty: 50 }),
        [OrderEvent::CancelRejected { order_ref: order }]
    );
    assert_eq!(
        bench.say(Command::Cancel { order_ref: order, qty: 0 }),
        [OrderEvent::CancelPending { order_ref: order }]
    );
    assert_eq!(bench.say(Command::Cancel { order_ref: order, qty: 0 }), [], "told once");
    let events = bench.say(Command::Replace { order_ref: order, token: 5, qty: 10, terms: open });
    assert_eq!(events, [OrderEvent::Rejected { token: 5, reason: RejectReason::REPLACE_NOT_ALLOWED }]);
    bench.time = 4_999;
    assert_eq!(canceled(&bench.say(Command::Clock)), [(order.0, 100, CancelReason::USER)]);
}

#[test]
fn a_halt_stops_trading_and_the_reopening_crosses_what_gathered() {
    let mut bench = Bench::new();
    let bid = bench.order(Side::Buy, 100, limit(1_000));
    bench.say(Command::Halt { symbol: ALFA, reason: *b"T1  " });
    let events = bench.enter(2, Side::Sell, 10, limit(1_000));
    assert_eq!(events, [OrderEvent::Rejected { token: 0, reason: RejectReason::HALTED }]);
    assert_eq!(canceled(&bench.say(Command::Cancel { order_ref: bid, qty: 90 })).len(), 1, "cancels work");
    bench.say(Command::Quote { symbol: ALFA });
    assert_eq!(fills(&bench.enter(2, Side::Sell, 50, limit(996))), [], "crossed, and not matched");
    let events = bench.say(Command::Resume { symbol: ALFA });
    // 10.00 and 9.96 tie in volume and imbalance: the previous close of 10.00 decides.
    assert_eq!(fills(&events), [(bid.0, 50, 100_000), (2, 50, 100_000)]);
    assert_eq!((bench.log.types(), bench.book(Side::Buy)), ("CCQH".to_owned(), vec![(bid.0, 1_000, 40)]));
}

#[test]
fn nothing_trades_beyond_the_bands() {
    let mut bench = Bench::new();
    let beyond = bench.order(Side::Buy, 10, limit(1_004));
    let bands = Some(Bands { lower: cents(998), upper: cents(1_002) });
    let events = bench.say(Command::SetBands { symbol: ALFA, bands });
    assert_eq!(canceled(&events), [(beyond.0, 10, CancelReason::REGULATORY)]);
    bench.enter(2, Side::Sell, 10, limit(1_002));
    bench.enter(2, Side::Sell, 10, limit(1_003));
    let events = bench.enter(0, Side::Buy, 30, Terms { price: None, ..Terms::default() });
    assert_eq!((fills(&events).len(), canceled(&events)), (2, vec![(4, 20, CancelReason::MARKET_COLLARS)]));
    let events = bench.enter(0, Side::Buy, 1, limit(1_003));
    assert_eq!(events, [OrderEvent::Rejected { token: 0, reason: RejectReason::PRICE }]);
}

#[test]
fn the_day_ends_with_the_close_and_everything_with_the_system() {
    let mut bench = Bench::new();
    let day = bench.order(Side::Buy, 10, limit(999));
    let extended = bench.order(Side::Buy, 10, Terms { lifetime: Lifetime::Extended, ..limit(999) });
    bench.time = 30_000;
    let events = bench.say(Command::Clock);
    assert_eq!((canceled(&events), bench.log.types()), (vec![(day.0, 10, CancelReason::CLOSED)], "SQQQD".to_owned()));
    let events = bench.enter(0, Side::Buy, 10, limit(999));
    assert_eq!(events, [OrderEvent::Rejected { token: 0, reason: RejectReason::DESTINATION_CLOSED }]);
    bench.time = 50_000;
    assert_eq!(canceled(&bench.say(Command::Clock)), [(extended.0, 10, CancelReason::TIMEOUT)]);
    assert_eq!(bench.log.types(), "SDS");
    assert_eq!((bench.venue.order_count(), bench.venue.phase()), (0, Phase::Closed));
}

fn until(end: u64, terms: Terms) -> Terms {
    Terms { lifetime: Lifetime::Until(TimeOfDay(end)), ..terms }
}

/// The references of the orders of a snapshot.
fn snapshot(bench: &Bench) -> Vec<u64> {
    let mut shown = Vec::new();
    bench.venue.snapshot(1, &mut |message| {
        if let Ok(Message::AddOrder(order)) = parse(message) {
            shown.push(order.order_ref.get());
        }
    });
    shown
}

#[test]
fn an_order_that_lives_until_a_time_ends_before_everything_else_of_that_time() {
    let mut bench = Bench::new();
    let late = bench.order(Side::Buy, 10, until(6_000, limit(999)));
    let gone = bench.order(Side::Buy, 10, until(5_500, limit(998)));
    let bid = bench.order(Side::Buy, 10, limit(997));
    bench.say(Command::Cancel { order_ref: gone, qty: 0 });
    assert_eq!(snapshot(&bench), [late.0, bid.0]);
    // The sale of that moment comes behind its end, and finds the order below it.
    bench.time = 5_999;
    let events = bench.enter(2, Side::Sell, 10, limit(997));
    assert_eq!(canceled(&events), [(late.0, 10, CancelReason::TIMEOUT)]);
    assert_eq!(fills(&events), [(bid.0, 10, 99_700), (bid.0 + 1, 10, 99_700)]);
    assert_eq!((bench.log.types(), snapshot(&bench)), ("DE".to_owned(), vec![]));
    for end in [5_000, bench.time, bench.time + 1] {
        let events = bench.enter(0, Side::Buy, 10, until(end, limit(999)));
        assert_eq!(events, [OrderEvent::Rejected { token: 0, reason: RejectReason::OTHER }], "{end}");
    }
    // In a halt it ends too, and before the closing cross of that very time, which it has no part in.
    let halted = bench.order(Side::Buy, 10, until(7_000, limit(999)));
    bench.say(Command::Halt { symbol: ALFA, reason: *b"T1  " });
    bench.time = 7_000;
    assert_eq!(canceled(&bench.say(Command::Clock)), [(halted.0, 10, CancelReason::TIMEOUT)]);
    bench.say(Command::Resume { symbol: ALFA });
    let closing = bench.order(Side::Buy, 10, until(30_000, limit(999)));
    let cross = Terms { auction: Auction::Closing, ..limit(999) };
    let sale = bench.order(Side::Sell, 10, cross);
    let after = bench.order(Side::Buy, 10, until(35_000, limit(990)));
    bench.time = 30_000;
    let events = bench.say(Command::Clock);
    assert_eq!((fills(&events), bench.venue.order_count()), (vec![], 1));
    let timeout = CancelReason::TIMEOUT;
    assert_eq!(canceled(&events), [(closing.0, 10, timeout), (sale.0, 10, timeout)]);
    // It is no day order, and ends with the system at the latest.
    let long = bench.order(Side::Buy, 10, until(90_000, limit(989)));
    bench.time = 50_000;
    assert_eq!(canceled(&bench.say(Command::Clock)), [(after.0, 10, timeout), (long.0, 10, timeout)]);
}

#[test]
fn the_end_of_an_order_moves_the_middle_and_lets_others_trade() {
    let mut bench = Bench::new();
    bench.enter(2, Side::Sell, 10, limit(1_010));
    let top = bench.order(Side::Buy, 10, until(6_000, limit(1_006)));
    bench.order(Side::Buy, 10, limit(1_000));
    // The middle is 10.08; a seller at no less than 10.05 waits there, a buyer at no more than 10.06 below it.
    let peg = |price| Terms { is_midpoint_peg: true, display: Display::Hidden, ..limit(price) };
    let seller = bench.order(Side::Sell, 10, peg(1_005));
    let buyer = bench.order(Side::Buy, 10, peg(1_006));
    bench.time = 8_000;
    let events = bench.say(Command::Clock);
    // Without the best bid the middle is 10.05, which both accept.
    assert_eq!(canceled(&events), [(top.0, 10, CancelReason::TIMEOUT)]);
    assert_eq!(fills(&events), [(buyer.0, 10, 100_500), (seller.0, 10, 100_500)]);
    let at = bench.log.0.iter().map(|said| match said {
        common::Said::Order(time, ..) | common::Said::Market(time, _) => time.0,
    });
    assert!(at.clone().all(|time| time == 6_000) && at.count() > 3, "each at its time, whoever looked when");
}

#[test]
fn capacities_are_refusals() {
    let small = VenueConfig { order_count_max: 2, reference_count_max: 4, side_level_count_max: 1, ..config() };
    let mut bench = Bench { venue: Venue::new(small).expect("possible"), log: Log::default(), time: 5_001 };
    bench.order(Side::Buy, 10, limit(999));
    assert_eq!(canceled(&bench.enter(0, Side::Buy, 10, limit(998))), [(2, 10, CancelReason::SYSTEM)], "no level");
    bench.order(Side::Buy, 10, limit(999));
    let full = |reason| vec![OrderEvent::Rejected { token: 0, reason }];
    assert_eq!(bench.enter(0, Side::Buy, 10, limit(999)), full(RejectReason::PROCESSING_ERROR), "no slot");
    bench.say(Command::Cancel { order_ref: OrderRef(1), qty: 0 });
    bench.order(Side::Buy, 10, limit(999));
    bench.say(Command::Cancel { order_ref: OrderRef(3), qty: 0 });
    assert_eq!(bench.enter(0, Side::Buy, 10, limit(999)), full(RejectReason::PROCESSING_ERROR), "no reference");
    assert_eq!(bench.enter(7, Side::Buy, 10, limit(999)), full(RejectReason::FIRM_NOT_AUTHORIZED));
    let bad = VenueConfig { level_count_max: 0, ..config() };
    assert_eq!(Venue::new(bad).expect_err("no levels").key, "level_count_max");
    let mut bad = config();
    bad.symbols[1].reference_price = Price(1);
    assert_eq!(Venue::new(bad).expect_err("off the tick").value, 1);
}

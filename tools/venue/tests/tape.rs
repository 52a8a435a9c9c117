//! A tape's orders and a participant's in one book.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{cents, config};
use peregrine_types::{EpochNanos, OrderRef, Price, Side, Symbol, SymbolId};
use peregrine_venue::*;
use peregrine_wire::itch50::*;
use zerocopy::IntoBytes;

/// An exchange in its market hours, a flow, and what the feed said.
struct Market {
    exchange: Exchange,
    flow: TapeFlow,
    feed: Vec<Vec<u8>>,
    time: u64,
}

impl Market {
    fn new() -> Self {
        let exchange = Exchange::new(config(), &[], VenueClock::from_midnight(EpochNanos(0))).unwrap();
        let mut market = Self { exchange, flow: TapeFlow::new(AccountId(4)), feed: vec![], time: 6_000 };
        market.play(&StockDirectory { stock: Symbol::new("ALFA").unwrap(), ..StockDirectory::new(1, 0) });
        let mut quiet = |_: TimeOfDay, _: &[u8]| {};
        market.exchange.apply_at(&Command::Clock, TimeOfDay(market.time), EpochNanos(0), &mut quiet);
        market
    }

    fn play(&mut self, message: &(impl IntoBytes + zerocopy::Immutable)) {
        self.time += 1;
        let at = (TimeOfDay(self.time), EpochNanos(0));
        let feed = &mut self.feed;
        let mut sink = |_: TimeOfDay, message: &[u8]| feed.push(message.to_vec());
        self.flow.apply(message.as_bytes(), at, &mut self.exchange, &mut sink);
    }

    fn own(&mut self, side: Side, qty: u32, price: Price) -> OrderRef {
        self.time += 1;
        let symbol = SymbolId(0);
        let order = NewOrder { account: AccountId(0), token: 0, symbol, side, qty, terms: Terms::limit(price) };
        let feed = &mut self.feed;
        let mut sink = |_: TimeOfDay, message: &[u8]| feed.push(message.to_vec());
        let time = TimeOfDay(self.time);
        self.exchange.apply_at(&Command::Enter(order), time, EpochNanos(0), &mut sink).unwrap()
    }

    fn add(&mut self, order_ref: u64, side: u8, shares: u32, price: Price) {
        self.play(&AddOrder {
            order_ref: order_ref.into(),
            side,
            shares: shares.into(),
            stock: Symbol::new("ALFA").unwrap(),
            price: Price4::from_price(price).unwrap(),
            ..AddOrder::new(1, 0)
        });
    }

    fn execute(&mut self, order_ref: u64, shares: u32) {
        self.play(&OrderExecuted {
            order_ref: order_ref.into(),
            executed_shares: shares.into(),
            ..OrderExecuted::new(1, 0)
        });
    }

    /// Shares by price of one side, the best first.
    fn side(&self, side: Side) -> Vec<(Price, u32)> {
        self.exchange.venue().displayed(SymbolId(0), side).map(|order| (order.price, order.shares)).collect()
    }

    fn types(&mut self) -> String {
        self.feed.drain(..).map(|message| char::from(message[0])).collect()
    }
}

#[test]
fn without_others_the_book_is_the_tape_s() {
    let mut market = Market::new();
    market.add(11, b'B', 300, cents(1_000));
    market.add(12, b'B', 200, cents(1_000));
    market.add(13, b'S', 500, cents(1_002));
    market.execute(11, 100);
    assert_eq!(market.side(Side::Buy), [(cents(1_000), 200), (cents(1_000), 200)]);
    market.play(&OrderCancel { order_ref: 12.into(), cancelled_shares: 50.into(), ..OrderCancel::new(1, 0) });
    let replace = OrderReplace {
        original_order_ref: 13.into(),
        new_order_ref: 14.into(),
        shares: 400.into(),
        price: Price4::from_price(cents(1_001)).unwrap(),
        ..OrderReplace::new(1, 0)
    };
    market.play(&replace);
    assert_eq!(market.side(Side::Buy), [(cents(1_000), 200), (cents(1_000), 150)]);
    assert_eq!(market.side(Side::Sell), [(cents(1_001), 400)]);
    market.play(&OrderDelete { order_ref: 11.into(), ..OrderDelete::new(1, 0) });
    assert_eq!(market.side(Side::Buy), [(cents(1_000), 150)]);
    assert_eq!(market.types(), "AAAEXUD");
    // A hidden trade inside the spread is one; at the touch it would trade with orders that the tape did not mean.
    let trade = TradeNonCross {
        shares: 70.into(),
        stock: Symbol::new("ALFA").unwrap(),
        price: Price4::from_price(cents(1_000)).unwrap(),
        ..TradeNonCross::new(1, 0)
    };
    market.play(&trade);
    assert_eq!(market.types(), "");
    market.add(15, b'S', 100, cents(1_003));
    market.play(&OrderDelete { order_ref: 14.into(), ..OrderDelete::new(1, 0) });
    market.play(&TradeNonCross { price: Price4::from_price(cents(1_001)).unwrap(), ..trade });
    assert_eq!(market.types(), "ADP");
    assert_eq!((market.flow.counters().unknown_count, market.flow.counters().refused_count), (0, 0));
}

#[test]
fn an_own_order_that_stands_first_is_filled_and_the_tape_s_is_cut_down() {
    let mut market = Market::new();
    let own = market.own(Side::Buy, 80, cents(1_000));
    market.add(21, b'B', 300, cents(1_000));
    market.execute(21, 100);
    assert_eq!(market.exchange.venue().open_and_spent(own), None, "80 of the 100 were ours");
    assert_eq!(market.side(Side::Buy), [(cents(1_000), 200)], "the tape says that 200 are left");
    assert_eq!(market.types(), "AAEEX");
    // Behind the tape's order an own one waits its turn.
    let own = market.own(Side::Buy, 80, cents(1_000));
    market.execute(21, 200);
    assert_eq!(market.exchange.venue().open_and_spent(own), Some((80, 0)));
    assert_eq!(market.side(Side::Buy), [(cents(1_000), 80)]);
}

#[test]
fn what_we_took_is_gone_and_an_order_that_meets_ours_trades_with_it() {
    let mut market = Market::new();
    market.add(31, b'S', 100, cents(1_000));
    market.own(Side::Buy, 100, cents(1_000));
    assert_eq!(market.side(Side::Sell), []);
    // The tape goes on as if it were there.
    market.execute(31, 60);
    market.play(&OrderDelete { order_ref: 31.into(), ..OrderDelete::new(1, 0) });
    assert_eq!((market.side(Side::Sell), market.side(Side::Buy)), (vec![], vec![]));
    assert_eq!(market.flow.order_count(), 0);
    let own = market.own(Side::Buy, 100, cents(1_000));
    market.add(32, b'S', 40, cents(1_000));
    assert_eq!(market.exchange.venue().open_and_spent(own), Some((60, 40)));
    market.types();
    // Unknown orders and symbols are counted, not guessed.
    market.execute(99, 10);
    market.play(&AddOrder { stock: Symbol::new("ZULU").unwrap(), ..AddOrder::new(7, 0) });
    market.play(&OrderDelete { order_ref: 98.into(), ..OrderDelete::new(1, 0) });
    assert_eq!((market.flow.counters().unknown_count, market.types().as_str()), (3, ""));
}

#[test]
fn halts_of_the_tape_are_halts() {
    let mut market = Market::new();
    let mut act = |state: u8| {
        let stock = Symbol::new("ALFA").unwrap();
        market.play(&StockTradingAction {
            stock,
            trading_state: state,
            reason: *b"T1  ",
            ..StockTradingAction::new(1, 0)
        });
        (market.types(), market.exchange.venue().symbol_state(SymbolId(0)).unwrap())
    };
    assert_eq!(act(b'T'), (String::new(), SymbolState::Trading));
    assert_eq!(act(b'H'), ("H".to_owned(), SymbolState::Halted));
    assert_eq!(act(b'Q'), ("H".to_owned(), SymbolState::QuotationOnly));
    assert_eq!(act(b'T').1, SymbolState::Trading);
    assert_eq!(act(b'P'), ("H".to_owned(), SymbolState::QuotationOnly), "orders are taken in a pause");
    let (types, state) = act(b'T');
    assert_eq!(state, SymbolState::Trading);
    assert!(types.contains('H') && types.contains('Q'), "a cross reopens it: {types}");
}

//! Sessions made by hand: messages of one symbol, ACME, whose locate is 7.

use std::path::Path;

use peregrine_convert::{DbnSchema, DbnSummary, write_dbn};
use peregrine_source::binaryfile;
use peregrine_source::market::InputPlan;
use peregrine_types::{Nanos, Symbol};
use peregrine_wire::itch50::*;
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes};

pub(crate) const LOCATE: u16 = 7;

/// Messages, one after the other.
#[derive(Clone, Default)]
pub(crate) struct Messages(pub(crate) Vec<Vec<u8>>);

impl Messages {
    fn push(&mut self, message: &(impl IntoBytes + Immutable)) -> &mut Self {
        self.0.push(message.as_bytes().to_vec());
        self
    }

    /// Nanoseconds after midnight of the next message: a second apart from 10:00 on.
    fn time(&self) -> u64 {
        (36_000 + u64::try_from(self.0.len()).unwrap()) * 1_000_000_000
    }

    pub(crate) fn event(&mut self, code: u8) -> &mut Self {
        let mut message = SystemEvent::new(0, self.time());
        message.event_code = code;
        self.push(&message)
    }

    pub(crate) fn directory(&mut self, round_lot: u32) -> &mut Self {
        let mut message = StockDirectory::new(LOCATE, self.time());
        message.stock = acme();
        message.market_category = b'Q';
        message.round_lot_size = U32::new(round_lot);
        self.push(&message)
    }

    pub(crate) fn state(&mut self, state: u8, reason: [u8; 4]) -> &mut Self {
        let mut message = StockTradingAction::new(LOCATE, self.time());
        message.stock = acme();
        (message.trading_state, message.reserved, message.reason) = (state, b' ', reason);
        self.push(&message)
    }

    pub(crate) fn price_test(&mut self, action: u8) -> &mut Self {
        let mut message = RegShoRestriction::new(LOCATE, self.time());
        (message.stock, message.reg_sho_action) = (acme(), action);
        self.push(&message)
    }

    pub(crate) fn halt(&mut self, market: u8, action: u8) -> &mut Self {
        let mut message = OperationalHalt::new(LOCATE, self.time());
        (message.stock, message.market_code, message.action) = (acme(), market, action);
        self.push(&message)
    }

    /// Prices in tenths.
    pub(crate) fn add(&mut self, order: u64, side: u8, shares: u32, tenths: u32) -> &mut Self {
        let mut message = AddOrder::new(LOCATE, self.time());
        message.order_ref = U64::new(order);
        (message.side, message.stock) = (side, acme());
        (message.shares, message.price) = (U32::new(shares), Price4::new(tenths * 1_000));
        self.push(&message)
    }

    pub(crate) fn execute(&mut self, order: u64, shares: u32, matched: u64) -> &mut Self {
        let mut message = OrderExecuted::new(LOCATE, self.time());
        (message.order_ref, message.executed_shares) = (U64::new(order), U32::new(shares));
        message.match_number = U64::new(matched);
        self.push(&message)
    }

    pub(crate) fn execute_at(&mut self, order: u64, shares: u32, (tenths, printable): (u32, u8)) -> &mut Self {
        let mut message = OrderExecutedWithPrice::new(LOCATE, self.time());
        (message.order_ref, message.executed_shares) = (U64::new(order), U32::new(shares));
        (message.execution_price, message.printable) = (Price4::new(tenths * 1_000), printable);
        message.match_number = U64::new(1_000 + order);
        self.push(&message)
    }

    pub(crate) fn replace(&mut self, order: u64, new: u64, shares: u32, tenths: u32) -> &mut Self {
        let mut message = OrderReplace::new(LOCATE, self.time());
        (message.original_order_ref, message.new_order_ref) = (U64::new(order), U64::new(new));
        (message.shares, message.price) = (U32::new(shares), Price4::new(tenths * 1_000));
        self.push(&message)
    }

    pub(crate) fn trade(&mut self, shares: u32, tenths: u32, matched: u64) -> &mut Self {
        let mut message = TradeNonCross::new(LOCATE, self.time());
        (message.side, message.stock) = (b'B', acme());
        (message.shares, message.price) = (U32::new(shares), Price4::new(tenths * 1_000));
        message.match_number = U64::new(matched);
        self.push(&message)
    }

    pub(crate) fn cross(&mut self, cross_type: u8, shares: u64, tenths: u32, matched: u64) -> &mut Self {
        let mut message = CrossTrade::new(LOCATE, self.time());
        (message.shares, message.stock) = (U64::new(shares), acme());
        (message.cross_price, message.match_number) = (Price4::new(tenths * 1_000), U64::new(matched));
        message.cross_type = cross_type;
        self.push(&message)
    }

    pub(crate) fn broken(&mut self, matched: u64) -> &mut Self {
        let mut message = BrokenTrade::new(LOCATE, self.time());
        message.match_number = U64::new(matched);
        self.push(&message)
    }

    /// Far, near and reference price in tenths.
    pub(crate) fn imbalance(&mut self, shares: (u64, u64), direction: u8, prices: (u32, u32, u32)) -> &mut Self {
        let mut message = NetOrderImbalance::new(LOCATE, self.time());
        (message.paired_shares, message.imbalance_shares) = (U64::new(shares.0), U64::new(shares.1));
        (message.imbalance_direction, message.stock) = (direction, acme());
        (message.far_price, message.near_price) = (Price4::new(prices.0 * 1_000), Price4::new(prices.1 * 1_000));
        message.current_reference_price = Price4::new(prices.2 * 1_000);
        (message.cross_type, message.price_variation) = (b'O', b'L');
        self.push(&message)
    }
}

fn acme() -> Symbol {
    Symbol::new("ACME").unwrap()
}

/// A short session with a message of every kind that a schema has a record for.
pub(crate) fn every_message() -> Messages {
    let mut messages = Messages::default();
    messages.event(b'O').directory(100).state(b'T', *b"    ").event(b'S').event(b'Q');
    messages.imbalance((4_000, 600), b'S', (0, 102, 100)).imbalance((4_100, 0), b'N', (0, 0, 100));
    messages.cross(b'O', 500, 100, 50);
    messages.add(1, b'B', 200, 100).add(2, b'B', 100, 100).add(3, b'B', 50, 99).add(4, b'S', 100, 101);
    messages.execute(4, 30, 51);
    messages.state(b'H', *b"LUDP").price_test(b'1').halt(b'Q', b'H').halt(b'Q', b'T').halt(b'X', b'H');
    messages.event(b'M').event(b'E').event(b'C');
    messages
}

/// The messages as a session of 2026-01-05 in a file of `folder`.
pub(crate) fn of(folder: &Path, messages: &Messages) -> InputPlan {
    let path = folder.join("acme.itch50");
    let mut out = binaryfile::Writer::new(Vec::new());
    messages.0.iter().for_each(|message| out.write_message(message).unwrap());
    std::fs::write(&path, out.finish().unwrap()).unwrap();
    InputPlan {
        files: vec![path],
        date: Some(jiff::civil::date(2026, 1, 5)),
        zone: "America/New_York".to_owned(),
        symbol_count_max: 100,
        reorder_window: Nanos(1),
        is_sequence_checked: true,
        mdp3: peregrine_source::market::Mdp3Plan::default(),
    }
}

/// A session as DBN.
pub(crate) fn written(plan: &InputPlan, schema: DbnSchema) -> (DbnSummary, Vec<u8>) {
    let mut bytes = Vec::new();
    let summary = write_dbn(plan, schema, &mut bytes).unwrap();
    (summary, bytes)
}

/// A sound session as DBN.
pub(crate) fn bytes(plan: &InputPlan, schema: DbnSchema) -> Vec<u8> {
    let (summary, bytes) = written(plan, schema);
    assert!(summary.is_sound, "{summary:?}");
    bytes
}

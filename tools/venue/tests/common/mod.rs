//! What the tests share: commands made from bytes, sinks, and a desk that watches a venue from outside.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses its part")]

use std::collections::BTreeMap;

use peregrine_book::{BookConfig, Books, MarketBooks};
use peregrine_gateway::ouch50::{EnterOrder, OuchPrice, Text};
use peregrine_types::{
    EpochNanos, EventFlags, Full, MarketEvent, OrderRef, Price, Qty, Side, Symbol, SymbolId, TickTable,
};
use peregrine_venue::*;
use peregrine_wire::itch50::{Decoded, Decoder};

/// Everything that a venue said, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Order(TimeOfDay, AccountId, OrderEvent),
    Market(TimeOfDay, Vec<u8>),
}

/// A sink that keeps everything.
#[derive(Debug, Default)]
pub(crate) struct Log(pub(crate) Vec<Said>);

impl VenueSink for Log {
    fn on_order(&mut self, time: TimeOfDay, account: AccountId, event: OrderEvent) {
        self.0.push(Said::Order(time, account, event));
    }

    fn on_market(&mut self, time: TimeOfDay, message: &[u8]) {
        self.0.push(Said::Market(time, message.to_vec()));
    }
}

impl Log {
    pub(crate) fn events(&self) -> Vec<OrderEvent> {
        let event = |said: &Said| match said {
            Said::Order(_, _, event) => Some(*event),
            Said::Market(..) => None,
        };
        self.0.iter().filter_map(event).collect()
    }

    /// The types of the feed's messages.
    pub(crate) fn types(&self) -> String {
        let code = |said: &Said| match said {
            Said::Order(..) => None,
            Said::Market(_, message) => Some(char::from(message[0])),
        };
        self.0.iter().filter_map(code).collect()
    }
}

pub(crate) const fn cents(cents: i64) -> Price {
    Price(cents * 10_000_000)
}

/// A short day in small steps of time: open at 5,000, close at 30,000.
pub(crate) fn short_day() -> DaySchedule {
    DaySchedule { times: [0, 1, 5_000, 30_000, 40_000, 41_000].map(TimeOfDay), late_ns: 500 }
}

/// Three symbols (the last below a dollar, where ticks are 0.0001) and five accounts of three firms.
pub(crate) fn config() -> VenueConfig {
    let symbol = |name: &str, reference_price| SymbolConfig {
        name: Symbol::new(name).expect("a name"),
        ticks: TickTable::US_EQUITY,
        round_lot: 100,
        reference_price,
    };
    VenueConfig {
        symbols: vec![symbol("ALFA", cents(1_000)), symbol("BRAVO", cents(2_000)), symbol("PENNY", cents(50))],
        firms: [0, 0, 1, 1, 2].map(FirmId).to_vec(),
        schedule: short_day(),
        order_count_max: 10_000,
        reference_count_max: 100_000,
        level_count_max: 4_000,
        side_level_count_max: 500,
    }
}

/// A command and the time that passes before it, from `now` on, made from bytes: any bytes make one, and smaller bytes make simpler
/// ones.
pub(crate) fn command(bytes: [u8; 16], ref_last: u64, now: u64) -> (u64, Command) {
    let [
        kind,
        symbol,
        account,
        qty,
        price,
        lifetime,
        display,
        flags,
        stop,
        own,
        pick_a,
        pick_b,
        side,
        more,
        wait,
        jump,
    ] = bytes;
    let waited = u64::from(wait % 64) + if jump > 250 { 2_000 } else { 0 };
    let symbol = SymbolId(u32::from(symbol % 3));
    let picked = u64::from(u16::from_be_bytes([pick_a, pick_b]));
    // Mostly the latest orders, which are alive more often.
    let order_ref = OrderRef(ref_last.saturating_sub(picked % (ref_last.min(40) + 1)).max(1));
    let shares = u32::from(qty % 50 + 1) * 10;
    let mut terms = terms([price, lifetime, display, flags, stop, own], symbol, shares);
    if (120..160).contains(&lifetime) {
        // From a little before it arrives to a few commands behind it, some far behind; many end together.
        let ahead = if lifetime >= 155 { 4_000 } else { u64::from(own) };
        terms.lifetime = Lifetime::Until(TimeOfDay((now + waited + ahead).saturating_sub(10) / 16 * 16));
    }
    let side = Side::BOTH[usize::from(side & 1)];
    let command = match kind {
        150..=179 => Command::Cancel { order_ref, qty: if more < 128 { 0 } else { shares } },
        180..=209 => Command::Replace { order_ref, token: picked, qty: shares + u32::from(more), terms },
        210..=213 => {
            let middle = base(symbol);
            let step = step(symbol);
            let bands = Bands {
                lower: Price(middle.0 - i64::from(qty % 12) * step),
                upper: Price(middle.0 + i64::from(more % 12) * step),
            };
            Command::SetBands { symbol, bands: (own < 128).then_some(bands) }
        }
        214..=216 => Command::Halt { symbol, reason: *b"T1  " },
        217..=218 => Command::Quote { symbol },
        219 => Command::Pause { symbol, reason: *b"LUDP" },
        220..=231 => Command::Resume { symbol },
        232 => Command::Break { symbol, match_number: picked },
        233 => Command::Clock,
        _ => {
            let account = AccountId(u32::from(account % 5) + u32::from(account == 255));
            let symbol = if account.0 == 3 && more == 255 { SymbolId(9) } else { symbol };
            Command::Enter(NewOrder {
                account,
                token: picked,
                symbol,
                side,
                qty: if qty == 255 { 0 } else { shares },
                terms,
            })
        }
    };
    (waited, command)
}

fn base(symbol: SymbolId) -> Price {
    [cents(1_000), cents(2_000), cents(50)][symbol.index()]
}

fn step(symbol: SymbolId) -> i64 {
    [10_000_000, 10_000_000, 100_000][symbol.index()]
}

fn terms([price, lifetime, display, flags, stop, own]: [u8; 6], symbol: SymbolId, shares: u32) -> Terms {
    let at = |offset: u8| Price(base(symbol).0 + (i64::from(offset % 16) - 8) * step(symbol));
    let is_midpoint_peg = flags % 16 == 9;
    Terms {
        price: match price {
            240..=254 => None,
            255 => Some(Price(at(price).0 + 1)),
            0..=239 => Some(at(price)),
        },
        lifetime: match lifetime {
            0..=159 => Lifetime::Day,
            160..=199 => Lifetime::Extended,
            200..=227 => Lifetime::ImmediateOrCancel,
            228..=255 => Lifetime::FillOrKill,
        },
        display: match display {
            _ if is_midpoint_peg => Display::Hidden,
            0..=149 => Display::Displayed,
            150..=199 => Display::Hidden,
            200..=255 => Display::Iceberg { floor: (shares / u32::from(display % 7 + 1)).max(1) },
        },
        is_post_only: flags % 16 == 10,
        is_midpoint_peg,
        stop_price: (stop > 235).then(|| at(stop)),
        auction: match stop {
            200..=217 => Auction::Opening,
            218..=235 => Auction::Closing,
            0..=199 | 236..=255 => Auction::None,
        },
        self_trade: match own % 8 {
            0..=3 => SelfTrade::Allow,
            4 => SelfTrade::DecrementBoth,
            5 => SelfTrade::CancelOldest,
            _ => SelfTrade::CancelNewest,
        },
    }
}

#[derive(Debug)]
struct Held {
    account: AccountId,
    symbol: SymbolId,
    side: Side,
    open: u32,
}

/// Watches a venue from outside: a book rebuilt from its feed, and shares and cash counted from its order events.
pub(crate) struct Desk {
    decoder: Decoder,
    books: Books,
    orders: BTreeMap<OrderRef, Held>,
    positions: BTreeMap<(AccountId, SymbolId), i64>,
    cash: BTreeMap<AccountId, i128>,
    /// Shares of each side by execution: both must be there, and equal.
    matches: BTreeMap<u64, Vec<(Side, u32, Price)>>,
    seen: usize,
    last_traded: u64,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            decoder: Decoder::new(EpochNanos(0), 16),
            books: Books::new(BookConfig::new(16, 20_000, 20_000)).expect("possible"),
            orders: BTreeMap::new(),
            positions: BTreeMap::new(),
            cash: BTreeMap::new(),
            matches: BTreeMap::new(),
            seen: 0,
            last_traded: 0,
        }
    }

    pub(crate) const fn traded(&self) -> u64 {
        self.last_traded
    }

    /// Takes what came of one command.
    pub(crate) fn take(&mut self, command: &Command, log: &Log) {
        for said in &log.0[self.seen..] {
            match said {
                Said::Order(_, account, event) => self.on_order(command, *account, *event),
                Said::Market(time, message) => self.on_market(*time, message),
            }
        }
        self.seen = log.0.len();
        for (number, sides) in std::mem::take(&mut self.matches) {
            assert_eq!(sides.len(), 2, "match {number} has two sides");
            assert_ne!(sides[0].0, sides[1].0, "match {number} has a buyer and a seller");
            assert_eq!((sides[0].1, sides[0].2), (sides[1].1, sides[1].2), "match {number}");
        }
        assert!(self.cash.values().sum::<i128>() == 0, "cash is conserved");
        let mut sums: BTreeMap<SymbolId, i64> = BTreeMap::new();
        for ((_, symbol), position) in &self.positions {
            *sums.entry(*symbol).or_default() += position;
        }
        assert!(sums.values().all(|sum| *sum == 0), "shares are conserved");
    }

    fn reduce(&mut self, order_ref: OrderRef, qty: u32) -> (AccountId, SymbolId, Side) {
        let held = self.orders.get_mut(&order_ref).expect("an event is about a live order");
        assert!(qty > 0 && qty <= held.open, "{order_ref}: {qty} of {}", held.open);
        held.open -= qty;
        let of = (held.account, held.symbol, held.side);
        if held.open == 0 {
            self.orders.remove(&order_ref);
        }
        of
    }

    fn on_order(&mut self, command: &Command, account: AccountId, event: OrderEvent) {
        match event {
            OrderEvent::Accepted { token, order_ref } => {
                let Command::Enter(new) = command else { panic!("accepted without being entered") };
                assert_eq!((token, account), (new.token, new.account));
                let held = Held { account, symbol: new.symbol, side: new.side, open: new.qty };
                assert!(self.orders.insert(order_ref, held).is_none());
            }
            OrderEvent::Replaced { old_ref, order_ref, open, .. } => {
                let held = self.orders.remove(&old_ref).expect("the replaced order was alive");
                assert!(self.orders.insert(order_ref, Held { open, ..held }).is_none());
            }
            OrderEvent::Executed { order_ref, qty, price, match_number, .. } => {
                let (account, symbol, side) = self.reduce(order_ref, qty);
                let sign = if side == Side::Buy { 1 } else { -1 };
                *self.positions.entry((account, symbol)).or_default() += sign * i64::from(qty);
                *self.cash.entry(account).or_default() -= i128::from(sign) * i128::from(qty) * i128::from(price.0);
                self.matches.entry(match_number).or_default().push((side, qty, price));
                self.last_traded += u64::from(side == Side::Buy);
            }
            OrderEvent::Canceled { order_ref, qty, .. } | OrderEvent::Prevented { order_ref, qty, .. } => {
                self.reduce(order_ref, qty);
            }
            OrderEvent::Restated { order_ref, .. }
            | OrderEvent::Triggered { order_ref }
            | OrderEvent::CancelPending { order_ref }
            | OrderEvent::CancelRejected { order_ref } => assert!(self.orders.contains_key(&order_ref)),
            OrderEvent::Rejected { .. } => {}
        }
    }

    fn on_market(&mut self, time: TimeOfDay, message: &[u8]) {
        let mut events = Vec::new();
        let mut sink = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
            events.push(event);
            Ok(())
        };
        let decoded = self.decoder.decode(message, EpochNanos(0), EventFlags::RECV_TIME_SYNTHETIC, &mut sink);
        assert_eq!(decoded, Ok(Decoded::Emitted));
        for event in events {
            assert_eq!(event.exch_time.0.cast_unsigned(), time.0);
            let update = self.books.apply(&event);
            assert_eq!(update.anomaly, None, "{event:?}");
        }
    }

    /// The rebuilt book and the counted orders are the venue's own.
    pub(crate) fn compare(&self, venue: &Venue) {
        assert_eq!(self.orders.len(), venue.order_count() as usize);
        for (order_ref, held) in &self.orders {
            assert_eq!(venue.open_and_spent(*order_ref).map(|(open, _)| open), Some(held.open), "{order_ref}");
        }
        let mut shown = 0;
        let mut queue = vec![(OrderRef(0), self.nobody()); 1_000];
        for symbol in (0..3).map(SymbolId) {
            for side in Side::BOTH {
                let mut levels: Vec<(Price, Vec<(OrderRef, u32)>)> = Vec::new();
                for order in venue.displayed(symbol, side) {
                    match levels.last_mut().filter(|level| level.0 == order.price) {
                        Some(level) => level.1.push((order.display_ref, order.shares)),
                        None => levels.push((order.price, vec![(order.display_ref, order.shares)])),
                    }
                }
                assert!(levels.is_sorted_by(|a, b| a.0.is_better_than(b.0, side)));
                assert_eq!(self.books.level_count(symbol, side), levels.len());
                for (price, orders) in levels {
                    let count = self.books.queue(symbol, side, price, &mut queue);
                    let rebuilt: Vec<(OrderRef, u32)> = queue[..count]
                        .iter()
                        .map(|(order_ref, order)| (*order_ref, u32::try_from(order.qty.0).expect("small")))
                        .collect();
                    assert_eq!(rebuilt, orders, "{symbol} {side:?} {price}");
                    shown += count;
                }
            }
            let top = self.books.top(symbol);
            if venue.symbol_state(symbol) == Some(SymbolState::Trading) {
                assert!(!top.is_crossed() && !top.is_locked(), "{symbol}: {top:?}");
            }
        }
        assert_eq!(self.books.order_count(), shown);
    }

    fn nobody(&self) -> peregrine_book::RestingOrder {
        let priority = self.books.next_priority();
        peregrine_book::RestingOrder { symbol: SymbolId(0), side: Side::Buy, price: Price(0), qty: Qty(0), priority }
    }
}

/// Runs commands through the venue and its reference; both must say the same after each, and the desk must agree.
/// Returns how many executions there were.
pub(crate) fn run_twins(commands: impl IntoIterator<Item = [u8; 16]>, compare_every: usize) -> u64 {
    let mut venue = Venue::new(config()).expect("possible");
    let mut reference = ReferenceVenue::new(config());
    let (mut log, mut wanted, mut desk) = (Log::default(), Log::default(), Desk::new());
    let (mut time, mut ref_last, mut seen) = (0, 1, 0);
    for (count, bytes) in commands.into_iter().enumerate() {
        let (waited, command) = command(bytes, ref_last, time);
        time += waited;
        venue.apply(TimeOfDay(time), &command, &mut log);
        reference.apply(TimeOfDay(time), &command, &mut wanted);
        assert_eq!(log.0[seen..], wanted.0[seen..], "after command {count}: {command:?}");
        for event in &log.0[seen..] {
            if let Said::Order(_, _, OrderEvent::Accepted { order_ref, .. } | OrderEvent::Replaced { order_ref, .. }) =
                event
            {
                ref_last = ref_last.max(order_ref.0);
            }
        }
        seen = log.0.len();
        desk.take(&command, &log);
        if count % compare_every == 0 {
            desk.compare(&venue);
        }
    }
    desk.compare(&venue);
    desk.traded()
}

/// An order as a port takes it, for the symbol ALFA; `price` is that of the wire, ten-thousandths of a dollar.
pub(crate) fn order(user_ref_num: u32, side: u8, quantity: u32, price: u64) -> EnterOrder {
    EnterOrder {
        user_ref_num: user_ref_num.into(),
        side,
        quantity: quantity.into(),
        symbol: Symbol(*b"ALFA    "),
        price: OuchPrice::new(price),
        time_in_force: b'0',
        display: b'Y',
        capacity: b'P',
        iso_eligibility: b'N',
        cross_type: b'N',
        clordid: Text::new(&format!("order{user_ref_num}")).expect("it is short"),
        ..EnterOrder::blank()
    }
}

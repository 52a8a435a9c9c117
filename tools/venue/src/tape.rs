//! Background flow from a tape: a recorded or generated ITCH 5.0 session, order by order, in one book with everybody
//! else's orders.
//!
//! What the tape adds is entered; what it cancels, deletes or replaces is cancelled or replaced. What it executes becomes
//! an aggressive order at the resting order's price: whoever stands first there trades, an own order of a participant
//! included. The tape's order is cut down to what the tape says is left of it, so that the book stays with the tape where
//! nobody interfered, and liquidity that somebody took is gone. A hidden trade inside the spread becomes two orders.
//! Halts and their ends are carried out. Crosses, imbalances and the steps of the day are the venue's own; executions
//! that the tape made in a cross only reduce its orders.
//!
//! The tape does not react to what others do; agents do (`agents.rs`).

use std::collections::BTreeMap;

use peregrine_types::{EpochNanos, OrderRef, Price, Side, SymbolId};
use peregrine_wire::itch50::{Message, parse};

use crate::exchange::{Exchange, Feed};
use crate::orders::{AccountId, Command, Display, Lifetime, NewOrder, Terms, TimeOfDay};
use crate::rules::{SymbolState, midpoint};
use crate::ticks::is_allowed;

/// An order of the tape that lives.
#[derive(Clone, Copy, Debug)]
struct TapeOrder {
    order_ref: OrderRef,
    symbol: SymbolId,
    side: Side,
    price: Price,
    /// Shares left, by the tape.
    open: u32,
}

/// What became of the tape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TapeCounters {
    /// Messages read.
    pub message_count: u64,
    /// Orders entered, aggressive ones and replacements included.
    pub entered_count: u64,
    /// Orders that the venue refused.
    pub refused_count: u64,
    /// Messages about orders that are not known, or of symbols that the venue does not have.
    pub unknown_count: u64,
    /// Messages that have no effect here: directory, crosses, hidden trades at or outside the best prices or
    /// between ticks off the middle, and others.
    pub skipped_count: u64,
}

/// A tape's orders in the venue: see the module.
#[derive(Debug)]
pub struct TapeFlow {
    account: AccountId,
    /// The venue's symbol of each locate.
    symbols: Vec<Option<SymbolId>>,
    orders: BTreeMap<u64, TapeOrder>,
    counters: TapeCounters,
}

/// Where and when the flow acts.
struct Desk<'a, F> {
    exchange: &'a mut Exchange,
    time: TimeOfDay,
    now: EpochNanos,
    feed: &'a mut F,
}

impl<F: Feed> Desk<'_, F> {
    fn apply(&mut self, command: &Command) -> Option<OrderRef> {
        self.exchange.apply_at(command, self.time, self.now, self.feed)
    }
}

impl TapeFlow {
    /// A flow whose orders belong to `account`.
    #[must_use]
    pub fn new(account: AccountId) -> Self {
        Self { account, symbols: vec![None; 1 << 16], orders: BTreeMap::new(), counters: TapeCounters::default() }
    }

    /// What became of the tape.
    #[must_use]
    pub const fn counters(&self) -> TapeCounters {
        self.counters
    }

    /// The tape's orders that live.
    #[must_use]
    pub fn order_count(&self) -> usize {
        self.orders.len()
    }

    /// Carries out one message of the tape, whose time is `time` and whose moment is `now`.
    pub fn apply(
        &mut self,
        message: &[u8],
        (time, now): (TimeOfDay, EpochNanos),
        exchange: &mut Exchange,
        feed: &mut impl Feed,
    ) {
        self.counters.message_count += 1;
        let Ok(message) = parse(message) else {
            self.counters.unknown_count += 1;
            return;
        };
        let desk = &mut Desk { exchange, time, now, feed };
        match message {
            Message::StockDirectory(m) => {
                self.symbols[usize::from(m.stock_locate.get())] = desk.exchange.venue().symbol(m.stock);
                self.counters.skipped_count += 1;
            }
            Message::AddOrder(m) => {
                let at = (m.stock_locate.get(), m.side, m.price.price());
                self.add(m.order_ref.get(), at, m.shares.get(), desk);
            }
            Message::AddOrderMpid(m) => {
                let at = (m.stock_locate.get(), m.side, m.price.price());
                self.add(m.order_ref.get(), at, m.shares.get(), desk);
            }
            Message::OrderExecuted(m) => self.execute(m.order_ref.get(), m.executed_shares.get(), desk),
            Message::OrderExecutedWithPrice(m) if m.printable == b'Y' => {
                self.execute(m.order_ref.get(), m.executed_shares.get(), desk);
            }
            Message::OrderExecutedWithPrice(m) => self.reduce(m.order_ref.get(), m.executed_shares.get(), desk),
            Message::OrderCancel(m) => self.reduce(m.order_ref.get(), m.cancelled_shares.get(), desk),
            Message::OrderDelete(m) => self.reduce(m.order_ref.get(), u32::MAX, desk),
            Message::OrderReplace(m) => {
                let refs = (m.original_order_ref.get(), m.new_order_ref.get());
                self.replace(refs, m.shares.get(), m.price.price(), desk);
            }
            Message::TradeNonCross(m) => {
                self.hidden_trade(m.stock_locate.get(), m.shares.get(), m.price.price(), desk);
            }
            Message::StockTradingAction(m) => {
                self.trading_action(m.stock_locate.get(), (m.trading_state, m.reason), desk)
            }
            Message::SystemEvent(_)
            | Message::RegShoRestriction(_)
            | Message::MarketParticipantPosition(_)
            | Message::MwcbDeclineLevels(_)
            | Message::MwcbStatus(_)
            | Message::IpoQuotingPeriodUpdate(_)
            | Message::LuldAuctionCollar(_)
            | Message::OperationalHalt(_)
            | Message::CrossTrade(_)
            | Message::BrokenTrade(_)
            | Message::NetOrderImbalance(_)
            | Message::RetailPriceImprovement(_)
            | Message::DirectListingWithCapitalRaise(_)
            | Message::Unknown(_) => self.counters.skipped_count += 1,
        }
    }

    fn symbol(&mut self, locate: u16) -> Option<SymbolId> {
        let symbol = self.symbols[usize::from(locate)];
        self.counters.unknown_count += u64::from(symbol.is_none());
        symbol
    }

    /// Enters an order: its reference, `None` when it was refused.
    fn enter(&mut self, order: NewOrder, desk: &mut Desk<'_, impl Feed>) -> Option<OrderRef> {
        let order_ref = desk.apply(&Command::Enter(order));
        self.counters.entered_count += u64::from(order_ref.is_some());
        self.counters.refused_count += u64::from(order_ref.is_none());
        order_ref
    }

    const fn order(&self, symbol: SymbolId, side: Side, qty: u32, terms: Terms) -> NewOrder {
        NewOrder { account: self.account, token: 0, symbol, side, qty, terms }
    }

    fn add(
        &mut self,
        tape_ref: u64,
        (locate, side, price): (u16, u8, Price),
        shares: u32,
        desk: &mut Desk<'_, impl Feed>,
    ) {
        let Some(symbol) = self.symbol(locate) else { return };
        let side = if side == b'B' { Side::Buy } else { Side::Sell };
        let order = self.order(symbol, side, shares, resting(price));
        if let Some(order_ref) = self.enter(order, desk) {
            self.orders.insert(tape_ref, TapeOrder { order_ref, symbol, side, price, open: shares });
        }
    }

    fn execute(&mut self, tape_ref: u64, shares: u32, desk: &mut Desk<'_, impl Feed>) {
        let Some(order) = self.orders.get(&tape_ref).copied() else {
            self.counters.unknown_count += 1;
            return;
        };
        let terms = Terms { lifetime: Lifetime::ImmediateOrCancel, ..Terms::limit(order.price) };
        self.enter(self.order(order.symbol, order.side.opposite(), shares, terms), desk);
        self.reduce(tape_ref, shares, desk);
    }

    /// `shares` fewer are left of an order by the tape: the venue's order has no more than that.
    fn reduce(&mut self, tape_ref: u64, shares: u32, desk: &mut Desk<'_, impl Feed>) {
        let Some(order) = self.orders.get_mut(&tape_ref) else {
            self.counters.unknown_count += 1;
            return;
        };
        order.open = order.open.saturating_sub(shares);
        let TapeOrder { order_ref, open, .. } = *order;
        if open == 0 {
            self.orders.remove(&tape_ref);
        }
        if let Some((_, spent)) = desk.exchange.venue().open_and_spent(order_ref).filter(|(held, _)| *held > open) {
            let qty = if open == 0 { 0 } else { spent.saturating_add(open) };
            desk.apply(&Command::Cancel { order_ref, qty });
        }
    }

    fn replace(&mut self, (old_ref, new_ref): (u64, u64), shares: u32, price: Price, desk: &mut Desk<'_, impl Feed>) {
        let Some(old) = self.orders.remove(&old_ref) else {
            self.counters.unknown_count += 1;
            return;
        };
        let order_ref = match desk.exchange.venue().open_and_spent(old.order_ref) {
            Some((_, spent)) => {
                let (qty, terms) = (shares.saturating_add(spent), resting(price));
                let replaced = desk.apply(&Command::Replace { order_ref: old.order_ref, token: 0, qty, terms });
                if replaced.is_none() {
                    desk.apply(&Command::Cancel { order_ref: old.order_ref, qty: 0 });
                }
                self.counters.entered_count += u64::from(replaced.is_some());
                self.counters.refused_count += u64::from(replaced.is_none());
                replaced
            }
            // Somebody else's order took it: the tape enters another one.
            None => self.enter(self.order(old.symbol, old.side, shares, resting(price)), desk),
        };
        if let Some(order_ref) = order_ref {
            self.orders.insert(new_ref, TapeOrder { order_ref, price, open: shares, ..old });
        }
    }

    /// A trade against a hidden order: one is put inside the spread, on the tick or pegged to the middle, and taken at
    /// once. Elsewhere it would trade with orders that the tape did not mean.
    fn hidden_trade(&mut self, locate: u16, shares: u32, price: Price, desk: &mut Desk<'_, impl Feed>) {
        let Some(symbol) = self.symbol(locate) else { return };
        let best = |side| desk.exchange.venue().displayed(symbol, side).next().map(|order| order.price);
        let (bid, ask) = (best(Side::Buy), best(Side::Sell));
        if bid.is_some_and(|bid| bid >= price) || ask.is_some_and(|ask| price >= ask) {
            self.counters.skipped_count += 1;
            return;
        }
        let ticks = &desk.exchange.venue().symbols[symbol.index()].ticks;
        // Between ticks only orders pegged to the middle trade.
        let is_on_tick = is_allowed(ticks, price);
        let taken_at = if is_on_tick { Some(price) } else { ticks.up(price, 0) };
        let Some(taken_at) = taken_at.filter(|_| is_on_tick || midpoint(bid, ask, None) == Some(price)) else {
            self.counters.skipped_count += 1;
            return;
        };
        let limit = is_on_tick.then_some(price);
        let hidden = Terms { price: limit, is_midpoint_peg: !is_on_tick, display: Display::Hidden, ..resting(price) };
        let Some(order_ref) = self.enter(self.order(symbol, Side::Sell, shares, hidden), desk) else { return };
        let terms = Terms { lifetime: Lifetime::ImmediateOrCancel, ..Terms::limit(taken_at) };
        self.enter(self.order(symbol, Side::Buy, shares, terms), desk);
        desk.apply(&Command::Cancel { order_ref, qty: 0 });
    }

    fn trading_action(&mut self, locate: u16, (state, reason): (u8, [u8; 4]), desk: &mut Desk<'_, impl Feed>) {
        let Some(symbol) = self.symbol(locate) else { return };
        let is_trading = desk.exchange.venue().symbol_state(symbol) == Some(SymbolState::Trading);
        let command = match state {
            b'H' => Some(Command::Halt { symbol, reason }),
            b'P' => Some(Command::Pause { symbol, reason }),
            b'Q' => Some(Command::Quote { symbol }),
            b'T' if !is_trading => Some(Command::Resume { symbol }),
            _ => None,
        };
        match command {
            Some(command) => {
                desk.apply(&command);
            }
            None => self.counters.skipped_count += 1,
        }
    }
}

/// A displayed order that rests beyond the market's hours, as orders of a tape do.
fn resting(price: Price) -> Terms {
    Terms { lifetime: Lifetime::Extended, ..Terms::limit(price) }
}

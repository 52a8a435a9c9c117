//! Continuous trading: what one order action does, and what it triggers.
//!
//! Actions arrive as a Hawkes process in its branching form (Hawkes & Oakes 1974): arrivals of a Poisson process
//! whose rate follows the course of the day, and a geometric number of further actions after every message, each at
//! its own delay. The delays are spread over seven decades, which approximates the power-law kernels measured on
//! order flow (Bacry, Jaisson & Muzy 2016). Orders carry their own end: a cancel is due after a heavy-tailed lifetime.
//! Executions hit the best level, more often the shorter queue (queue-reactive; Huang, Lehalle & Rosenbaum 2015), and
//! all sides lean towards the latent fair value.

use peregrine_types::Side;
use peregrine_wire::itch50::{
    AddOrder, AddOrderMpid, BrokenTrade, MessageType, OrderCancel, OrderDelete, OrderExecuted, OrderExecutedWithPrice,
    OrderReplace, Price4, TradeNonCross,
};

use crate::config::GeneratorConfig;
use crate::ladder::{Ladder, Resting, generation_of};
use crate::latent::{Regime, TruthRecord};
use crate::math::{QuantileTable, float, to_i64, to_u64};
use crate::session::{Due, Session, SymbolState, moment};

/// Price4 units of a tick of 0.01.
pub(crate) const PRICE4_PER_TICK: u32 = 100;
/// Cumulative shares of the actions: add, take, hidden trade, replace; the rest cancels in part. Chosen so that the
/// messages have the mix of a real day (adds 48 %, deletes 41–45 %, executions 4–9 %, trades 2.4 %, replaces 3.6 %,
/// partial cancels 0.5 %).
const ADD: f64 = 0.829;
const TAKE: f64 = 0.878;
const HIDDEN: f64 = 0.930;
const REPLACE: f64 = 0.9915;
/// Messages per action, cancels included: measured on generated sessions.
const MESSAGES_PER_ACTION: f64 = 1.76;
/// Messages of a symbol that are no actions, about: directory, seeds and their end, imbalances, crosses.
const FIXED_MESSAGES_PER_SYMBOL: f64 = 90.0;
/// Messages per action that may trigger others.
const TRIGGERS_PER_ACTION: f64 = 1.77;
/// Factors on the lifetime of orders by how far behind the best price they join, in units of the spread scale: below
/// the first number the second applies (*real*: near orders are withdrawn sooner).
const LIFETIME_BY_DISTANCE: [(f64, f64); 4] = [(0.0, 0.22), (0.4, 0.32), (1.0, 0.9), (f64::INFINITY, 5.0)];
/// Orders whose lifetime ends after this many nanoseconds leave with the next burst of activity; shorter ones leave
/// at once.
const PATIENCE: u64 = 30_000_000;
/// Ripe orders that leave with one action, at most.
const HARVEST_MAX: usize = 2;
/// Executions that one taker causes, at most.
const FILLS_MAX: u32 = 24;
/// Chance that an unprompted action sets off a surge (news, a large order worked), and its actions on average.
const SURGE_CHANCE: f64 = 0.0067;
const SURGE_MEAN: u32 = 80;
/// Chance that an order which improves the best price is taken at once by one who waited for it.
const SNAP_CHANCE: f64 = 0.155;
/// Chance that an order near the best price is there to stay, and the factor on its lifetime.
const STAY_CHANCE: f64 = 0.05;
const STAY_FACTOR: f64 = 200.0;
/// Further actions that one message triggers, at most.
const OFFSPRING_MAX: u32 = 8;

/// The distributions that every symbol shares. Shares marked *real* were measured on an hour of AAPL (2012-06-21,
/// 09:30–10:30, 92,082 messages).
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    /// Nanoseconds from a message to one that it triggers.
    delay: QuantileTable,
    /// Nanoseconds from the beginning of a surge to its actions.
    surge: QuantileTable,
    /// Nanoseconds from an action to the cancel of an order that waited for one.
    harvest: QuantileTable,
    /// Nanoseconds from an order that improves the best price to its execution by one who waited for it.
    snap: QuantileTable,
    /// Nanoseconds from an order to its cancel, before the factors of distance and patience (*real*, less what those
    /// factors do).
    lifetime: QuantileTable,
    /// Ticks behind the best price over the spread scale, of orders that do not improve (*real*).
    behind: QuantileTable,
    /// Ticks of improvement over the spread scale (*real*).
    improvement: QuantileTable,
    /// Shares of an order (*real*, as 64 equally likely values).
    qty: [u32; 64],
    /// Chance of one more triggered action: quiet and turbulent.
    more: [f64; 2],
}

const QTYS: [u32; 64] = [
    1, 1, 5, 8, 8, 10, 14, 17, 18, 18, 18, 18, 18, 18, 19, 20, 22, 22, 23, 25, 50, 50, 100, 100, 100, 100, 100, 100,
    100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100,
    100, 100, 100, 120, 150, 200, 200, 200, 200, 200, 300, 500, 1000,
];

impl Tables {
    pub(crate) fn new(config: &GeneratorConfig) -> Self {
        let per_message = config.branching_ratio / TRIGGERS_PER_ACTION;
        let more = |mean: f64| mean / (1.0 + mean);
        Self {
            delay: QuantileTable::log_scale(&[
                (0.0, 1e2),
                (0.11, 2e3),
                (0.202, 2e4),
                (0.432, 2.5e5),
                (0.642, 3e6),
                (0.7295, 3e7),
                (0.7635, 3e8),
                (0.852, 3e9),
                (1.0, 6e10),
            ]),
            surge: QuantileTable::log_scale(&[(0.0, 1e6), (1.0, 5.5e8)]),
            harvest: QuantileTable::log_scale(&[(0.0, 5e2), (0.2, 1e4), (0.5, 1.5e5), (0.8, 2e6), (1.0, 1.86e8)]),
            snap: QuantileTable::log_scale(&[(0.0, 2e4), (0.3, 2e5), (0.5, 1e6), (0.8, 1e8), (1.0, 3e9)]),
            lifetime: QuantileTable::log_scale(&[
                (0.0, 5e4),
                (0.01, 2.8e5),
                (0.05, 9e5),
                (0.10, 4.6e6),
                (0.25, 4.8e7),
                (0.50, 3.5e8),
                (0.75, 2e9),
                (0.90, 1.7e10),
                (0.95, 2.6e10),
                (0.99, 1.24e11),
                (0.999, 7.8e11),
                (1.0, 1e13),
            ]),
            behind: QuantileTable::linear_scale(&[
                (0.0, 0.0),
                (0.10, 0.053),
                (0.167, 0.105),
                (0.22, 0.16),
                (0.375, 0.42),
                (0.6875, 1.26),
                (0.875, 3.9),
                (0.9375, 6.6),
                (0.9875, 9.2),
                (1.0, 25.0),
            ]),
            improvement: QuantileTable::log_scale(&[(0.0, 0.03), (0.5, 0.13), (0.75, 0.26), (0.95, 0.8), (1.0, 2.0)]),
            qty: QTYS,
            more: [more(per_message * 0.99), more(per_message * 1.08)],
        }
    }
}

/// How many actions arrive unprompted in a session: what is left of the messages wanted after the spins, seeds,
/// imbalances and the clean-up, over the messages that one arrival causes. Turbulent spells trigger more than quiet
/// ones save, which the last factor (measured) makes up for.
pub(crate) fn arrival_count(config: &GeneratorConfig) -> f64 {
    let wanted = float(config.message_count);
    let fixed = (f64::from(config.symbol_count) * FIXED_MESSAGES_PER_SYMBOL).min(wanted * 0.5);
    let actions = (wanted - fixed) / MESSAGES_PER_ACTION * (1.0 - 0.1 * config.branching_ratio);
    actions * (1.0 - config.branching_ratio) / (1.0 + SURGE_CHANCE * f64::from(SURGE_MEAN))
}

/// The side that an order or a taker chose, as a sign: +1 buys.
const fn sign(side: Side) -> f64 {
    match side {
        Side::Buy => 1.0,
        Side::Sell => -1.0,
    }
}

impl Session {
    /// An unprompted action, and the next one of its symbol.
    pub(crate) fn arrive(&mut self, symbol: u32, time: u64) {
        self.plan_arrival(symbol);
        self.act(symbol, time);
        if self.random.chance(SURGE_CHANCE) {
            for _ in 0..self.random.below(2 * SURGE_MEAN + 1) {
                let delay = to_u64(self.tables.surge.at(self.random.word()));
                self.plan(time + delay, Due::Offspring(symbol));
            }
        }
    }

    /// Draws the next unprompted action of `symbol`.
    pub(crate) fn plan_arrival(&mut self, symbol: u32) {
        let rate = self.arrival_count * self.profiles[symbol as usize].activity;
        if rate <= 0.0 {
            return;
        }
        let state = &mut self.symbols[symbol as usize];
        state.next_share += self.random.exponential() / rate;
        if let Some(time) = self.shape.time_at(state.next_share) {
            self.plan(time, Due::Arrival(symbol));
        }
    }

    /// One order action.
    pub(crate) fn act(&mut self, symbol: u32, time: u64) {
        let pressure = self.advance_latent(symbol, time);
        let kind = self.random.unit();
        let is_trading = self.symbols[symbol as usize].is_trading;
        if kind < ADD || (!is_trading && kind < HIDDEN) {
            self.join(symbol, time, pressure);
        } else if kind < TAKE {
            self.take(symbol, time, pressure);
        } else if kind < HIDDEN {
            self.trade_hidden(symbol, time);
        } else if kind < REPLACE {
            self.replace(symbol, time, pressure);
        } else {
            self.cancel_part(symbol, time);
        }
        self.harvest(symbol, time);
        self.excite(symbol, time);
    }

    /// Moves the fair value on and gives the pressure that it puts on the flow, within ±2.
    fn advance_latent(&mut self, symbol: u32, time: u64) -> f64 {
        let state = &mut self.symbols[symbol as usize];
        let has_moved = state.latent.advance(time, &mut self.market, &mut self.random);
        let pressure = match (state.bid.best_price(), state.ask.best_price()) {
            (Some(bid), Some(ask)) => {
                let middle = (f64::from(bid) + f64::from(ask)) * 0.5;
                let scale = self.profiles[symbol as usize].spread_ticks;
                ((state.latent.fair - middle) / scale).clamp(-2.0, 2.0)
            }
            (Some(_), None) | (None, Some(_)) | (None, None) => 0.0,
        };
        if has_moved && self.config.is_truth_recorded {
            self.truth.push(TruthRecord {
                time: moment(self.config.midnight, time),
                locate: self.profiles[symbol as usize].locate,
                fair_value: state.latent.fair_value(),
                regime: state.latent.regime,
                pressure,
            });
        }
        pressure * self.config.informed_fraction
    }

    /// What a message triggers.
    fn excite(&mut self, symbol: u32, time: u64) {
        let is_turbulent = self.symbols[symbol as usize].latent.regime == Regime::Turbulent;
        let more = self.tables.more[usize::from(is_turbulent)];
        for _ in 0..OFFSPRING_MAX {
            if !self.random.chance(more) {
                break;
            }
            let delay = to_u64(self.tables.delay.at(self.random.word()));
            self.plan(time + delay, Due::Offspring(symbol));
        }
    }

    fn draw_qty(&mut self, symbol: u32) -> u32 {
        let index = self.random.word() >> 26;
        self.tables.qty[index as usize] * self.profiles[symbol as usize].qty_factor
    }

    /// A new displayed order.
    fn join(&mut self, symbol: u32, time: u64, pressure: f64) {
        let side = if self.random.chance(0.5 + 0.04 * pressure) { Side::Buy } else { Side::Sell };
        let price = self.draw_price(symbol, side, pressure);
        let qty = self.draw_qty(symbol);
        let end = self.draw_end(symbol, (side, price), time);
        let best = self.symbols[symbol as usize].ladder(side).best_price();
        let slot = self.add(symbol, side, (price, qty), (time, end));
        if best.is_some_and(|best| (f64::from(price) - f64::from(best)) * sign(side) > 0.0)
            && self.random.chance(SNAP_CHANCE * (1.0 - 0.3 * pressure * sign(side)).clamp(0.1, 2.0))
        {
            let generation = generation_of(self.orders.get(slot).reference);
            let delay = to_u64(self.tables.snap.at(self.random.word()));
            self.plan(time + delay, Due::Snap { slot, generation });
        }
    }

    /// Takes the order in `slot` whole, if it still is the first at the best price.
    pub(crate) fn snap(&mut self, slot: u32, generation: u32, time: u64) {
        if !self.orders.is_live(slot, generation) {
            return;
        }
        let order = *self.orders.get(slot);
        let state = &self.symbols[order.symbol as usize];
        if state.is_trading && state.ladder(order.side).rung(0).is_some_and(|rung| rung.first == slot) {
            self.execute(slot, order.qty, time);
            self.harvest(order.symbol, time);
            self.excite(order.symbol, time);
        }
    }

    /// When an order that joins `side` at `price` ends, unless it is executed before.
    fn draw_end(&mut self, symbol: u32, (side, price): (Side, u32), time: u64) -> u64 {
        let profile = &self.profiles[symbol as usize];
        let best = self.symbols[symbol as usize].ladder(side).best_price().unwrap_or(price);
        let behind = (f64::from(best) - f64::from(price)) * sign(side) / profile.spread_ticks.max(3.0);
        let mut factor =
            LIFETIME_BY_DISTANCE.iter().find(|&&(limit, _)| behind < limit).map_or(1.0, |&(_, factor)| factor);
        if behind < 1.0 && self.random.chance(STAY_CHANCE) {
            factor *= STAY_FACTOR;
        }
        time + to_u64(self.tables.lifetime.at(self.random.word()) * profile.lifetime_factor * factor)
    }

    /// Writes an order of (price, quantity) that rests from a time until another.
    /// Gives its slot.
    pub(crate) fn add(&mut self, symbol: u32, side: Side, (price, qty): (u32, u32), (time, end): (u64, u64)) -> u32 {
        let reference = self.next_reference();
        let profile = &self.profiles[symbol as usize];
        let mut message = AddOrder::new(profile.locate, time);
        message.order_ref.set(reference);
        message.side = if side == Side::Buy { b'B' } else { b'S' };
        message.shares.set(qty);
        message.stock = profile.symbol;
        message.price = Price4::new(price * PRICE4_PER_TICK);
        if self.random.chance(0.02) {
            let attributed = AddOrderMpid {
                message_type: AddOrderMpid::TYPE,
                stock_locate: message.stock_locate,
                tracking_number: message.tracking_number,
                timestamp: message.timestamp,
                order_ref: message.order_ref,
                side: message.side,
                shares: message.shares,
                stock: message.stock,
                price: message.price,
                attribution: *b"PGRN",
            };
            self.outbox.write(time, MessageType::AddOrderMpid, &attributed);
        } else {
            self.outbox.write(time, MessageType::AddOrder, &message);
        }
        self.rest(side, Resting { reference, symbol, price, qty }, (time, end))
    }

    fn rest(&mut self, side: Side, resting: Resting, (time, end): (u64, u64)) -> u32 {
        let state = &mut self.symbols[resting.symbol as usize];
        let ladder = match side {
            Side::Buy => &mut state.bid,
            Side::Sell => &mut state.ask,
        };
        let slot = ladder.add(&mut self.orders, resting);
        let generation = generation_of(resting.reference);
        if end < self.config.hours.end_of_system {
            let is_patient = end - time > PATIENCE;
            self.plan(
                end,
                if is_patient { Due::Ripening { slot, generation } } else { Due::Expiry { slot, generation } },
            );
        }
        slot
    }

    /// An order whose lifetime is over waits for its symbol's next action.
    pub(crate) fn ripen(&mut self, slot: u32, generation: u32) {
        if self.orders.is_live(slot, generation) {
            let symbol = self.orders.get(slot).symbol;
            self.symbols[symbol as usize].ripe.push((slot, generation));
        }
    }

    /// Orders that wait leave shortly after an action.
    fn harvest(&mut self, symbol: u32, time: u64) {
        for _ in 0..HARVEST_MAX {
            let Some((slot, generation)) = self.symbols[symbol as usize].ripe.pop() else { return };
            let delay = to_u64(self.tables.harvest.at(self.random.word()));
            self.plan(time + delay, Due::Expiry { slot, generation });
        }
    }

    fn next_reference(&mut self) -> u64 {
        self.last_reference += 1 + u64::from(self.random.word() & 3);
        self.last_reference
    }

    /// Takes `qty` off the order in `slot` and out of its ladder.
    pub(crate) fn reduce(&mut self, slot: u32, qty: u32) -> u32 {
        let order = *self.orders.get(slot);
        let state = &mut self.symbols[order.symbol as usize];
        let ladder = match order.side {
            Side::Buy => &mut state.bid,
            Side::Sell => &mut state.ask,
        };
        ladder.reduce(&mut self.orders, slot, qty)
    }

    /// The end of an order's life.
    pub(crate) fn expire(&mut self, slot: u32, generation: u32, time: u64) {
        if !self.orders.is_live(slot, generation) {
            return;
        }
        let symbol = self.orders.get(slot).symbol;
        self.delete(slot, time);
        self.excite(symbol, time);
    }

    /// Writes the removal of the order in `slot`.
    pub(crate) fn delete(&mut self, slot: u32, time: u64) {
        let order = *self.orders.get(slot);
        let mut message = OrderDelete::new(self.profiles[order.symbol as usize].locate, time);
        message.order_ref.set(order.reference);
        self.outbox.write(time, MessageType::OrderDelete, &message);
        self.reduce(slot, order.qty);
    }

    /// A price in ticks at which an order of `side` joins without meeting the other side.
    fn draw_price(&mut self, symbol: u32, side: Side, pressure: f64) -> u32 {
        let scale = self.profiles[symbol as usize].spread_ticks;
        let state = &self.symbols[symbol as usize];
        let sign = sign(side);
        let fair_quote = state.latent.fair - sign * scale * 0.5;
        let other = state.ladder(side.opposite()).best_price().map(f64::from);
        let price = match state.ladder(side).best_price().map(f64::from) {
            None => fair_quote - sign * scale * self.random.unit(),
            Some(best) => {
                let gap = other.map_or(scale * 4.0, |other| (other - best) * sign);
                let width = gap / scale;
                let eagerness = (1.0 + 1.2 * pressure * sign).clamp(0.1, 3.0);
                let chance = (self.tables.improve_chance(width) * eagerness).min(0.7);
                if gap >= 2.0 && self.random.chance(chance) {
                    let drawn = self.tables.improvement.at(self.random.word()) * scale;
                    let catch_up = (fair_quote - best) * sign - scale * 0.75 * self.random.unit();
                    let step = if width > 2.5 { drawn.max(catch_up) } else { drawn };
                    best + sign * step.min(gap * 0.6).max(1.0).min(gap - 1.0)
                } else {
                    best - sign * (self.tables.behind.at(self.random.word()) * scale.max(3.0)).floor()
                }
            }
        };
        bounded(price, side, other)
    }

    /// Takes liquidity at the best price, now and then at the next ones too.
    fn take(&mut self, symbol: u32, time: u64, pressure: f64) {
        let state = &self.symbols[symbol as usize];
        let lean = self.config.informed_fraction * 0.3 * imbalance(state);
        let aggressor =
            if self.random.chance((0.5 + 0.42 * pressure + lean).clamp(0.03, 0.97)) { Side::Buy } else { Side::Sell };
        let Some(mut price) = state.ladder(aggressor.opposite()).best_price() else { return };
        let mut left = self.draw_qty(symbol);
        for _ in 0..FILLS_MAX {
            let ladder = self.symbols[symbol as usize].ladder(aggressor.opposite());
            let Some(rung) = ladder.rung(0) else { return };
            let slot = rung.first;
            let best = self.orders.get(slot).price;
            if left == 0 || (best != price && !self.random.chance(0.35)) {
                return;
            }
            price = best;
            left -= self.execute(slot, left, time);
        }
    }

    /// Writes one execution of the order in `slot`, of at most `qty`; gives the shares executed.
    fn execute(&mut self, slot: u32, qty: u32, time: u64) -> u32 {
        let order = *self.orders.get(slot);
        let executed = self.reduce(slot, qty);
        let match_number = self.next_match();
        let locate = self.profiles[order.symbol as usize].locate;
        if order.price > 1 && self.random.chance(0.03) {
            // Half a tick better for the taker: the order's hidden instructions, not its display, set the price.
            let half = PRICE4_PER_TICK / 2;
            let raw = order.price * PRICE4_PER_TICK;
            let raw = if order.side == Side::Buy { raw + half } else { raw - half };
            let message = executed_with_price((locate, time), (order.reference, executed, match_number), b'Y', raw);
            self.outbox.write(time, MessageType::OrderExecutedWithPrice, &message);
        } else {
            let mut message = OrderExecuted::new(locate, time);
            message.order_ref.set(order.reference);
            message.executed_shares.set(executed);
            message.match_number.set(match_number);
            self.outbox.write(time, MessageType::OrderExecuted, &message);
        }
        self.maybe_break(locate, match_number, time);
        executed
    }

    /// Now and then an execution is broken minutes later.
    fn maybe_break(&mut self, locate: u16, match_number: u64, time: u64) {
        if self.config.broken_trade_ppm > 0 && self.random.below(1_000_000) < self.config.broken_trade_ppm {
            let later = time + to_u64(self.random.exponential() * 3e11);
            self.plan(later.min(self.config.hours.end_of_messages - 1), Due::Break { locate, match_number });
        }
    }

    /// Writes that an execution was broken.
    pub(crate) fn break_trade(&mut self, locate: u16, match_number: u64, time: u64) {
        let mut message = BrokenTrade::new(locate, time);
        message.match_number.set(match_number);
        self.outbox.write(time, MessageType::BrokenTrade, &message);
    }

    /// An execution against a hidden order between the best prices.
    fn trade_hidden(&mut self, symbol: u32, time: u64) {
        let state = &self.symbols[symbol as usize];
        let (Some(bid), Some(ask)) = (state.bid.best_price(), state.ask.best_price()) else { return };
        let half_ticks = self.random.below((ask - bid) * 2 + 1);
        let qty = self.draw_qty(symbol);
        let match_number = self.next_match();
        let profile = &self.profiles[symbol as usize];
        let mut message = TradeNonCross::new(profile.locate, time);
        message.side = b'B';
        message.shares.set(qty);
        message.stock = profile.symbol;
        message.price = Price4::new(bid * PRICE4_PER_TICK + half_ticks * (PRICE4_PER_TICK / 2));
        message.match_number.set(match_number);
        let locate = profile.locate;
        self.outbox.write(time, MessageType::TradeNonCross, &message);
        self.maybe_break(locate, match_number, time);
    }

    /// An order near the best price, or `None` where the drawn side is empty.
    fn draw_order(&mut self, symbol: u32) -> Option<u32> {
        let side = if self.random.word() & 1 == 0 { Side::Buy } else { Side::Sell };
        let depth = to_u64(self.random.exponential() * 3.0);
        let ladder: &Ladder = self.symbols[symbol as usize].ladder(side);
        let depth = usize::try_from(depth).ok()?.min(ladder.len().checked_sub(1)?);
        ladder.rung(depth).map(|rung| rung.first)
    }

    /// Replaces an order near the best price: new price, new quantity, back of the queue.
    fn replace(&mut self, symbol: u32, time: u64, pressure: f64) {
        let Some(slot) = self.draw_order(symbol) else { return };
        let old = *self.orders.get(slot);
        let price = self.draw_price(symbol, old.side, pressure);
        let qty = self.draw_qty(symbol);
        self.reduce(slot, old.qty);
        let reference = self.next_reference();
        let end = self.draw_end(symbol, (old.side, price), time);
        let profile = &self.profiles[symbol as usize];
        let mut message = OrderReplace::new(profile.locate, time);
        message.original_order_ref.set(old.reference);
        message.new_order_ref.set(reference);
        message.shares.set(qty);
        message.price = Price4::new(price * PRICE4_PER_TICK);
        self.outbox.write(time, MessageType::OrderReplace, &message);
        let _slot = self.rest(old.side, Resting { reference, symbol, price, qty }, (time, end));
    }

    /// Cancels part of an order near the best price.
    fn cancel_part(&mut self, symbol: u32, time: u64) {
        let Some(slot) = self.draw_order(symbol) else { return };
        let order = *self.orders.get(slot);
        if order.qty < 2 {
            return;
        }
        let cancelled = 1 + self.random.below(order.qty - 1);
        let mut message = OrderCancel::new(self.profiles[symbol as usize].locate, time);
        message.order_ref.set(order.reference);
        message.cancelled_shares.set(cancelled);
        self.outbox.write(time, MessageType::OrderCancel, &message);
        self.reduce(slot, cancelled);
    }
}

impl Tables {
    /// Chance that an order improves the best price when the spread is `width` times its scale: wide spreads close
    /// quickly, narrow ones are left alone.
    fn improve_chance(&self, width: f64) -> f64 {
        (0.06 + 0.09 * width * width) * (0.9 * width * width).min(1.0)
    }
}

/// The share by which the bid queue is longer than the ask queue, within ±1.
fn imbalance(state: &SymbolState) -> f64 {
    let (bid, ask) = (f64::from(state.bid.best_qty()), f64::from(state.ask.best_qty()));
    if bid + ask > 0.0 { (bid - ask) / (bid + ask) } else { 0.0 }
}

/// `price` rounded to a tick, at least one tick, and short of the other side's best.
fn bounded(price: f64, side: Side, other: Option<f64>) -> u32 {
    let nearest = to_i64((price + 0.5).floor());
    let limited = match (side, other) {
        (Side::Buy, Some(ask)) => nearest.min(to_i64(ask) - 1),
        (Side::Sell, Some(bid)) => nearest.max(to_i64(bid) + 1),
        (Side::Buy | Side::Sell, None) => nearest,
    };
    u32::try_from(limited.clamp(1, 19_000_000)).unwrap_or(1)
}

/// An execution of (reference, shares, match number) at another price than the order's own.
pub(crate) fn executed_with_price(
    (locate, time): (u16, u64),
    (reference, executed, match_number): (u64, u32, u64),
    printable: u8,
    price4: u32,
) -> OrderExecutedWithPrice {
    let mut message = OrderExecutedWithPrice::new(locate, time);
    message.order_ref.set(reference);
    message.executed_shares.set(executed);
    message.match_number.set(match_number);
    message.printable = printable;
    message.execution_price = Price4::new(price4);
    message
}

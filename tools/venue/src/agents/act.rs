//! What each kind does when it looks at a symbol.

use peregrine_generate::to_i64;
use peregrine_types::{OrderRef, Price, Side, SymbolId};

use super::value::float;
use super::{AgentFlow, Kind, Stage};
use crate::exchange::Feed;
use crate::orders::{Auction, Command, Lifetime, NewOrder, SelfTrade, Terms};
use crate::rules::SymbolState;
use crate::schedule::Phase;
use crate::ticks::{PRICE_MAX, is_allowed};

const BASIS_POINT: f64 = 1e-4;
const MILLION: u32 = 1_000_000;
/// One in so many of noise's resting orders before the open is for the opening cross.
const OPENING_SHARE: u32 = 5;
/// One in so many of noise's resting orders is for the closing cross.
const CLOSING_SHARE: u32 = 50;
/// One in so many of noise's resting orders improves the best price.
const IMPROVING_SHARE: u32 = 16;
/// Most that the informed take at once, as a multiple of the order's size.
const INFORMED_SIZE_MAX: i64 = 5;

/// What a look at the book shows: the best displayed prices, an agent's own included.
#[derive(Clone, Copy, Debug)]
struct Touch {
    bid: Option<Price>,
    ask: Option<Price>,
}

impl Touch {
    const fn of(self, side: Side) -> Option<Price> {
        match side {
            Side::Buy => self.bid,
            Side::Sell => self.ask,
        }
    }
}

/// A price that an order can have, on the tick at or below `price` for a buy, at or above for a sale.
fn on_tick(stage: &Stage<'_, impl Feed>, symbol: SymbolId, side: Side, price: f64) -> Option<Price> {
    let ticks = stage.ticks(symbol)?;
    let price = Price(to_i64(price));
    let price = match side {
        Side::Buy => ticks.down(price, 0),
        Side::Sell => ticks.up(price, 0),
    };
    price.filter(|price| is_allowed(ticks, *price))
}

/// `steps` ticks behind `price` for an order of `side`.
fn behind(stage: &Stage<'_, impl Feed>, symbol: SymbolId, side: Side, (price, steps): (Price, u32)) -> Option<Price> {
    let ticks = stage.ticks(symbol)?;
    let price = match side {
        Side::Buy => ticks.down(price, steps),
        Side::Sell => ticks.up(price, steps),
    };
    price.filter(|price| *price <= PRICE_MAX)
}

impl AgentFlow {
    fn touch(stage: &Stage<'_, impl Feed>, symbol: SymbolId) -> Touch {
        let best = |side| stage.exchange.venue().displayed(symbol, side).next().map(|order| order.price);
        Touch { bid: best(Side::Buy), ask: best(Side::Sell) }
    }

    /// Whether anything can be done: the symbol trades.
    fn is_trading(stage: &Stage<'_, impl Feed>, symbol: SymbolId) -> bool {
        stage.exchange.venue().symbol_state(symbol) == Some(SymbolState::Trading)
    }

    const fn terms(price: Price, lifetime: Lifetime) -> Terms {
        Terms {
            price: Some(price),
            lifetime,
            display: crate::orders::Display::Displayed,
            is_post_only: false,
            is_midpoint_peg: false,
            stop_price: None,
            auction: Auction::None,
            self_trade: SelfTrade::CancelOldest,
        }
    }

    /// Takes up to `qty` shares at `price` or better.
    fn take(
        &mut self,
        (agent, symbol): (u32, SymbolId),
        side: Side,
        (qty, price): (u32, Price),
        stage: &mut Stage<'_, impl Feed>,
    ) {
        self.enter((agent, symbol), side, (qty, Self::terms(price, Lifetime::ImmediateOrCancel)), stage);
    }

    fn enter(
        &mut self,
        (agent, symbol): (u32, SymbolId),
        side: Side,
        (qty, terms): (u32, Terms),
        stage: &mut Stage<'_, impl Feed>,
    ) -> Option<OrderRef> {
        let order = NewOrder { account: self.account(agent), token: 0, symbol, side, qty, terms };
        self.counters.kinds[self.kind_of(agent).index()].entered_count += 1;
        self.carry_out(&Command::Enter(order), stage)
    }

    /// A maker looks: learns from what traded, and puts both quotes where they belong.
    pub(super) fn look_maker(&mut self, agent: u32, symbol: SymbolId, stage: &mut Stage<'_, impl Feed>) {
        let config = self.config.makers.clone();
        let position = self.position(agent, symbol);
        let Some(scene) = self.scenes.get_mut(symbol.index()) else { return };
        let (news, last_trade) = (scene.news, scene.last_trade);
        let Some(maker) = scene.makers.get_mut(agent as usize) else { return };
        maker.is_woken = false;
        if let Some(trade) = last_trade.filter(|_| maker.news_seen != news) {
            maker.belief += (float(trade) - maker.belief) * f64::from(config.learning_ppm) * 1e-6;
        }
        maker.news_seen = news;
        if !Self::is_trading(stage, symbol) {
            return;
        }
        let full = i64::from(config.position_lots_max) * i64::from(scene.round_lot);
        let lean = float(Price(position)) / float(Price(full)) * f64::from(config.skew_bps) * BASIS_POINT;
        let half = f64::from(config.half_spread_bps) + f64::from(config.step_bps) * f64::from(agent);
        let (middle, half) = (maker.belief * (1.0 - lean), maker.belief * half * BASIS_POINT);
        let size = i64::from(config.order_lots) * i64::from(scene.round_lot);
        // A quote that moves over the maker's own other one waits until that has moved.
        let is_up = Self::touch(stage, symbol).ask.is_some_and(|ask| middle - half >= float(ask));
        let sides = if is_up { [Side::Sell, Side::Buy] } else { [Side::Buy, Side::Sell] };
        for side in sides {
            let sign = if side == Side::Buy { -1.0 } else { 1.0 };
            let room = if side == Side::Buy { full - position } else { full + position };
            let qty = u32::try_from(room.min(size)).unwrap_or(0);
            let Some(price) = on_tick(stage, symbol, side, middle + sign * half) else { continue };
            // Never through the other side: what stands there may know better.
            let other = Self::touch(stage, symbol).of(side.opposite());
            let limit = other.and_then(|other| behind(stage, symbol, side, (other, 1)));
            let price = limit.filter(|limit| price.is_better_than(*limit, side)).unwrap_or(price);
            self.quote((agent, symbol), side, (qty, price), stage);
        }
    }

    /// Moves a maker's quote, or leaves it and its place in the queue where they are good enough.
    fn quote(
        &mut self,
        (agent, symbol): (u32, SymbolId),
        side: Side,
        (qty, price): (u32, Price),
        stage: &mut Stage<'_, impl Feed>,
    ) {
        let held = self.scenes[symbol.index()].makers[agent as usize].quotes[side.index()];
        let held = held.and_then(|order_ref| self.resting.get(&order_ref).map(|order| (order_ref, *order)));
        let terms = Terms { is_post_only: true, ..Self::terms(price, Lifetime::Day) };
        let made = match held {
            Some((order_ref, _)) if qty == 0 => {
                self.carry_out(&Command::Cancel { order_ref, qty: 0 }, stage);
                None
            }
            Some((order_ref, order)) if order.price == price && order.open <= qty && order.open * 2 >= qty => {
                Some(order_ref)
            }
            Some((order_ref, _)) => {
                let spent = stage.exchange.venue().open_and_spent(order_ref).map_or(0, |(_, spent)| spent);
                let qty = qty.saturating_add(spent);
                self.counters.kinds[Kind::Maker.index()].entered_count += 1;
                self.carry_out(&Command::Replace { order_ref, token: 0, qty, terms }, stage)
            }
            None if qty == 0 => None,
            None => self.enter((agent, symbol), side, (qty, terms), stage),
        };
        self.scenes[symbol.index()].makers[agent as usize].quotes[side.index()] = made;
    }

    /// A momentum trader looks: follows the means of the trades, or closes what it has.
    pub(super) fn look_momentum(&mut self, agent: u32, symbol: SymbolId, stage: &mut Stage<'_, impl Feed>) {
        let config = self.config.momentum.clone();
        let position = self.position(agent, symbol);
        let scene = &self.scenes[symbol.index()];
        if scene.slow <= 0.0 || !Self::is_trading(stage, symbol) {
            return;
        }
        let signal = (scene.fast - scene.slow) / scene.slow / BASIS_POINT;
        let lot = i64::from(scene.round_lot);
        let (full, size) = (i64::from(config.position_lots_max) * lot, i64::from(config.order_lots) * lot);
        let threshold = f64::from(config.threshold_bps);
        let (side, room) = if signal > threshold {
            (Side::Buy, full - position)
        } else if signal < -threshold {
            (Side::Sell, full + position)
        } else if position > 0 {
            (Side::Sell, position)
        } else {
            (Side::Buy, -position)
        };
        let qty = u32::try_from(room.min(size)).unwrap_or(0);
        if let Some(price) = Self::touch(stage, symbol).of(side.opposite()).filter(|_| qty > 0) {
            self.take((agent, symbol), side, (qty, price), stage);
        }
    }

    /// An informed trader looks: takes what is offered on the wrong side of the value that it sees.
    pub(super) fn look_informed(&mut self, agent: u32, symbol: SymbolId, stage: &mut Stage<'_, impl Feed>) {
        let config = self.config.informed.clone();
        let scene = &mut self.scenes[symbol.index()];
        let error = f64::from(config.error_bps) * BASIS_POINT * scene.random.normal();
        let seen = scene.value.now() * (1.0 + error);
        let lot = scene.round_lot;
        if !Self::is_trading(stage, symbol) {
            return;
        }
        let edge = f64::from(config.edge_bps.max(1)) * BASIS_POINT;
        let touch = Self::touch(stage, symbol);
        for side in Side::BOTH {
            let sign = if side == Side::Buy { 1.0 } else { -1.0 };
            let Some(offered) = touch.of(side.opposite()) else { continue };
            let gain = sign * (seen - float(offered)) / seen;
            if gain < edge {
                continue;
            }
            let times = to_i64(gain / edge).clamp(1, INFORMED_SIZE_MAX);
            let qty = config.order_lots.saturating_mul(lot).saturating_mul(u32::try_from(times).unwrap_or(1));
            if let Some(limit) = on_tick(stage, symbol, side, seen * (1.0 - sign * edge)) {
                self.take((agent, symbol), side, (qty, limit), stage);
            }
        }
    }

    /// Noise arrives: takes, cancels, or rests.
    pub(super) fn look_noise(&mut self, agent: u32, symbol: SymbolId, stage: &mut Stage<'_, impl Feed>) {
        let config = self.config.noise.clone();
        if !Self::is_trading(stage, symbol) {
            return;
        }
        let scene = &mut self.scenes[symbol.index()];
        let side = if scene.random.below(2) == 0 { Side::Buy } else { Side::Sell };
        let qty = (scene.random.below(config.order_lots_max) + 1).saturating_mul(scene.round_lot);
        let choice = scene.random.below(MILLION);
        if choice < config.taking_ppm {
            if let Some(price) = Self::touch(stage, symbol).of(side.opposite()) {
                self.take((agent, symbol), side, (qty, price), stage);
            }
        } else if choice < config.taking_ppm + config.cancel_ppm {
            let pick = scene.random.below(u32::try_from(scene.resting.len()).unwrap_or(u32::MAX));
            let picked = scene.resting.swap_remove_back(pick as usize);
            self.cancel(picked, stage);
        } else {
            let steps = to_i64(scene.random.exponential() * f64::from(config.depth_ticks));
            let steps = u32::try_from(steps).unwrap_or(u32::MAX);
            let oldest =
                if scene.resting.len() >= config.resting_count_max as usize { scene.resting.pop_front() } else { None };
            self.cancel(oldest, stage);
            let made = if choice < config.taking_ppm + config.cancel_ppm + config.stop_ppm {
                self.stop((agent, symbol), side, (qty, steps), stage)
            } else {
                self.rest((agent, symbol), side, (qty, steps), stage)
            };
            if let Some(made) = made {
                self.scenes[symbol.index()].resting.push_back(made);
            }
        }
    }

    fn cancel(&mut self, order_ref: Option<OrderRef>, stage: &mut Stage<'_, impl Feed>) {
        if let Some(order_ref) = order_ref.filter(|order_ref| self.resting.contains_key(order_ref)) {
            self.carry_out(&Command::Cancel { order_ref, qty: 0 }, stage);
        }
    }

    /// Leaves a stop order for when the price goes `steps` and one more beyond the best of the other side; every other one
    /// takes no worse price than that.
    fn stop(
        &mut self,
        (agent, symbol): (u32, SymbolId),
        side: Side,
        (qty, steps): (u32, u32),
        stage: &mut Stage<'_, impl Feed>,
    ) -> Option<OrderRef> {
        let has_limit = self.scenes[symbol.index()].random.below(2) == 0;
        let other = side.opposite();
        let best = Self::touch(stage, symbol).of(other)?;
        let stop_price = behind(stage, symbol, other, (best, steps.saturating_add(1)))?;
        let terms = Terms { stop_price: Some(stop_price), ..Self::terms(stop_price, Lifetime::Day) };
        let terms = if has_limit { terms } else { Terms { price: None, ..terms } };
        self.enter((agent, symbol), side, (qty, terms), stage)
    }

    /// Rests an order `steps` behind the best price of its side, or for a cross.
    fn rest(
        &mut self,
        (agent, symbol): (u32, SymbolId),
        side: Side,
        (qty, steps): (u32, u32),
        stage: &mut Stage<'_, impl Feed>,
    ) -> Option<OrderRef> {
        let scene = &mut self.scenes[symbol.index()];
        let (fate, improves) = (scene.random.below(MILLION), scene.random.below(IMPROVING_SHARE) == 0);
        let reference = scene.last_trade.unwrap_or(scene.reference_price);
        let touch = Self::touch(stage, symbol);
        let best = touch.of(side).or_else(|| behind(stage, symbol, side, (reference, 1)))?;
        let better = behind(stage, symbol, side.opposite(), (best, 1));
        let has_room = better.is_some_and(|better| {
            touch.of(side.opposite()).is_none_or(|other| better != other && !better.is_better_than(other, side))
        });
        let price = if improves && has_room { better? } else { behind(stage, symbol, side, (best, steps))? };
        let auction = match stage.exchange.venue().phase() {
            Phase::PreMarket if fate % OPENING_SHARE == 0 => Auction::Opening,
            Phase::Market if fate % CLOSING_SHARE == 0 => Auction::Closing,
            Phase::Closed | Phase::PreMarket | Phase::Market | Phase::PostMarket => Auction::None,
        };
        let terms = Terms { auction, ..Self::terms(price, Lifetime::Day) };
        self.enter((agent, symbol), side, (qty, terms), stage)
    }
}

//! The script of the day: spins, system events, auctions, halts and the clean-up, each step planning the next.
//!
//! Session order and codes follow ITCH 5.0 (revision of 2026-02-19): O, directory spin, S, orders, Q with the opening
//! crosses, M with the closing crosses, E, deletion of what is left, C. Crosses execute displayed orders by
//! non-printable `C` and print their volume by `Q`.

use peregrine_types::Side;
use peregrine_wire::itch50::{
    CrossTrade, DirectListingWithCapitalRaise, IpoQuotingPeriodUpdate, LuldAuctionCollar, MarketParticipantPosition,
    MessageType, MwcbDeclineLevels, MwcbStatus, NetOrderImbalance, OperationalHalt, Price4, Price8, RegShoRestriction,
    RetailPriceImprovement, StockDirectory, StockTradingAction, SystemEvent,
};

use crate::config::SECOND;
use crate::flow::{PRICE4_PER_TICK, executed_with_price};
use crate::math::{to_u32, to_u64};
use crate::random::Random;
use crate::session::{Due, Session, Step};

/// Span between the messages of a spin.
const SPIN_GAP: u64 = 2_000;
/// Orders of one side that a cross executes, at most.
const CROSS_FILLS_MAX: u32 = 12;
/// Orders per side that every symbol opens the day with.
const SEED_COUNT: u32 = 5;

/// Lengths of the script's spans, shorter in short sessions.
#[derive(Clone, Copy, Debug)]
struct Spans {
    /// Trading stops for this long in a volatility pause, its quotation period included.
    pause: u64,
    /// Quotation-only period before a resumption.
    quotation: u64,
    /// Market-wide halt.
    market_halt: u64,
    /// Imbalance messages run for this long before a cross.
    imbalance: u64,
    /// Span between imbalance messages of a symbol.
    imbalance_gap: u64,
}

impl Session {
    fn spans(&self) -> Spans {
        let hours = self.config.hours;
        let market = hours.close - hours.open;
        let pause = (300 * SECOND).min(market / 20);
        let before_open = hours.open - hours.start_of_system;
        Spans {
            pause,
            quotation: pause / 3,
            market_halt: (900 * SECOND).min(market / 10),
            imbalance: (300 * SECOND).min(market / 10).min(before_open / 2),
            imbalance_gap: 10 * SECOND,
        }
    }

    /// Plans what does not follow from something else.
    pub(crate) fn schedule_script(&mut self) {
        let hours = self.config.hours;
        let spans = self.spans();
        let market = hours.close - hours.open;
        let mut random = Random::named(self.config.seed, "script");
        for (time, step) in [
            (hours.start_of_messages, Step::StartOfMessages),
            (hours.start_of_system, Step::StartOfSystem),
            (hours.open - spans.imbalance, Step::OpeningImbalance),
            (hours.open, Step::Open),
            (hours.close - spans.imbalance, Step::ClosingImbalance),
            (hours.close, Step::Close),
            (hours.end_of_system, Step::EndOfSystem),
        ] {
            self.plan(time, Due::Script(step, 0));
        }
        let mut picks = self.special_symbols(&mut random).into_iter();
        if self.config.has_rare_messages {
            self.ipo_symbol = picks.next();
            if let Some(symbol) = self.ipo_symbol {
                self.plan(hours.open - spans.imbalance / 2, Due::Script(Step::IpoAnnouncement, symbol));
                self.plan(hours.open + market / 20, Due::Script(Step::IpoQuotation, symbol));
                self.plan(hours.open + market / 20 + spans.pause, Due::Script(Step::IpoRelease, symbol));
            }
            self.plan(hours.open + market / 400, Due::Script(Step::RetailInterest, 0));
        }
        // Pauses keep clear of a market-wide halt, which begins after two fifths of market hours.
        let last = if self.config.has_market_wide_halt { 0.30 } else { 0.75 };
        let at = |random: &mut Random| hours.open + to_u64((0.1 + (last - 0.1) * random.unit()) * market as f64);
        for symbol in picks.by_ref().take(self.config.halt_count as usize) {
            let time = at(&mut random);
            self.plan(time, Due::Script(Step::Pause, symbol));
        }
        for symbol in picks.take(self.config.operational_halt_count as usize) {
            let time = at(&mut random);
            self.plan(time, Due::Script(Step::OperationalHalt, symbol));
            self.plan(time + spans.pause, Due::Script(Step::OperationalResumption, symbol));
        }
        if self.config.has_market_wide_halt {
            self.plan(hours.open + market * 2 / 5, Due::Script(Step::MarketHalt, 0));
        }
    }

    /// Symbols to which something special happens: distinct, in random order, the busiest last.
    fn special_symbols(&self, random: &mut Random) -> Vec<u32> {
        let mut symbols: Vec<u32> = (0..self.config.symbol_count).collect();
        let wanted = symbols.len().min(2 + (self.config.halt_count + self.config.operational_halt_count) as usize);
        for first in 0..wanted {
            let left = self.config.symbol_count - u32::try_from(first).unwrap_or(0);
            symbols.swap(first, first + random.below(left) as usize);
        }
        symbols.truncate(wanted);
        symbols.sort_by_key(|&symbol| self.profiles[symbol as usize].rank == 0);
        symbols
    }

    /// Does one step.
    pub(crate) fn script(&mut self, step: Step, symbol: u32, time: u64) {
        match step {
            Step::StartOfMessages => self.start_messages(time),
            Step::Directory => self.spin(symbol, time),
            Step::StartOfSystem => self.start_system(time),
            Step::Seeding => self.seed_book(symbol, time),
            Step::Open => self.event_with_crosses(b'Q', Step::OpeningCross, time),
            Step::Close => self.event_with_crosses(b'M', Step::ClosingCross, time),
            Step::OpeningCross => self.auction(symbol, time, b'O', Step::OpeningCross),
            Step::ClosingCross => self.auction(symbol, time, b'C', Step::ClosingCross),
            Step::EndOfSystem => {
                self.system_event(b'E', time);
                self.plan(time + SPIN_GAP, Due::Script(Step::CleanUp, 0));
            }
            Step::CleanUp => self.clean_up(symbol, time),
            Step::OpeningImbalance => self.imbalance_round(step, symbol, time, self.config.hours.open),
            Step::ClosingImbalance => self.imbalance_round(step, symbol, time, self.config.hours.close),
            Step::HaltImbalance => self.halt_imbalance(symbol, time),
            Step::Pause => self.pause(symbol, time),
            Step::Quotation => self.quotation(symbol, time, *b"LUDP"),
            Step::Resumption => self.resume(symbol, time, *b"    "),
            Step::OperationalHalt => self.operational(symbol, time, b'H'),
            Step::OperationalResumption => self.operational(symbol, time, b'T'),
            Step::RetailInterest => self.retail_interest(time),
            Step::IpoAnnouncement => self.announce_ipo(symbol, time),
            Step::IpoQuotation => self.quote_ipo(symbol, time),
            Step::IpoRelease => self.resume(symbol, time, *b"IPOQ"),
            Step::MarketHalt => self.halt_market(symbol, time),
            Step::MarketResumption => self.resume_market(symbol, time),
        }
    }

    fn locate(&self, symbol: u32) -> u16 {
        self.profiles[symbol as usize].locate
    }

    fn system_event(&mut self, code: u8, time: u64) {
        let mut message = SystemEvent::new(0, time);
        message.event_code = code;
        self.outbox.write(time, MessageType::SystemEvent, &message);
    }

    /// Plans `step` for the symbol after `symbol`, if there is one.
    fn plan_next(&mut self, step: Step, symbol: u32, time: u64) {
        if symbol + 1 < self.config.symbol_count {
            self.plan(time, Due::Script(step, symbol + 1));
        }
    }

    fn start_messages(&mut self, time: u64) {
        self.system_event(b'O', time);
        let mut message = MwcbDeclineLevels::new(0, time + 1);
        // A market index of 5,000 points; the levels are 7, 13 and 20 per cent below it.
        message.level1 = Price8::new(465_000_000_000);
        message.level2 = Price8::new(435_000_000_000);
        message.level3 = Price8::new(400_000_000_000);
        self.outbox.write(time + 1, MessageType::MwcbDeclineLevels, &message);
        self.plan(time + SPIN_GAP, Due::Script(Step::Directory, 0));
    }

    /// Directory, trading state, Reg SHO and market maker of one symbol.
    fn spin(&mut self, symbol: u32, time: u64) {
        let profile = &self.profiles[symbol as usize];
        let (locate, stock) = (profile.locate, profile.symbol);
        let is_ipo = self.ipo_symbol == Some(symbol);
        let mut directory = StockDirectory::new(locate, time);
        directory.stock = stock;
        directory.market_category = b'Q';
        directory.financial_status = b'N';
        directory.round_lot_size.set(if profile.price_ticks > 50_000 { 40 } else { 100 });
        directory.round_lots_only = b'N';
        directory.issue_classification = b'C';
        directory.issue_subtype = *b"Z ";
        directory.authenticity = b'P';
        directory.short_sale_threshold = b'N';
        directory.ipo_flag = if is_ipo { b'Y' } else { b'N' };
        directory.luld_tier = if profile.rank * 4 < self.config.symbol_count { b'1' } else { b'2' };
        directory.etp_flag = b'N';
        directory.inverse_indicator = b'N';
        self.outbox.write(time, MessageType::StockDirectory, &directory);
        self.trading_action(symbol, time, if is_ipo { (b'H', *b"IPO1") } else { (b'T', *b"    ") });
        let mut restriction = RegShoRestriction::new(locate, time);
        restriction.stock = stock;
        restriction.reg_sho_action = if self.random.chance(0.02) { b'2' } else { b'0' };
        self.outbox.write(time, MessageType::RegShoRestriction, &restriction);
        let mut position = MarketParticipantPosition::new(locate, time);
        position.mpid = *b"PGRN";
        position.stock = stock;
        position.primary_market_maker = b'Y';
        position.market_maker_mode = b'N';
        position.participant_state = b'A';
        self.outbox.write(time, MessageType::MarketParticipantPosition, &position);
        self.plan_next(Step::Directory, symbol, time + SPIN_GAP);
    }

    /// Writes a trading state with its reason and keeps it.
    fn trading_action(&mut self, symbol: u32, time: u64, (state, reason): (u8, [u8; 4])) {
        let profile = &self.profiles[symbol as usize];
        let mut message = StockTradingAction::new(profile.locate, time);
        message.stock = profile.symbol;
        message.trading_state = state;
        message.reserved = b' ';
        message.reason = reason;
        self.outbox.write(time, MessageType::StockTradingAction, &message);
        self.symbols[symbol as usize].is_trading = state == b'T';
    }

    fn start_system(&mut self, time: u64) {
        self.system_event(b'S', time);
        self.plan(time + SPIN_GAP, Due::Script(Step::Seeding, 0));
    }

    /// A few orders per side that rest for hours, and the symbol's first arrival.
    fn seed_book(&mut self, symbol: u32, time: u64) {
        let hours = self.config.hours;
        let profile = &self.profiles[symbol as usize];
        let (fair, scale) = (self.symbols[symbol as usize].latent.fair, profile.spread_ticks);
        for step in 0..SEED_COUNT {
            for (side, sign) in [(Side::Buy, -1.0), (Side::Sell, 1.0)] {
                let distance = scale * (0.5 + f64::from(step) * (0.5 + 2.0 * self.random.unit()));
                let price = fair + sign * distance.max(1.0);
                let rounded = if side == Side::Buy { price.floor() } else { price.floor() + 1.0 };
                let qty = 100 * (1 + self.random.below(5));
                let end = hours.close + to_u64(self.random.unit() * 1.5 * (hours.end_of_system - hours.close) as f64);
                self.add(symbol, side, (to_u32(rounded).max(1), qty), (time, end));
            }
        }
        self.seed_standing(symbol, time);
        self.plan_arrival(symbol);
        self.plan_next(Step::Seeding, symbol, time + SPIN_GAP);
    }

    /// This symbol's part of the orders that rest from now to the end, 20 to 220 spreads behind the fair value.
    fn seed_standing(&mut self, symbol: u32, time: u64) {
        let (all, symbols) = (self.config.standing_order_count, self.config.symbol_count);
        let count = all / symbols + u32::from(symbol < all % symbols);
        let (fair, scale) = (self.symbols[symbol as usize].latent.fair, self.profiles[symbol as usize].spread_ticks);
        for number in 0..count {
            let (side, sign) = if number % 2 == 0 { (Side::Buy, -1.0) } else { (Side::Sell, 1.0) };
            let price = fair + sign * scale * (20.0 + 200.0 * self.random.unit());
            let qty = 100 * (1 + self.random.below(5));
            self.add(symbol, side, (to_u32(price.floor()).max(1), qty), (time, u64::MAX));
        }
    }

    fn event_with_crosses(&mut self, code: u8, step: Step, time: u64) {
        self.system_event(code, time);
        self.plan(time + SPIN_GAP, Due::Script(step, 0));
    }

    /// The cross of one symbol at the open or the close, and the turn of the next symbol.
    fn auction(&mut self, symbol: u32, time: u64, cross_type: u8, step: Step) {
        if self.symbols[symbol as usize].is_trading {
            self.cross(symbol, time, cross_type);
        }
        let gap = SPIN_GAP + u64::from(self.random.below(40_000));
        self.plan_next(step, symbol, time + gap);
    }

    /// Executes displayed orders of one side against orders that were never displayed, at one price, and prints the
    /// whole volume.
    fn cross(&mut self, symbol: u32, time: u64, cross_type: u8) {
        let side = if self.random.word() & 1 == 0 { Side::Buy } else { Side::Sell };
        let state = &self.symbols[symbol as usize];
        let ladder = state.ladder(side);
        let worst = ladder.rung((self.random.below(3) as usize).min(ladder.len().saturating_sub(1)));
        let fair = to_u32(state.latent.fair).max(1);
        let price = worst.map_or(fair, |rung| self.orders.get(rung.first).price);
        let locate = self.locate(symbol);
        let mut shares = 0_u64;
        for _ in 0..self.random.below(CROSS_FILLS_MAX) {
            let Some(slot) = self.symbols[symbol as usize].ladder(side).rung(0).map(|rung| rung.first) else { break };
            let order = *self.orders.get(slot);
            let is_beyond = if side == Side::Buy { order.price < price } else { order.price > price };
            if is_beyond {
                break;
            }
            let executed = self.reduce(slot, order.qty);
            let numbers = (order.reference, executed, self.next_match());
            let message = executed_with_price((locate, time), numbers, b'N', price * PRICE4_PER_TICK);
            self.outbox.write(time, MessageType::OrderExecutedWithPrice, &message);
            shares += u64::from(executed);
        }
        let hidden = self.profiles[symbol as usize].activity * 2e6 * self.random.exponential();
        let mut message = CrossTrade::new(locate, time);
        message.shares.set(shares + to_u64(hidden));
        message.stock = self.profiles[symbol as usize].symbol;
        message.cross_price = Price4::new(price * PRICE4_PER_TICK);
        message.match_number.set(self.next_match());
        message.cross_type = cross_type;
        self.outbox.write(time, MessageType::CrossTrade, &message);
    }

    /// Imbalance messages of every trading symbol, every ten seconds until the cross at `end`.
    fn imbalance_round(&mut self, step: Step, symbol: u32, time: u64, end: u64) {
        let cross_type = if step == Step::OpeningImbalance { b'O' } else { b'C' };
        if self.symbols[symbol as usize].is_trading {
            self.imbalance(symbol, time, cross_type);
        }
        if symbol + 1 < self.config.symbol_count {
            self.plan_next(step, symbol, time + 20_000);
        } else {
            // The round began 20 µs per symbol ago.
            let next = time - u64::from(symbol) * 20_000 + self.spans().imbalance_gap;
            if next < end - SECOND {
                self.plan(next, Due::Script(step, 0));
            }
        }
    }

    fn imbalance(&mut self, symbol: u32, time: u64, cross_type: u8) {
        let (paired, unpaired) = (self.random.below(200_000), self.random.below(40_000));
        let profile = &self.profiles[symbol as usize];
        let state = &self.symbols[symbol as usize];
        let fair = to_u32(state.latent.fair).max(1) * PRICE4_PER_TICK;
        let reference = state.bid.best_price().map_or(fair, |bid| bid * PRICE4_PER_TICK);
        let mut message = NetOrderImbalance::new(profile.locate, time);
        message.paired_shares.set(u64::from(paired));
        message.imbalance_shares.set(u64::from(unpaired));
        message.imbalance_direction = match unpaired % 8 {
            0 => b'N',
            1..=4 => b'B',
            _ => b'S',
        };
        if unpaired.is_multiple_of(8) {
            message.imbalance_shares.set(0);
        }
        message.stock = profile.symbol;
        message.far_price = Price4::new(fair);
        message.near_price = Price4::new(fair);
        message.current_reference_price = Price4::new(reference);
        message.cross_type = cross_type;
        message.price_variation = price_variation(fair, reference);
        self.outbox.write(time, MessageType::NetOrderImbalance, &message);
    }

    /// A volatility pause: state `P`, the collar of the reopening auction, then quotation only and a cross.
    fn pause(&mut self, symbol: u32, time: u64) {
        let spans = self.spans();
        let resumption = time + spans.pause;
        self.symbols[symbol as usize].resumption = resumption;
        self.trading_action(symbol, time, (b'P', *b"LUDP"));
        let profile = &self.profiles[symbol as usize];
        let reference = to_u32(self.symbols[symbol as usize].latent.fair).max(20) * PRICE4_PER_TICK;
        let mut message = LuldAuctionCollar::new(profile.locate, time + 1);
        message.stock = profile.symbol;
        message.reference_price = Price4::new(reference);
        message.upper_collar = Price4::new(reference + reference / 20);
        message.lower_collar = Price4::new(reference - reference / 20);
        self.outbox.write(time + 1, MessageType::LuldAuctionCollar, &message);
        self.plan(resumption - spans.quotation, Due::Script(Step::Quotation, symbol));
        self.plan(resumption, Due::Script(Step::Resumption, symbol));
    }

    fn quotation(&mut self, symbol: u32, time: u64, reason: [u8; 4]) {
        self.trading_action(symbol, time, (b'Q', reason));
        self.plan(time + SECOND, Due::Script(Step::HaltImbalance, symbol));
    }

    /// Imbalance messages every second of a quotation period.
    fn halt_imbalance(&mut self, symbol: u32, time: u64) {
        if time < self.symbols[symbol as usize].resumption && !self.symbols[symbol as usize].is_trading {
            self.imbalance(symbol, time, b'H');
            self.plan(time + SECOND, Due::Script(Step::HaltImbalance, symbol));
        }
    }

    /// The reopening cross and the return to trading.
    fn resume(&mut self, symbol: u32, time: u64, reason: [u8; 4]) {
        self.cross(symbol, time, b'H');
        self.trading_action(symbol, time, (b'T', reason));
    }

    fn operational(&mut self, symbol: u32, time: u64, action: u8) {
        let profile = &self.profiles[symbol as usize];
        let mut message = OperationalHalt::new(profile.locate, time);
        message.stock = profile.symbol;
        message.market_code = b'Q';
        message.action = action;
        self.outbox.write(time, MessageType::OperationalHalt, &message);
        self.symbols[symbol as usize].is_trading = action == b'T';
    }

    fn retail_interest(&mut self, time: u64) {
        let hours = self.config.hours;
        let symbol = self.random.below(self.config.symbol_count);
        let profile = &self.profiles[symbol as usize];
        let mut message = RetailPriceImprovement::new(profile.locate, time);
        message.stock = profile.symbol;
        message.interest_flag = match self.random.below(4) {
            0 => b'B',
            1 => b'S',
            2 => b'A',
            _ => b'N',
        };
        self.outbox.write(time, MessageType::RetailPriceImprovement, &message);
        let next = time + (hours.close - hours.open) / 200;
        if next < hours.close {
            self.plan(next, Due::Script(Step::RetailInterest, 0));
        }
    }

    fn announce_ipo(&mut self, symbol: u32, time: u64) {
        let release =
            self.config.hours.open + (self.config.hours.close - self.config.hours.open) / 20 + self.spans().pause;
        let profile = &self.profiles[symbol as usize];
        let mut message = IpoQuotingPeriodUpdate::new(0, time);
        message.stock = profile.symbol;
        message.ipo_release_time.set(u32::try_from(release / SECOND).unwrap_or(0));
        message.ipo_qualifier = b'A';
        message.ipo_price = Price4::new(profile.price_ticks * PRICE4_PER_TICK);
        self.outbox.write(time, MessageType::IpoQuotingPeriodUpdate, &message);
    }

    fn quote_ipo(&mut self, symbol: u32, time: u64) {
        self.symbols[symbol as usize].resumption = time + self.spans().pause;
        self.quotation(symbol, time, *b"IPOQ");
        let profile = &self.profiles[symbol as usize];
        let price = profile.price_ticks * PRICE4_PER_TICK;
        let mut message = DirectListingWithCapitalRaise::new(profile.locate, time + 1);
        message.stock = profile.symbol;
        message.open_eligibility = b'Y';
        message.min_allowable_price = Price4::new(price / 5 * 4);
        message.max_allowable_price = Price4::new(price / 5 * 9);
        message.near_execution_price = Price4::new(price);
        message.near_execution_time.set(time);
        message.lower_collar = Price4::new(price / 10 * 9);
        message.upper_collar = Price4::new(price / 10 * 11);
        self.outbox.write(time + 1, MessageType::DirectListingWithCapitalRaise, &message);
    }

    /// The market-wide circuit breaker, level 1, one symbol per step: `W` first, then every symbol is halted.
    fn halt_market(&mut self, symbol: u32, time: u64) {
        if symbol == 0 {
            let mut message = MwcbStatus::new(0, time);
            message.breached_level = b'1';
            self.outbox.write(time, MessageType::MwcbStatus, &message);
            self.plan(time + self.spans().market_halt, Due::Script(Step::MarketResumption, 0));
        }
        self.trading_action(symbol, time, (b'H', *b"MWC1"));
        self.plan_next(Step::MarketHalt, symbol, time + SPIN_GAP);
    }

    fn resume_market(&mut self, symbol: u32, time: u64) {
        self.resume(symbol, time, *b"MWCQ");
        self.plan_next(Step::MarketResumption, symbol, time + SPIN_GAP);
    }

    /// Deletes what is left after the end of system hours, one slot per step, then ends the session.
    fn clean_up(&mut self, slot: u32, time: u64) {
        let live = (slot..self.orders.slot_count()).find(|&slot| self.orders.get(slot).reference != 0);
        if let Some(live) = live {
            self.delete(live, time);
            self.plan(time + SPIN_GAP / 2, Due::Script(Step::CleanUp, live + 1));
        } else if time < self.config.hours.end_of_messages {
            self.plan(self.config.hours.end_of_messages, Due::Script(Step::CleanUp, self.orders.slot_count()));
        } else {
            self.system_event(b'C', time);
        }
    }
}

/// How far the near price is from the reference (ITCH 5.0, `Price Variation Indicator`).
fn price_variation(near: u32, reference: u32) -> u8 {
    match near.abs_diff(reference).saturating_mul(100) / reference.max(1) {
        0 => b'L',
        percent @ 1..=9 => b'0' + u8::try_from(percent).unwrap_or(9),
        10..=19 => b'A',
        20..=29 => b'B',
        _ => b'C',
    }
}

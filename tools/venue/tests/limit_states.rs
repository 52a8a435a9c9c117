//! Limit states and references that are means, against the Limit Up-Limit Down plan worked out by hand from nothing but
//! trades, displayed prices and times: when bands move, when a symbol pauses, when it does not.

#![expect(clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how much was tried")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most events say nothing here")]

mod common;

use peregrine_gateway::ouch50::RejectReason;
use peregrine_types::{EpochNanos, OrderRef, Price, Side, SymbolId, TickTable};
use peregrine_venue::*;
use peregrine_wire::itch50::{Message, parse};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const SECOND: u64 = 1_000_000_000;
const OPEN: u64 = 34_200 * SECOND;
const CLOSE: u64 = 57_600 * SECOND;
const SYMBOL: SymbolId = SymbolId(0);
/// Nanodollars of a cent.
const CENT: i64 = 10_000_000;
/// Times and shares of the plan, the pause shorter so that there are more of them.
const UPDATE: u64 = 30 * SECOND;
const MEAN: u64 = 300 * SECOND;
const LIMIT_STATE: u64 = 15 * SECOND;
const PAUSE: u64 = 60 * SECOND;

fn exchange(reference: BandReference) -> Exchange {
    let config = VenueConfig {
        symbols: vec![SymbolConfig {
            name: peregrine_types::Symbol::new("ALFA").expect("a name"),
            ticks: TickTable::US_EQUITY,
            round_lot: 100,
            reference_price: Price(1_000 * CENT),
        }],
        schedule: DaySchedule::full(),
        ..common::config()
    };
    let mut exchange = Exchange::new(config, &[], VenueClock::from_midnight(EpochNanos(0))).expect("possible");
    let bands = BandRules {
        reference,
        update_ns: UPDATE,
        mean_ns: MEAN,
        change_bps: 100,
        pause_ns: PAUSE,
        limit_state_ns: LIMIT_STATE,
        doubled_open_ns: 0,
        doubled_close_ns: 0,
    };
    exchange.set_rules(DayRules { bands: Some(bands), tiers: vec![BandTier::plain(500)], imbalance: None });
    exchange.hear_from(AccountId(0));
    exchange
}

/// What the plan says, from what could be seen.
struct Plan {
    reference: i64,
    /// Lowest and highest price of the bands, or of the collars in a pause.
    bands: (i64, i64),
    /// Since when trades count.
    opened: u64,
    trades: Vec<(u64, i64)>,
    next_update: u64,
    limit: Option<(Side, u64)>,
    paused_until: Option<u64>,
    counts: [u32; 4],
}

/// Of [`Plan::counts`].
const MOVED: usize = 0;
const ENTERED: usize = 1;
const LEFT: usize = 2;
const PAUSED: usize = 3;

impl Plan {
    fn new() -> Self {
        let (trades, limit, paused_until) = (Vec::new(), None, None);
        let next_update = OPEN + UPDATE;
        let mut plan = Self {
            reference: 0,
            bands: (0, 0),
            opened: OPEN,
            trades,
            next_update,
            limit,
            paused_until,
            counts: [0; 4],
        };
        plan.refer_to(1_000 * CENT);
        plan
    }

    fn refer_to(&mut self, reference: i64) {
        self.reference = reference;
        let (width, middle) = (reference * 5 / 100, reference / CENT * CENT);
        self.bands = ((middle - width + CENT - 1) / CENT * CENT, (middle + width) / CENT * CENT);
    }

    /// Lets time pass to `time`, which is a moment at which the exchange was asked, at the latest. `actions` are the trading
    /// actions that it published meanwhile, `before` the best displayed prices when it was asked.
    fn pass(&mut self, time: u64, actions: &mut Vec<(u64, u8)>, before: [Option<i64>; 2]) {
        while self.next_update <= time && self.next_update < CLOSE {
            let at = self.next_update;
            self.next_update += UPDATE;
            if self.limit.is_some() || self.paused_until.is_some() {
                continue;
            }
            let from = self.opened.max(at.saturating_sub(MEAN));
            let counted = self.trades.iter().filter(|(time, _)| from < *time && *time <= at);
            let prices: Vec<i128> = counted.map(|(_, price)| i128::from(*price)).collect();
            let Some(mean) = prices.iter().sum::<i128>().checked_div(prices.len() as i128) else { continue };
            let reference = i128::from(self.reference);
            if (mean - reference).abs() * 100 >= reference {
                self.refer_to(i64::try_from(mean).expect("a price"));
                self.counts[MOVED] += 1;
            }
        }
        if let Some((side, since)) = self.limit
            && since + LIMIT_STATE <= time
        {
            assert_eq!(actions.first(), Some(&(since + LIMIT_STATE, b'P')), "{side:?} since {since}");
            actions.remove(0);
            let (lower, upper) = self.bands;
            self.bands = match side {
                Side::Buy => (lower, (upper + upper * 5 / 100) / CENT * CENT),
                Side::Sell => ((lower - lower * 5 / 100 + CENT - 1) / CENT * CENT, upper),
            };
            self.limit = None;
            self.paused_until = Some((since + LIMIT_STATE + PAUSE).min(CLOSE - 1));
            self.counts[PAUSED] += 1;
        }
        if let Some(until) = self.paused_until.filter(|until| *until <= time) {
            assert_eq!(actions.first(), Some(&(until, b'T')));
            actions.remove(0);
            self.paused_until = None;
            self.opened = until;
            let cross = self.trades.iter().find(|(time, _)| *time == until).map(|(_, price)| *price);
            let middle = before[0].zip(before[1]).map(|(bid, ask)| bid + (ask - bid) / 2);
            self.refer_to(cross.or(middle).unwrap_or(self.reference));
        }
        assert!(actions.is_empty(), "{actions:?} at {time}, expected none");
    }

    /// Looks at the best displayed prices at `time`.
    fn look(&mut self, time: u64, [bid, ask]: [Option<i64>; 2]) {
        let side = if self.paused_until.is_some() || time >= CLOSE {
            None
        } else if bid == Some(self.bands.1) {
            Some(Side::Buy)
        } else {
            (ask == Some(self.bands.0)).then_some(Side::Sell)
        };
        let was = self.limit.map(|(side, _)| side);
        if side != was {
            self.limit = side.map(|side| (side, time));
            self.counts[if side.is_some() { ENTERED } else { LEFT }] += 1;
        }
    }
}

/// An exchange, and the plan that it is held against at every moment.
struct Held {
    exchange: Exchange,
    plan: Plan,
    feed: Vec<Vec<u8>>,
    heard: Vec<(TimeOfDay, AccountId, OrderEvent)>,
    match_last: u64,
}

impl Held {
    fn new() -> Self {
        let (exchange, plan) = (exchange(BandReference::MeanTrade), Plan::new());
        let mut held = Self { exchange, plan, feed: Vec::new(), heard: Vec::new(), match_last: 0 };
        // The steps up to the open, which nothing crosses in.
        held.exchange.apply_at(&Command::Clock, TimeOfDay(OPEN), EpochNanos(0), &mut |_: TimeOfDay, _: &[u8]| {});
        held
    }

    fn best(&self) -> [Option<i64>; 2] {
        Side::BOTH.map(|side| self.exchange.venue().displayed(SYMBOL, side).next().map(|order| order.price.0))
    }

    /// Carries out one command, at the exchange's own moments before it and then at `time`; what it came to.
    fn say(&mut self, time: u64, command: &Command) -> Vec<OrderEvent> {
        while let Some(TimeOfDay(own)) = self.exchange.next_timer().filter(|own| own.0 < time) {
            self.step(own, &Command::Clock);
        }
        self.step(time, command)
    }

    fn step(&mut self, time: u64, command: &Command) -> Vec<OrderEvent> {
        let (before, from, told) = (self.best(), self.heard.len(), self.feed.len());
        let Self { exchange, feed, .. } = self;
        exchange.apply_at(command, TimeOfDay(time), EpochNanos(0), &mut |_: TimeOfDay, message: &[u8]| {
            feed.push(message.to_vec());
        });
        self.exchange.take_heard(&mut self.heard);
        for (time, _, event) in &self.heard[from..] {
            if let OrderEvent::Executed { price, match_number, .. } = event
                && *match_number > self.match_last
            {
                self.match_last = *match_number;
                self.plan.trades.push((time.0, price.0));
            }
        }
        let action = |message: &Vec<u8>| match parse(message) {
            Ok(Message::StockTradingAction(m)) => Some((m.timestamp.get(), m.trading_state)),
            _ => None,
        };
        let mut actions = self.feed[told..].iter().filter_map(action).collect();
        self.plan.pass(time, &mut actions, before);
        let events: Vec<_> = self.heard[from..].iter().map(|(_, _, event)| *event).collect();
        // In a pause nothing immediate is taken, whatever its price.
        if let Command::Enter(NewOrder { side, terms: Terms { price: Some(price), lifetime, .. }, .. }) = command
            && (self.plan.paused_until.is_none() || *lifetime != Lifetime::ImmediateOrCancel)
        {
            let (lower, upper) = self.plan.bands;
            let is_beyond = match side {
                Side::Buy => price.0 > upper,
                Side::Sell => price.0 < lower,
            };
            let refused = events
                .iter()
                .any(|event| matches!(event, OrderEvent::Rejected { reason, .. } if *reason == RejectReason::PRICE));
            assert_eq!(refused, is_beyond, "{side:?} {price} at {time}, bands {:?}", self.plan.bands);
        }
        self.plan.look(time, self.best());
        events
    }

    fn enter(&mut self, time: u64, side: Side, cents: i64) -> Option<OrderRef> {
        self.enter_with(time, side, Terms::limit(Price(cents * CENT)))
    }

    fn enter_with(&mut self, time: u64, side: Side, terms: Terms) -> Option<OrderRef> {
        let account = AccountId(u32::from(side == Side::Buy) * 2);
        let order = NewOrder { account, token: 1, symbol: SYMBOL, side, qty: 100, terms };
        let events = self.say(time, &Command::Enter(order));
        events.into_iter().find_map(|event| match event {
            OrderEvent::Accepted { order_ref, .. } => Some(order_ref),
            _ => None,
        })
    }
}

/// A bid at the upper band pauses the symbol after fifteen seconds and not a nanosecond before; one that left in between does
/// not, and one that is followed by another at the same price does.
#[test]
fn a_limit_state_pauses_to_the_nanosecond() {
    let mut held = Held::new();
    let time = OPEN + 10 * SECOND + 7;
    let first = held.enter(time, Side::Buy, 1_050).expect("at the band");
    held.say(time + LIMIT_STATE - 1, &Command::Cancel { order_ref: first, qty: 0 });
    held.say(time + LIMIT_STATE + SECOND, &Command::Clock);
    assert_eq!(held.plan.counts, [0, 1, 1, 0]);
    let again = time + 2 * LIMIT_STATE;
    let first = held.enter(again, Side::Buy, 1_050).expect("at the band");
    held.enter(again + 5 * SECOND, Side::Buy, 1_050).expect("at the band");
    held.say(again + 9 * SECOND, &Command::Cancel { order_ref: first, qty: 0 });
    held.say(again + LIMIT_STATE, &Command::Clock);
    assert_eq!(held.plan.counts, [0, 2, 1, 1]);
    // What reaches beyond the bands is refused, and pauses nothing by itself: 10.50 and 5 % are the collars.
    assert_eq!(held.enter(again + LIMIT_STATE + 1, Side::Buy, 1_103), None);
    held.enter(again + LIMIT_STATE + 1, Side::Sell, 1_060).expect("within the collars");
    held.enter(again + LIMIT_STATE + 1, Side::Buy, 1_060).expect("within the collars");
    held.say(again + LIMIT_STATE + PAUSE, &Command::Clock);
    assert_eq!((held.plan.reference, held.plan.paused_until), (1_060 * CENT, None), "its cross is the reference");
}

/// A sell at the lower band, and a market order that would reach behind a band: the one pauses, the other does not.
#[test]
fn offers_at_the_lower_band_pause_and_market_orders_do_not() {
    let mut held = Held::new();
    held.enter(OPEN + SECOND, Side::Sell, 1_080).expect("offers may be above");
    let market = Terms { price: None, lifetime: Lifetime::ImmediateOrCancel, ..Terms::limit(Price(0)) };
    held.enter_with(OPEN + 2 * SECOND, Side::Buy, market).expect("taken, and cancelled");
    held.say(OPEN + 40 * SECOND, &Command::Clock);
    assert_eq!(held.plan.counts, [0; 4]);
    held.enter(OPEN + 50 * SECOND, Side::Sell, 950).expect("at the band");
    held.say(OPEN + 70 * SECOND, &Command::Clock);
    assert_eq!(held.plan.counts, [0, 1, 0, 1]);
}

/// The mean of five minutes takes the reference's place where it is 1 % away, at the next half minute; what is older counts
/// no more, and nothing moves while a limit state lasts.
#[test]
fn references_are_means_of_five_minutes() {
    let mut held = Held::new();
    let trade = |held: &mut Held, time: u64, cents: i64| {
        held.enter(time, Side::Sell, cents).expect("within");
        held.enter(time + 1, Side::Buy, cents).expect("within");
    };
    trade(&mut held, OPEN + SECOND, 1_009);
    held.say(OPEN + 30 * SECOND, &Command::Clock);
    assert_eq!(held.plan.counts[MOVED], 0, "0.9 %");
    trade(&mut held, OPEN + 31 * SECOND, 1_011);
    held.say(OPEN + 60 * SECOND, &Command::Clock);
    assert_eq!((held.plan.counts[MOVED], held.plan.reference), (1, 1_010 * CENT));
    trade(&mut held, OPEN + 100 * SECOND, 1_040);
    held.say(OPEN + 310 * SECOND, &Command::Clock);
    assert_eq!(held.plan.reference, 1_010 * CENT, "a third of 10.09, 10.11 and 10.40 is 0.99 % away");
    held.say(OPEN + 330 * SECOND, &Command::Clock);
    assert!(held.plan.reference > 1_025 * CENT - 1, "{}: the first one counts no more", held.plan.reference);
    let moved = held.plan.counts[MOVED];
    let upper = held.plan.bands.1 / CENT;
    trade(&mut held, OPEN + 340 * SECOND, upper);
    held.enter(OPEN + 350 * SECOND, Side::Buy, upper).expect("at the band");
    held.say(OPEN + 360 * SECOND, &Command::Clock);
    assert_eq!(held.plan.counts[MOVED], moved, "a limit state lasts");
}

/// Hours of orders at, around and beyond the bands: every pause, every reopening, every price that is taken or refused is the
/// plan's.
#[test]
fn hours_of_orders_around_the_bands_follow_the_plan() {
    let mut counts = [0; 4];
    for seed in 0..8 {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let mut below = |end: u64| chance.next_u64() % end;
        let (mut held, mut time) = (Held::new(), OPEN);
        let mut refs = Vec::new();
        while time < CLOSE - 12 * SECOND {
            time += 1 + below(12 * SECOND);
            let ((lower, upper), middle) = (held.plan.bands, held.plan.reference / CENT);
            let cents = match below(8) {
                0 => lower / CENT,
                1 => upper / CENT,
                2 => lower / CENT - 1,
                3 => upper / CENT + 1,
                4 => middle + i64::try_from(below(60)).expect("few") - 30,
                _ => middle + i64::try_from(below(9)).expect("few") - 4,
            };
            // Minutes in which nearly everybody buys, or sells, and others.
            let side = match (time / (90 * SECOND) % 4, below(16)) {
                (0, 0) | (1, 1..) => Side::Sell,
                (0, 1..) | (1, 0) => Side::Buy,
                (_, chance) => Side::BOTH[usize::try_from(chance % 2).expect("two")],
            };
            let terms = Terms::limit(Price(cents * CENT));
            let terms = match below(10) {
                0 => Terms { lifetime: Lifetime::ImmediateOrCancel, ..terms },
                1 => Terms { display: Display::Hidden, ..terms },
                2 => terms,
                _ => Terms { lifetime: Lifetime::Until(TimeOfDay(time + below(40 * SECOND))), ..terms },
            };
            match below(5) {
                0 if !refs.is_empty() => {
                    let at = usize::try_from(below(refs.len() as u64)).expect("few");
                    let order_ref = refs.swap_remove(at);
                    held.say(time, &Command::Cancel { order_ref, qty: 0 });
                }
                _ => refs.extend(held.enter_with(time, side, terms)),
            }
        }
        held.say(CLOSE + SECOND, &Command::Clock);
        for (sum, count) in counts.iter_mut().zip(held.plan.counts) {
            *sum += count;
        }
    }
    println!("references moved {}, limit states {}, left {}, pauses {}", counts[0], counts[1], counts[2], counts[3]);
    assert!(counts.iter().all(|count| *count > 40), "{counts:?}");
}

//! Price bands by tiers, from the rules of the day to both matchers: an exchange with the plan's tiers says what the slow,
//! obvious one says that is told the plan's bands, worked out by hand, at the plan's times.

#![expect(clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most events say nothing here")]

mod common;

use std::collections::{BTreeMap, VecDeque};

use common::{Log, Said};
use peregrine_gateway::ouch50::{CancelReason, RejectReason};
use peregrine_types::{EpochNanos, OrderRef, Price, Side, Symbol, SymbolId, TickTable};
use peregrine_venue::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const SECOND: u64 = 1_000_000_000;
const OPEN: u64 = 34_200 * SECOND;
const CLOSE: u64 = 57_600 * SECOND;
/// When widths change: the open, a quarter of an hour behind it, 25 minutes before the close.
const CHANGES: [u64; 4] = [OPEN, OPEN + 900 * SECOND, CLOSE - 1_500 * SECOND, CLOSE];

/// Hundredths of a cent.
const fn mils(mils: i64) -> Price {
    Price(mils * 100_000)
}

/// A symbol with its previous close, its bands and those that are doubled; whether the last 25 minutes double them in the
/// plan as it is now. The first is of tier 1, the last of none.
type Row = (&'static str, i64, Option<[(i64, i64); 2]>, bool);

const ROWS: [Row; 8] = [
    ("FIRST", 100_000, Some([(95_000, 105_000), (90_000, 110_000)]), true),
    ("OTHER", 100_000, Some([(90_000, 110_000), (80_000, 120_000)]), false),
    // 10 % of 3.01 is 0.301: inwards to the cent.
    ("NEXT", 30_100, Some([(27_100, 33_100), (24_100, 36_100)]), false),
    ("EDGE", 30_000, Some([(24_000, 36_000), (18_000, 42_000)]), true),
    ("LOW", 7_500, Some([(6_000, 9_000), (4_500, 10_500)]), true),
    ("PENNY", 7_499, Some([(5_999, 8_999), (4_499, 10_400)]), true),
    ("CHEAP", 1_000, Some([(250, 1_750), (1, 2_500)]), true),
    ("FREE", 100_000, None, false),
];

fn symbol(name: &str) -> Symbol {
    Symbol::new(name).expect("a name")
}

fn config() -> VenueConfig {
    let listed = |row: &Row| SymbolConfig {
        name: symbol(row.0),
        ticks: TickTable::US_EQUITY,
        round_lot: 100,
        reference_price: mils(row.1),
    };
    VenueConfig {
        symbols: ROWS.iter().map(listed).collect(),
        schedule: DaySchedule::full(),
        side_level_count_max: 4_000,
        ..common::config()
    }
}

/// The plan as it is, or as it was before nothing was doubled at the open any more.
fn rules(was: bool) -> DayRules {
    let width = |from, width_bps, is_doubled_at_close| BandWidth {
        from: mils(from),
        is_doubled_at_open: was,
        is_doubled_at_close: is_doubled_at_close || was,
        ..BandWidth::plain(width_bps)
    };
    let tier = |names: &[Row], bps, is_doubled| BandTier {
        symbols: Some(names.iter().map(|row| symbol(row.0)).collect()),
        widths: vec![
            BandWidth { width_max: Some(mils(1_500)), ..width(0, 7_500, true) },
            width(7_500, 2_000, true),
            width(30_001, bps, is_doubled),
        ],
    };
    let bands = BandRules {
        reference: BandReference::PreviousClose,
        update_ns: SECOND,
        mean_ns: SECOND,
        change_bps: 0,
        pause_ns: 0,
        limit_state_ns: 0,
        doubled_open_ns: 900 * SECOND,
        doubled_close_ns: 1_500 * SECOND,
    };
    let tiers = vec![tier(&ROWS[..1], 500, true), tier(&ROWS[1..7], 1_000, false)];
    DayRules { bands: Some(bands), tiers, imbalance: None }
}

/// The bands of a symbol at a time, by hand.
fn bands_at(row: &Row, was: bool, time: u64) -> Option<Bands> {
    let [open, quarter, late, close] = CHANGES;
    let is_doubled = was && (time < quarter || time >= late) || row.3 && time >= late;
    let (lower, upper) = row.2.filter(|_| (open..close).contains(&time))?[usize::from(is_doubled)];
    Some(Bands { lower: mils(lower), upper: mils(upper) })
}

/// An exchange with its rules, the reference without, and what both said.
struct Twins {
    exchange: Exchange,
    reference: ReferenceVenue,
    was: bool,
    changes: VecDeque<u64>,
    heard: Vec<(TimeOfDay, AccountId, OrderEvent)>,
    feed: Vec<(u64, Vec<u8>)>,
    log: Log,
}

impl Twins {
    fn new(was: bool) -> Self {
        let midnight = VenueClock::from_midnight(EpochNanos(0));
        let mut exchange = Exchange::new(config(), &[], midnight).expect("possible");
        exchange.set_rules(rules(was));
        exchange.hear_from(AccountId(0));
        let reference = ReferenceVenue::new(config());
        Self { exchange, reference, was, changes: CHANGES.into(), heard: vec![], feed: vec![], log: Log::default() }
    }

    /// Carries out a command in both; what it came to.
    fn say(&mut self, time: u64, command: &Command) -> Vec<OrderEvent> {
        let Self { exchange, feed, .. } = self;
        let mut on_feed = |time: TimeOfDay, message: &[u8]| feed.push((time.0, message.to_vec()));
        exchange.apply_at(command, TimeOfDay(time), EpochNanos(0), &mut on_feed);
        while let Some(change) = self.changes.pop_front_if(|change| *change <= time) {
            self.reference.apply(TimeOfDay(change), &Command::Clock, &mut self.log);
            for (symbol, row) in (0..).map(SymbolId).zip(&ROWS) {
                let bands = bands_at(row, self.was, change);
                self.reference.apply(TimeOfDay(change), &Command::SetBands { symbol, bands }, &mut self.log);
            }
        }
        self.reference.apply(TimeOfDay(time), command, &mut self.log);
        let from = self.heard.len();
        self.exchange.take_heard(&mut self.heard);
        self.heard[from..].iter().map(|(_, _, event)| *event).collect()
    }

    fn enter(&mut self, time: u64, at: usize, side: Side, terms: Terms) -> Vec<OrderEvent> {
        let symbol = SymbolId(u32::try_from(at).expect("few"));
        let account = AccountId(u32::from(side == Side::Buy) * 2);
        self.say(time, &Command::Enter(NewOrder { account, token: 1, symbol, side, qty: 100, terms }))
    }

    /// Whether a limit order is taken; it is cancelled at once.
    fn is_taken(&mut self, time: u64, at: usize, side: Side, price: Price) -> bool {
        let terms = Terms { lifetime: Lifetime::Extended, ..Terms::limit(price) };
        match self.enter(time, at, side, terms)[..] {
            [OrderEvent::Accepted { order_ref, .. }] => {
                self.say(time, &Command::Cancel { order_ref, qty: 0 });
                true
            }
            [.., OrderEvent::Rejected { reason, .. }] => {
                assert_eq!(reason, RejectReason::PRICE);
                false
            }
            ref other => panic!("{other:?}"),
        }
    }

    fn compare(&self) {
        let (mut orders, mut market) = (Vec::new(), Vec::new());
        for said in &self.log.0 {
            match said {
                Said::Order(time, account, event) => orders.push((*time, *account, *event)),
                Said::Market(time, message) => market.push((time.0, message.clone())),
            }
        }
        for (at, (found, wanted)) in self.heard.iter().zip(&orders).enumerate() {
            assert_eq!(found, wanted, "event {at}");
        }
        assert_eq!(self.heard.len(), orders.len());
        assert!(self.feed == market, "{} messages, {} wanted", self.feed.len(), market.len());
    }
}

/// At each change of the day, the nanosecond before it included, the price of each band is taken and the next one is not.
#[test]
fn every_band_holds_to_the_tick_and_to_the_nanosecond() {
    let ticks = TickTable::US_EQUITY;
    for was in [false, true] {
        let mut twins = Twins::new(was);
        for time in CHANGES.into_iter().flat_map(|change| [change - 1, change]) {
            for (at, row) in ROWS.iter().enumerate() {
                let Some(Bands { lower, upper }) = bands_at(row, was, time) else {
                    for (side, price) in [(Side::Sell, mils(1)), (Side::Buy, mils(10_000_000))] {
                        assert!(twins.is_taken(time, at, side, price), "{} {time}", row.0);
                    }
                    continue;
                };
                let below = ticks.down(lower, 1).map(|price| (Side::Sell, price, false));
                let above = ticks.up(upper, 1).map(|price| (Side::Buy, price, false));
                let within = [(Side::Sell, lower, true), (Side::Buy, upper, true)];
                for (side, price, is_taken) in within.into_iter().chain(below).chain(above) {
                    assert_eq!(twins.is_taken(time, at, side, price), is_taken, "{} {time} {price} {was}", row.0);
                }
            }
        }
        twins.compare();
    }
}

/// A symbol that is halted while its width changes has the new one when it opens again.
#[test]
fn a_symbol_that_opens_again_late_has_the_width_of_then() {
    let mut twins = Twins::new(false);
    let (first, late) = (SymbolId(0), CHANGES[2]);
    twins.say(late - 500 * SECOND, &Command::Halt { symbol: first, reason: *b"T1  " });
    twins.say(late + 500 * SECOND, &Command::Resume { symbol: first });
    for (price, is_taken) in [(110_000, true), (110_100, false)] {
        assert_eq!(twins.is_taken(late + 501 * SECOND, 0, Side::Buy, mils(price)), is_taken);
    }
}

/// Orders at, within and beyond the bands, market orders and pegs over whole days: what rests when bands narrow goes, and
/// nothing trades outside of them.
#[test]
fn days_of_orders_around_the_bands_agree() {
    let ticks = TickTable::US_EQUITY;
    let (mut traded, mut gone) = (0, 0);
    for seed in 0..6 {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let mut below = |end: u64| chance.next_u64() % end;
        let (mut twins, mut rows) = (Twins::new(seed % 2 == 0), BTreeMap::new());
        let mut time = OPEN - 300 * SECOND;
        while time < CLOSE + 300 * SECOND {
            time += below(30 * SECOND);
            let at = usize::try_from(below(8)).expect("few");
            let row = &ROWS[at];
            let edges = row.2.map_or([row.1; 4], |[plain, wide]| [plain.0, plain.1, wide.0, wide.1]);
            let edge = mils(edges[usize::try_from(below(4)).expect("few")]);
            let price = match below(4) {
                0 => ticks.down(edge, 1).unwrap_or(edge),
                1 => ticks.up(edge, 1).expect("there is one"),
                2 => mils(row.1),
                _ => edge,
            };
            let terms = Terms { lifetime: Lifetime::Extended, ..Terms::limit(price) };
            let terms = match below(12) {
                0 => Terms { price: None, ..terms },
                1 => Terms { is_midpoint_peg: true, display: Display::Hidden, ..terms },
                2 => Terms { lifetime: Lifetime::Until(TimeOfDay(time + below(900 * SECOND))), ..terms },
                _ => terms,
            };
            let side = Side::BOTH[usize::try_from(below(2)).expect("two")];
            let events = match below(6) {
                0 => {
                    let last = twins.exchange.venue().match_count() + 20;
                    let order_ref = OrderRef(1 + below(last));
                    twins.say(time, &Command::Cancel { order_ref, qty: 0 })
                }
                _ => twins.enter(time, at, side, terms),
            };
            let taken = events.iter().filter_map(|event| match event {
                OrderEvent::Accepted { order_ref, .. } => Some((*order_ref, at)),
                _ => None,
            });
            rows.extend(taken);
        }
        twins.compare();
        for (time, _, event) in &twins.heard {
            if let OrderEvent::Executed { order_ref, price, .. } = event {
                let bands = bands_at(&ROWS[rows[order_ref]], twins.was, time.0);
                assert!(
                    bands.is_none_or(|bands| bands.lower <= *price && *price <= bands.upper),
                    "{order_ref} {price}"
                );
                traded += 1;
            } else if let OrderEvent::Canceled { reason, .. } = event {
                gone += u64::from(*reason == CancelReason::REGULATORY);
            }
        }
    }
    assert!(traded > 200 && gone > 10, "{traded} executions, {gone} orders beyond new bands");
}

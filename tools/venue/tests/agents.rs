//! Agents as background flow: reproducible, whole in shares and cash, sane in the mean, and they react.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::cast_precision_loss, reason = "means over thousands of samples")]

mod common;

use std::path::Path;

use common::{Desk, Log, cents};
use peregrine_runtime::StopFlag;
use peregrine_types::{EpochNanos, OrderRef, Side, Symbol, SymbolId, TickTable};
use peregrine_venue::*;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const OPEN: u64 = 34_200 * SECOND;
const CLOSE: u64 = OPEN + 60 * MINUTE;
/// The account of whoever is no agent.
const OWN: AccountId = AccountId(0);

/// Three agents of each kind, and a value that wanders a lot: about 2 % in an hour.
fn agents(seed: u64) -> AgentsConfig {
    AgentsConfig {
        seed,
        symbol_count: 3,
        value: ValueConfig { volatility_bps: 200, reversion_milli: 500, jumps_milli: 1_000, jump_bps: 30 },
        makers: MakersConfig {
            count: 3,
            looks_per_hour: 720,
            reaction_us: 500,
            half_spread_bps: 4,
            step_bps: 3,
            order_lots: 5,
            position_lots_max: 100,
            skew_bps: 8,
            learning_ppm: 250_000,
        },
        momentum: MomentumConfig {
            count: 3,
            looks_per_hour: 240,
            threshold_bps: 6,
            order_lots: 1,
            position_lots_max: 20,
        },
        informed: InformedConfig { count: 3, looks_per_hour: 360, error_bps: 3, edge_bps: 2, order_lots: 1 },
        noise: NoiseConfig {
            count: 20,
            orders_per_hour: 60,
            branching_ppm: 400_000,
            decay_milli: 2_000,
            taking_ppm: 250_000,
            cancel_ppm: 300_000,
            stop_ppm: 0,
            depth_ticks: 6,
            order_lots_max: 3,
            resting_count_max: 60,
        },
    }
}

fn config(agent_count: u32) -> VenueConfig {
    let symbol = |(name, price): (&str, i64)| SymbolConfig {
        name: Symbol::new(name).unwrap(),
        ticks: TickTable::US_EQUITY,
        round_lot: 100,
        reference_price: cents(price),
    };
    VenueConfig {
        symbols: [("ALFA", 2_000), ("BRAVO", 10_000), ("CHARLIE", 30_000)].map(symbol).to_vec(),
        firms: (0..=agent_count).map(FirmId).collect(),
        schedule: DaySchedule {
            times: [OPEN - 2 * MINUTE, OPEN - MINUTE, OPEN, CLOSE, CLOSE + MINUTE, CLOSE + 2 * MINUTE].map(TimeOfDay),
            late_ns: 10 * SECOND,
        },
        order_count_max: 10_000,
        reference_count_max: 1_000_000,
        level_count_max: 20_000,
        side_level_count_max: 4_000,
    }
}

/// An exchange with agents, its feed as a hash, and every command in order.
struct Market {
    exchange: Exchange,
    flow: AgentFlow,
    hash: EventHash,
    commands: Vec<(TimeOfDay, Command)>,
}

impl Market {
    fn new(agents: AgentsConfig) -> Self {
        let config = config(agents.agent_count());
        let mut flow = AgentFlow::new(agents, &config.symbols, &config.schedule, AccountId(1));
        flow.keep_commands();
        let mut exchange = Exchange::new(config, &[], VenueClock::from_midnight(EpochNanos(0))).unwrap();
        exchange.hear_from(AccountId(1));
        Self { exchange, flow, hash: EventHash::default(), commands: Vec::new() }
    }

    /// Lets agents act until `time`, and calls `look` before each.
    fn run(&mut self, time: u64, mut look: impl FnMut(&Self)) {
        while self.flow.next_time().is_some_and(|next| next.0 <= time) {
            look(self);
            let hash = &mut self.hash;
            let mut feed = |time: TimeOfDay, message: &[u8]| hash.on_market(time, message);
            assert!(self.flow.step(EpochNanos(0), &mut self.exchange, &mut feed));
            self.commands.append(&mut self.flow.take_commands());
        }
    }

    fn apply(&mut self, time: u64, command: Command) {
        let hash = &mut self.hash;
        let mut feed = |time: TimeOfDay, message: &[u8]| hash.on_market(time, message);
        self.exchange.apply_at(&command, TimeOfDay(time), EpochNanos(0), &mut feed);
        self.commands.push((TimeOfDay(time), command));
        self.flow.listen(&mut self.exchange);
    }

    /// An own order that takes all it can at once, at any price.
    fn take(&mut self, time: u64, symbol: SymbolId, side: Side, qty: u32) {
        let terms = Terms { lifetime: Lifetime::ImmediateOrCancel, ..Terms::default() };
        self.apply(time, Command::Enter(NewOrder { account: OWN, token: 0, symbol, side, qty, terms }));
    }

    fn best(&self, symbol: SymbolId, side: Side) -> Option<f64> {
        self.exchange.venue().displayed(symbol, side).next().map(|order| order.price.0 as f64)
    }

    /// Bid and ask, where both are there.
    fn touch(&self, symbol: SymbolId) -> Option<(f64, f64)> {
        self.best(symbol, Side::Buy).zip(self.best(symbol, Side::Sell))
    }

    fn middle(&self, symbol: SymbolId) -> f64 {
        let (bid, ask) = self.touch(symbol).unwrap();
        f64::midpoint(bid, ask)
    }

    fn value(&self, symbol: SymbolId) -> f64 {
        self.flow.value(symbol).unwrap().0 as f64
    }

    fn displayed(&self, symbol: SymbolId, side: Side, (low, high): (f64, f64)) -> u32 {
        let orders = self.exchange.venue().displayed(symbol, side);
        orders.filter(|order| (low..=high).contains(&(order.price.0 as f64))).map(|order| order.shares).sum()
    }
}

/// What an hour came to in the mean, sampled each second from the fifth minute on.
#[derive(Debug, Default)]
struct Means {
    samples: f64,
    two_sided: f64,
    spread_bps: f64,
    /// Distance of the middle from the value, and of the value from where it began.
    error_bps: f64,
    travel_bps: f64,
    shares: u64,
    /// Displayed orders.
    depth: f64,
}

fn means(agents: AgentsConfig) -> Means {
    let mut market = Market::new(agents);
    let mut means = Means::default();
    let start: Vec<f64> = config(0).symbols.iter().map(|symbol| symbol.reference_price.0 as f64).collect();
    for second in 300..3_595 {
        market.run(OPEN + second * SECOND, |_| {});
        for symbol in (0..3).map(SymbolId) {
            means.samples += 1.0;
            let Some((bid, ask)) = market.touch(symbol) else { continue };
            let (middle, value) = (f64::midpoint(bid, ask), market.value(symbol));
            means.two_sided += 1.0;
            let displayed = |side| market.exchange.venue().displayed(symbol, side).count() as f64;
            means.depth += displayed(Side::Buy) + displayed(Side::Sell);
            means.spread_bps += (ask - bid) / middle * 1e4;
            means.error_bps += (middle / value - 1.0).abs() * 1e4;
            means.travel_bps += (value / start[symbol.index()] - 1.0).abs() * 1e4;
        }
    }
    for sum in [&mut means.spread_bps, &mut means.error_bps, &mut means.travel_bps, &mut means.depth] {
        *sum /= means.two_sided;
    }
    means.two_sided /= means.samples;
    means.shares = market.flow.counters().kinds.iter().map(|kind| kind.filled_shares).sum();
    means
}

#[test]
fn the_same_seed_and_the_same_own_orders_give_the_same_bytes() {
    let run = |seed, qty| {
        let mut market = Market::new(agents(seed));
        market.run(OPEN + MINUTE, |_| {});
        market.take(OPEN + MINUTE, SymbolId(1), Side::Buy, qty);
        market.run(CLOSE, |_| {});
        (market.hash.finish(), market.hash.market_count())
    };
    let first = run(1, 2_000);
    assert!(first.1 > 10_000, "{} messages", first.1);
    assert_eq!(run(1, 2_000), first);
    assert_ne!(run(2, 2_000).0, first.0, "another seed");
    assert_ne!(run(1, 100).0, first.0, "another own order");
}

#[test]
fn shares_and_cash_are_conserved_and_the_slow_matcher_says_the_same() {
    let mut market = Market::new(agents(3));
    for minute in 1..10 {
        market.run(OPEN + minute * MINUTE, |_| {});
        market.take(OPEN + minute * MINUTE, SymbolId(0), Side::BOTH[usize::from(minute % 2 == 0)], 3_000);
        if minute == 5 {
            market.apply(OPEN + minute * MINUTE, Command::Halt { symbol: SymbolId(2), reason: *b"T1  " });
        }
        if minute == 7 {
            market.apply(OPEN + minute * MINUTE, Command::Resume { symbol: SymbolId(2) });
        }
    }
    market.run(CLOSE, |_| {});
    let config = config(agents(3).agent_count());
    let (mut venue, mut reference) = (Venue::new(config.clone()).unwrap(), ReferenceVenue::new(config));
    let (mut log, mut wanted, mut desk, mut seen) = (Log::default(), Log::default(), Desk::new(), 0);
    for (count, (time, command)) in market.commands.iter().enumerate().take(20_000) {
        venue.apply(*time, command, &mut log);
        reference.apply(*time, command, &mut wanted);
        assert_eq!(log.0[seen..], wanted.0[seen..], "after command {count}: {command:?}");
        seen = log.0.len();
        desk.take(command, &log);
        if count % 2_000 == 0 {
            desk.compare(&venue);
        }
    }
    desk.compare(&venue);
    assert!(desk.traded() > 1_000, "{} executions", desk.traded());
}

#[test]
fn an_hour_is_sane_in_the_mean() {
    let means = means(agents(5));
    assert!(means.two_sided > 0.95, "{means:?}");
    assert!(means.spread_bps < 25.0, "{means:?}");
    assert!(means.travel_bps > 50.0, "the value went somewhere: {means:?}");
    assert!(means.error_bps < 30.0, "and the price with it: {means:?}");
}

#[test]
fn positions_stay_within_their_bounds_and_everybody_goes_home() {
    let config = agents(6);
    let bounds = [
        (Kind::Maker, i64::from(config.makers.position_lots_max) * 100),
        (Kind::Momentum, i64::from(config.momentum.position_lots_max) * 100),
    ];
    let mut market = Market::new(config);
    for minute in 1..=60 {
        market.take(OPEN + (minute - 1) * MINUTE, SymbolId(0), Side::Buy, 20_000);
        market.run(OPEN + minute * MINUTE, |market| {
            for (kind, bound) in bounds {
                for (agent, symbol) in market.flow.agents(kind).flat_map(|agent| [(agent, 0), (agent, 1), (agent, 2)]) {
                    assert!(market.flow.position(agent, SymbolId(symbol)).abs() <= bound, "{kind:?} {agent}");
                }
            }
        });
    }
    let informed: i64 = market.flow.agents(Kind::Informed).map(|agent| market.flow.position(agent, SymbolId(0))).sum();
    assert!(informed < -100_000, "who knows the value sells to whoever buys without end: {informed}");
    market.apply(CLOSE + 2 * MINUTE, Command::Clock);
    assert_eq!(
        (market.flow.next_time(), market.flow.order_count(), market.exchange.venue().order_count()),
        (None, 0, 0)
    );
}

#[test]
fn a_big_own_order_moves_the_price_and_liquidity_comes_back() {
    let symbol = SymbolId(1);
    let mut config = agents(7);
    // A value that stands still: what moves the price is the order.
    (config.value.volatility_bps, config.value.jumps_milli) = (0, 0);
    let mut market = Market::new(config);
    let time = OPEN + 10 * MINUTE;
    market.run(time, |_| {});
    let (before, stood) = (market.middle(symbol), market.displayed(symbol, Side::Sell, (0.0, f64::MAX)));
    let near = |middle: f64| (middle * 0.99, middle * 1.002);
    let stood_near = market.displayed(symbol, Side::Sell, near(before));
    assert!(stood > 2_000 && stood_near > 500, "{stood} {stood_near}");
    market.take(time, symbol, Side::Buy, stood_near);
    assert_eq!(market.displayed(symbol, Side::Sell, near(before)), 0, "it took what stood there");
    market.run(time + SECOND, |_| {});
    let after = market.middle(symbol);
    assert!(after > before * 1.000_2, "the price moved: {before} {after}");
    market.run(time + MINUTE, |_| {});
    let middle = market.middle(symbol);
    let back = market.displayed(symbol, Side::Sell, near(middle));
    assert!(back > 1_000, "the makers are back, with three quotes of 500 shares: {back} of {stood_near}");
    market.run(time + 20 * MINUTE, |_| {});
    let (late, value) = (market.middle(symbol), market.value(symbol));
    assert!((late / value - 1.0).abs() < 0.002, "who knows the value brings it back: {late} {value}");
}

#[test]
fn every_kind_is_missed_for_what_it_does() {
    let all = means(agents(8));
    let mut config = agents(8);
    config.makers.count = 0;
    let no_makers = means(config);
    assert!(no_makers.spread_bps > 1.5 * all.spread_bps, "{no_makers:?} {all:?}");
    let mut config = agents(8);
    config.informed.count = 0;
    let no_informed = means(config);
    assert!(no_informed.error_bps > 2.0 * all.error_bps, "{no_informed:?} {all:?}");
    let mut config = agents(8);
    config.noise.count = 0;
    let no_noise = means(config);
    assert!(no_noise.shares < all.shares && no_noise.depth * 2.0 < all.depth, "{no_noise:?} {all:?}");
}

#[test]
fn momentum_follows_what_an_own_order_began() {
    let symbol = SymbolId(1);
    let bought = |count| {
        let mut config = agents(9);
        (config.value.volatility_bps, config.value.jumps_milli, config.momentum.count) = (0, 0, count);
        let mut market = Market::new(config);
        let held = |market: &Market| -> i64 {
            market.flow.agents(Kind::Momentum).map(|agent| market.flow.position(agent, symbol)).sum()
        };
        let time = OPEN + 10 * MINUTE;
        market.run(time, |_| {});
        let before = held(&market);
        for step in 0..6 {
            market.take(time + step * 5 * SECOND, symbol, Side::Buy, 3_000);
            market.run(time + (step + 1) * 5 * SECOND, |_| {});
        }
        (held(&market) - before, market.flow.counters().kinds[Kind::Momentum.index()].fill_count)
    };
    let (with, fills) = bought(12);
    assert!(with > 0 && fills > 0, "{with} {fills}");
    assert_eq!(bought(0), (0, 0));
}

/// The shipped day of agents at a speed, behind sockets that nobody connects to, with these faults of the day.
fn day(speed: u32, faults: &str) -> Summary {
    let shipped = include_str!("../../../configs/venue_agents.toml");
    let text = shipped
        .replace("speed = 1 ", &format!("speed = {speed} "))
        .replace("127.0.0.1:300", "127.0.0.1:0#")
        .replace("end_of_session_ms = 3_000", "end_of_session_ms = 0");
    let text: Vec<String> = text
        .lines()
        .map(|line| {
            line.find('#')
                .filter(|at| line[..*at].ends_with(":0"))
                .map_or(line.to_owned(), |at| format!("{}\"", &line[..at]))
        })
        .collect();
    let settings =
        Settings::parse(&text.join("\n").replace("[faults]\n", &format!("[faults]\n{faults}")), Path::new("test.toml"))
            .unwrap_or_else(|error| panic!("{error}"));
    Server::bind(&settings).unwrap().run(&StopFlag::new()).unwrap()
}

#[test]
fn agents_and_own_orders_meet_behind_the_sockets_at_any_speed() {
    let (slow, fast) = (day(2_000, ""), day(20_000, ""));
    assert!(slow.match_count > 1_000 && slow.agents.unwrap().look_count > 50_000, "{slow}");
    assert_eq!((slow.feed_hash, slow.agents), (fast.feed_hash, fast.agents));
    let refused: u64 = slow.agents.unwrap().kinds.iter().map(|kind| kind.refused_count).sum();
    assert_eq!(refused, 0, "agents know the rules: {slow}");
}

/// Halts and rolls that the configuration sets for a time of day meet agents who have acted until then, and no later.
#[test]
fn agents_meet_the_faults_of_the_day_at_any_speed() {
    let faults = "halts = [[\"ASGV\", \"09:40:00\", \"09:45:00\"], [\"ASGV\", \"09:50:30\", \"09:52:00\"]]\n\
                  session_message_count_max = 3_000\nsession_rolls = [\"09:47:00\", \"10:05:00\"]\nsequence_resets = [\"10:10:00\"]\n";
    let days = [2_000, 20_000, 60_000].map(|speed| day(speed, faults));
    assert_ne!(days[0].feed_hash, day(20_000, "").feed_hash, "the faults are there");
    for other in &days[1..] {
        assert_eq!((days[0].feed_hash, days[0].agents), (other.feed_hash, other.agents));
    }
}

#[test]
fn an_agents_order_is_found_under_its_reference() {
    // A reference that no agent has is nobody's.
    let market = Market::new(agents(1));
    assert_eq!(market.exchange.venue().open_and_spent(OrderRef(1)), None);
    assert_eq!((market.flow.position(99, SymbolId(0)), market.flow.value(SymbolId(9))), (0, None));
}

/// Whoever drives the agents by time has to stop at each: an agent that a cross fills looks again before what comes later.
#[test]
fn steps_of_the_day_are_moments_at_which_the_venue_acts() {
    let mut market = Market::new(agents(1));
    let steps = [OPEN - 2 * MINUTE, OPEN - MINUTE, OPEN, CLOSE, CLOSE + MINUTE, CLOSE + 2 * MINUTE];
    for step in steps {
        assert_eq!(market.exchange.next_timer(), Some(TimeOfDay(step)));
        market.apply(step, Command::Clock);
    }
    assert_eq!(market.exchange.next_timer(), None);
}

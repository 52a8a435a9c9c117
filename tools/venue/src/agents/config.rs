//! How many agents of each kind there are, and what they are like.

use serde::Deserialize;

/// Agents of all kinds together, at most.
pub const AGENT_COUNT_MAX: u32 = 1_000;
const MILLION: u64 = 1_000_000;

/// The value that nobody sees but the informed: a log-free walk of the relative distance from the price to start from,
/// pulled back to it, with jumps (the sparse mean-reverting value with megashocks of ABIDES: Byrd, Hybinette and Balch,
/// 2020; exact steps of an Ornstein–Uhlenbeck process).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueConfig {
    /// Standard deviation of an hour's walk, in basis points: 0 to 10,000.
    pub volatility_bps: u32,
    /// How much of the distance is pulled back in an hour, as a rate in thousandths: 0 (a random walk) to 1,000,000.
    pub reversion_milli: u32,
    /// Jumps in an hour and symbol, in thousandths: 0 to 1,000,000.
    pub jumps_milli: u32,
    /// Standard deviation of a jump, in basis points: 0 to 10,000.
    pub jump_bps: u32,
}

/// Market makers: a bid and an ask around what they believe, which they move with the trades they see (Glosten and
/// Milgrom, 1985) and against their inventory (Ho and Stoll, 1981).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MakersConfig {
    /// How many; each quotes every symbol.
    pub count: u32,
    /// Looks at a symbol in an hour, for each maker: 0 to 1,000,000. Every fill brings one more.
    pub looks_per_hour: u32,
    /// How long after a fill a maker quotes again, in microseconds of the day: 0 to 60,000,000.
    pub reaction_us: u64,
    /// Half of the first maker's spread, in basis points (never below a tick): 0 to 1,000.
    pub half_spread_bps: u32,
    /// How much wider each further maker's half is, in basis points: 0 to 1,000.
    pub step_bps: u32,
    /// Size of a quote, in round lots: 1 to 1,000.
    pub order_lots: u32,
    /// Largest inventory of a maker in a symbol, long or short, in round lots: 1 to 1,000,000.
    pub position_lots_max: u32,
    /// How far quotes stand from what a maker believes when its inventory is full, in basis points: 0 to 1,000.
    pub skew_bps: u32,
    /// Share of the distance to the latest trade by which belief moves, in millionths: 0 to 1,000,000.
    pub learning_ppm: u32,
}

/// Momentum traders: buy what rose and sell what fell, by a fast and a slow mean of the trades (Chiarella and Iori,
/// 2002: the chartists), and close when it is over.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MomentumConfig {
    /// How many.
    pub count: u32,
    /// Looks at a symbol in an hour, for each: 0 to 1,000,000.
    pub looks_per_hour: u32,
    /// Distance of the means at which they act, in basis points: 0 to 10,000.
    pub threshold_bps: u32,
    /// Size of an order, in round lots: 1 to 1,000.
    pub order_lots: u32,
    /// Largest position in a symbol, long or short, in round lots: 1 to 1,000,000.
    pub position_lots_max: u32,
}

/// Informed traders: see the value, with an error, and take what is offered on the wrong side of it, the more the further
/// away it is (Kyle, 1985; Glosten and Milgrom, 1985). Their position has no bound: the value's own wandering is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InformedConfig {
    /// How many.
    pub count: u32,
    /// Looks at a symbol in an hour, for each: 0 to 1,000,000.
    pub looks_per_hour: u32,
    /// Standard deviation of the error in what they see, in basis points: 0 to 10,000.
    pub error_bps: u32,
    /// What they want to earn at least, in basis points: 0 to 10,000.
    pub edge_bps: u32,
    /// Size of an order at that distance, in round lots: 1 to 1,000; up to five times as much further away.
    pub order_lots: u32,
}

/// Noise: orders without a reason, on both sides alike, that come as a Poisson process or excite one another (Hawkes,
/// 1971).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseConfig {
    /// How many accounts they come from.
    pub count: u32,
    /// Mean arrivals in an hour and symbol, for each account: 0 to 1,000,000.
    pub orders_per_hour: u32,
    /// How many arrivals one brings about on average, in millionths: 0 (Poisson) to 900,000.
    pub branching_ppm: u32,
    /// How fast that excitement fades, as a rate per second in thousandths: 1 to 1,000,000.
    pub decay_milli: u32,
    /// Arrivals that take what is displayed, in millionths.
    pub taking_ppm: u32,
    /// Arrivals that cancel one of the orders that rest, in millionths.
    pub cancel_ppm: u32,
    /// Arrivals that leave a stop order behind the best price of the other side, every other one with a limit there, in
    /// millionths; 0 where it is left out. What is neither of the three rests; together at most 1,000,000.
    #[serde(default)]
    pub stop_ppm: u32,
    /// Mean distance of a resting order behind the best price of its side, and of a stop order behind that of the other,
    /// in ticks: 0 to 1,000.
    pub depth_ticks: u32,
    /// Largest size of an order, in round lots, the sizes being equally likely: 1 to 1,000.
    pub order_lots_max: u32,
    /// Resting orders in a symbol; the oldest makes room: 1 to 10,000.
    pub resting_count_max: u32,
}

/// All agents of a background flow. A kind with a count of 0 is not there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentsConfig {
    /// Seed of every chance.
    pub seed: u64,
    /// Instruments: names and prices are those of the generator (`feeds/generate`) for the same seed.
    pub symbol_count: u32,
    /// The value.
    pub value: ValueConfig,
    /// Market makers.
    pub makers: MakersConfig,
    /// Momentum traders.
    pub momentum: MomentumConfig,
    /// Informed traders.
    pub informed: InformedConfig,
    /// Noise.
    pub noise: NoiseConfig,
}

impl AgentsConfig {
    /// Agents of all kinds.
    #[must_use]
    pub const fn agent_count(&self) -> u32 {
        let makers_and_momentum = self.makers.count.saturating_add(self.momentum.count);
        makers_and_momentum.saturating_add(self.informed.count).saturating_add(self.noise.count)
    }

    /// Every value that is out of its range: key, value, bound.
    #[must_use]
    pub fn violations(&self) -> Vec<(&'static str, u64, String)> {
        let Self { value, makers, momentum, informed, noise, .. } = self;
        let agents = u64::from(AGENT_COUNT_MAX);
        let looks = (0, MILLION);
        let rows = [
            ("flow.symbol_count", u64::from(self.symbol_count), (1, 65_535)),
            ("flow: agents of all kinds", u64::from(self.agent_count()), (1, agents)),
            ("flow.value.volatility_bps", value.volatility_bps.into(), (0, 10_000)),
            ("flow.value.reversion_milli", value.reversion_milli.into(), (0, MILLION)),
            ("flow.value.jumps_milli", value.jumps_milli.into(), (0, MILLION)),
            ("flow.value.jump_bps", value.jump_bps.into(), (0, 10_000)),
            ("flow.makers.looks_per_hour", makers.looks_per_hour.into(), looks),
            ("flow.makers.reaction_us", makers.reaction_us, (0, 60 * MILLION)),
            ("flow.makers.half_spread_bps", makers.half_spread_bps.into(), (0, 1_000)),
            ("flow.makers.step_bps", makers.step_bps.into(), (0, 1_000)),
            ("flow.makers.order_lots", makers.order_lots.into(), (1, 1_000)),
            ("flow.makers.position_lots_max", makers.position_lots_max.into(), (1, MILLION)),
            ("flow.makers.skew_bps", makers.skew_bps.into(), (0, 1_000)),
            ("flow.makers.learning_ppm", makers.learning_ppm.into(), (0, MILLION)),
            ("flow.momentum.looks_per_hour", momentum.looks_per_hour.into(), looks),
            ("flow.momentum.threshold_bps", momentum.threshold_bps.into(), (0, 10_000)),
            ("flow.momentum.order_lots", momentum.order_lots.into(), (1, 1_000)),
            ("flow.momentum.position_lots_max", momentum.position_lots_max.into(), (1, MILLION)),
            ("flow.informed.looks_per_hour", informed.looks_per_hour.into(), looks),
            ("flow.informed.error_bps", informed.error_bps.into(), (0, 10_000)),
            ("flow.informed.edge_bps", informed.edge_bps.into(), (0, 10_000)),
            ("flow.informed.order_lots", informed.order_lots.into(), (1, 1_000)),
            ("flow.noise.orders_per_hour", noise.orders_per_hour.into(), looks),
            ("flow.noise.branching_ppm", noise.branching_ppm.into(), (0, 900_000)),
            ("flow.noise.decay_milli", noise.decay_milli.into(), (1, MILLION)),
            (
                "flow.noise.taking_ppm, cancel_ppm and stop_ppm",
                u64::from(noise.taking_ppm) + u64::from(noise.cancel_ppm) + u64::from(noise.stop_ppm),
                (0, MILLION),
            ),
            ("flow.noise.depth_ticks", noise.depth_ticks.into(), (0, 1_000)),
            ("flow.noise.order_lots_max", noise.order_lots_max.into(), (1, 1_000)),
            ("flow.noise.resting_count_max", noise.resting_count_max.into(), (1, 10_000)),
        ];
        let wrong = rows.into_iter().filter(|(_, value, (least, most))| value < least || value > most);
        wrong.map(|(key, value, (least, most))| (key, value, format!("{least} to {most}"))).collect()
    }
}

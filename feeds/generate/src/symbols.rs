//! The symbols of a session: names, activity, price and spread, drawn once at the start.

use peregrine_types::Symbol;

use crate::config::GeneratorConfig;
use crate::math::{QuantileTable, float, pow, to_u32};
use crate::random::Random;

/// What stays the same about a symbol during a session.
#[derive(Clone, Debug, PartialEq)]
pub struct SymbolProfile {
    /// Name, unique in the session.
    pub symbol: Symbol,
    /// Locate code: 1 for the first in the directory spin, and so on.
    pub locate: u16,
    /// Rank by activity, 0 for the busiest.
    pub rank: u32,
    /// Share of the session's order actions.
    pub activity: f64,
    /// Fair value at the start, in ticks of 0.01.
    pub price_ticks: u32,
    /// Scale of the spread in ticks.
    pub spread_ticks: f64,
    /// How much the market's return moves the symbol's.
    pub beta: f64,
    /// Factor on order sizes: cheap shares trade in larger numbers.
    pub(crate) qty_factor: u32,
    /// Factor on order lifetimes: orders of quiet symbols rest longer.
    pub(crate) lifetime_factor: f64,
}

/// Draws the symbols, in the order of their locate codes.
pub(crate) fn draw(config: &GeneratorConfig, market_seconds: f64) -> Vec<SymbolProfile> {
    let mut random = Random::named(config.seed, "symbols");
    let prices =
        QuantileTable::log_scale(&[(0.0, 300.0), (0.1, 900.0), (0.5, 4_200.0), (0.9, 18_000.0), (1.0, 90_000.0)]);
    let spreads = QuantileTable::log_scale(&[(0.0, 1.5), (0.5, 3.0), (1.0, 9.0)]); // basis points, busiest symbol
    let weights: Vec<f64> = (1..=config.symbol_count).map(|rank| pow(f64::from(rank), -config.zipf_exponent)).collect();
    let weight_sum: f64 = weights.iter().sum();
    let ranks = shuffled(config.symbol_count, &mut random);
    let mut profiles = Vec::with_capacity(ranks.len());
    for (index, rank) in (0_u16..).zip(ranks) {
        let activity = weights[rank as usize] / weight_sum;
        let (mut price, spread_bps) = (to_u32(prices.at(random.word())), spreads.at(random.word()));
        // Quiet symbols are wider: the spread grows with the square root of the rank's logarithm-like distance.
        let width = pow(1.0 + f64::from(rank), 0.22);
        let mut spread = (f64::from(price) * spread_bps * width / 10_000.0).max(1.0);
        let beta = 0.5 + random.unit();
        if let (0, Some(leader)) = (rank, config.leader) {
            (price, spread) = (leader.price_ticks, leader.spread_ticks);
        }
        let rate = activity * float(config.message_count) / market_seconds;
        profiles.push(SymbolProfile {
            symbol: name(index),
            locate: index + 1,
            rank,
            activity,
            price_ticks: price,
            spread_ticks: spread,
            beta,
            qty_factor: if price < 1_500 { 3 } else { 1 },
            lifetime_factor: pow((25.0 / rate).clamp(0.5, 1e6), 0.4),
        });
    }
    profiles
}

fn shuffled(count: u32, random: &mut Random) -> Vec<u32> {
    let mut ranks: Vec<u32> = (0..count).collect();
    for last in (1..count).rev() {
        ranks.swap(last as usize, random.below(last + 1) as usize);
    }
    ranks
}

/// The name of the symbol at `index`: four letters, unique for every index (multiplication by 7,919, which has no
/// factor in common with 26⁴, permutes the names).
fn name(index: u16) -> Symbol {
    let mut code = (u32::from(index) * 7_919 + 12_345) % 456_976;
    let mut bytes = *b"        ";
    for byte in bytes[..4].iter_mut().rev() {
        *byte = b'A' + u8::try_from(code % 26).unwrap_or(0);
        code /= 26;
    }
    Symbol(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_locates_and_ranks_are_unique_and_activity_follows_zipf() {
        let config = GeneratorConfig::market(3);
        let profiles = draw(&config, 23_400.0);
        let names: BTreeSet<_> = profiles.iter().map(|profile| profile.symbol).collect();
        let ranks: BTreeSet<_> = profiles.iter().map(|profile| profile.rank).collect();
        assert_eq!((names.len(), ranks.len()), (8_000, 8_000));
        assert_eq!(profiles[7_999].locate, 8_000);
        let share = |rank| profiles.iter().find(|profile| profile.rank == rank).unwrap().activity;
        assert!((share(0) / share(9) - 10.0_f64.powf(0.9)).abs() < 1e-6);
        assert!((profiles.iter().map(|profile| profile.activity).sum::<f64>() - 1.0).abs() < 1e-9);
    }
}

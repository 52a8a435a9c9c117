//! A generated hour held against the real one, with the tolerances of `tests/tolerances.csv`, over nine seeds that the
//! generator was not tuned with. Tuning looked at seeds 1 to 12. Two earlier sets of nine (1,001 and 2,001 onwards) each
//! had one miss, in the lifetimes of filled orders and in the spread; the generator was tuned further on its own seeds
//! each time, and these nine are new.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

mod common;

use common::{HOUR, OPEN, Row, distance, figures, table};
use peregrine_generate::{FlowStatistics, GeneratorConfig, LeaderProfile, Session, SessionHours};

/// Seeds that no tuning has looked at.
const HELD_OUT_SEEDS: std::ops::Range<u64> = 3_001..3_010;

/// The flow of the busiest symbol of a generated hour, as busy as the real one and with its price and spread.
fn generated(seed: u64, branching_ratio: f64) -> FlowStatistics {
    let mut config = GeneratorConfig::demo(seed);
    config.hours = SessionHours::short(60);
    (config.symbol_count, config.message_count) = (4, 210_000);
    (config.halt_count, config.operational_halt_count, config.has_rare_messages) = (0, 0, false);
    config.branching_ratio = branching_ratio;
    config.leader = Some(LeaderProfile { price_ticks: 58_500, spread_ticks: 20.0 });
    let mut session = Session::new(config).unwrap();
    let leader = session.symbols().iter().find(|profile| profile.rank == 0).unwrap().symbol;
    let mut flow = FlowStatistics::new(leader, OPEN, OPEN + HOUR);
    session.for_each_message(|_, message| flow.on_message(message));
    flow
}

/// The values of each statistic over the hours of `seeds`, ascending.
fn hours(seeds: impl Iterator<Item = u64>, branching_ratio: f64) -> Vec<(String, Vec<f64>)> {
    let hours: Vec<_> = seeds.map(|seed| figures(&mut generated(seed, branching_ratio))).collect();
    let rows = hours[0].iter().enumerate().map(|(index, (name, _))| {
        let mut values: Vec<f64> = hours.iter().map(|hour| hour[index].1).collect();
        values.sort_by(f64::total_cmp);
        (name.clone(), values)
    });
    rows.collect()
}

/// What the rule of the table says about these hours: one line for each miss.
fn misses(hours: &[(String, Vec<f64>)], table: &[Row]) -> Vec<String> {
    assert_eq!(hours.len(), table.len());
    let mut misses = Vec::new();
    for ((name, values), row) in hours.iter().zip(table) {
        assert_eq!(*name, row.name);
        let median = values[values.len() / 2];
        let (real, factor) = (row.real, row.factor);
        let far = values.iter().copied().max_by(|&a, &b| distance(a, real).total_cmp(&distance(b, real))).unwrap();
        eprintln!(
            "{:4} {name}: {:.4} x real (hours {:.3} to {:.3}), tolerance {factor}",
            if distance(median, real) > factor.ln() { "MISS" } else { "" },
            median / real,
            values[0] / real,
            values[values.len() - 1] / real
        );
        if distance(median, real) > factor.ln() {
            misses.push(format!("{name}: median {median:.4e} instead of {real:.4e} (factor {factor})"));
        }
        if distance(far, real) > 2.0 * factor.ln() {
            misses.push(format!("{name}: one hour {far:.4e} instead of {real:.4e} (factor {factor} squared)"));
        }
    }
    misses
}

#[test]
fn generated_flow_is_like_the_real_hour() {
    let seeds = std::env::var("PEREGRINE_TUNING").map_or(HELD_OUT_SEEDS, |_| 1..13);
    assert_eq!(misses(&hours(seeds, 0.8), &table()), Vec::<String>::new());
}

#[test]
fn flow_without_self_excitation_is_told_from_the_real_one() {
    let missed = misses(&hours(HELD_OUT_SEEDS.take(3), 0.0), &table()).join("; ");
    for name in ["inter-arrival p10", "inter-arrival p50", "dispersion at 1 ms", "dispersion at 10 ms"] {
        assert!(missed.contains(name), "{name} does not tell them apart: {missed}");
    }
}

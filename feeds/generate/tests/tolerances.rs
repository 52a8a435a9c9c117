//! Where the tolerances come from that a generated session is held to: from the real hour alone (AAPL on 2012-06-21,
//! 09:30–10:30, LOBSTER, re-encoded as ITCH), by a rule that never looks at the generator. `tests/tolerances.csv` has
//! the numbers; this derives them anew where the real data is there.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

mod common;

use common::{PARTS, distance, figures, real, real_messages, table, tolerance};

/// The rows of the table: name, value over the hour, greatest distance between two parts, tolerance.
fn derived(messages: &[Vec<u8>]) -> Vec<(String, f64, f64, f64)> {
    let parts: Vec<_> = PARTS.iter().map(|&part| figures(&mut real(messages, part))).collect();
    let rows = parts[0].iter().enumerate().map(|(index, (name, value))| {
        let values: Vec<f64> = parts.iter().map(|part| part[index].1).collect();
        let pairs = values.iter().flat_map(|&a| values.iter().map(move |&b| distance(a, b)));
        let greatest = pairs.fold(0.0, f64::max);
        (name.clone(), *value, greatest, tolerance(greatest))
    });
    rows.collect()
}

#[test]
fn the_tolerances_follow_from_the_real_hour_alone() {
    let Some(messages) = real_messages() else { return };
    let rows = derived(&messages);
    for (name, value, greatest, factor) in &rows {
        eprintln!("{name},{value:.6e},{greatest:.4},{factor:.3}");
    }
    let committed = table();
    assert_eq!(committed.len(), rows.len(), "rows of tests/tolerances.csv");
    for (row, (name, value, _, factor)) in committed.iter().zip(&rows) {
        assert_eq!(row.name, *name);
        assert!((row.real / value - 1.0).abs() < 1e-4, "{name}: {} is not {value}", row.real);
        assert!((row.factor - factor).abs() < 2e-3, "{name}: tolerance {} is not {factor}", row.factor);
    }
}

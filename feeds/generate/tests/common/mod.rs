//! The statistics that a generated session is held to, the real hour they come from, and the rule that makes a
//! tolerance of each from the real data alone.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its own part of this module")]

use std::io::Read;
use std::path::PathBuf;

use peregrine_generate::FlowStatistics;
use peregrine_types::Symbol;
use peregrine_wire::itch50::MessageType as T;

const SECOND: u64 = 1_000_000_000;
/// Beginning of the real hour, 09:30, in nanoseconds since midnight.
pub(crate) const OPEN: u64 = 34_200 * SECOND;
/// Its length.
pub(crate) const HOUR: u64 = 3_600 * SECOND;

/// The tolerance of a statistic is e to this many times its distance within the real hour.
pub(crate) const DISTANCE_FACTOR: f64 = 1.25;
/// And no tolerance is narrower than this factor: a generator is a model, not a second sample.
pub(crate) const FACTOR_MIN: f64 = 1.15;
/// Nor wider than this, however restless the real hour is in a statistic: beyond it the statistic would say nothing.
pub(crate) const FACTOR_MAX: f64 = 2.0;

/// Name and value of every statistic.
pub(crate) fn figures(flow: &mut FlowStatistics) -> Vec<(String, f64)> {
    let mut rows = mix(flow);
    let mut push = |name: String, value: f64| rows.push((name, value));
    let gap = flow.inter_arrival.mean();
    for p in [10, 25, 50, 75, 90, 99] {
        push(format!("inter-arrival p{p} over mean"), flow.inter_arrival.quantile(f64::from(p) / 100.0) / gap);
    }
    for (name, millis) in [("1 ms", 1), ("10 ms", 10), ("100 ms", 100), ("1 s", 1_000), ("10 s", 10_000)] {
        push(format!("dispersion at {name}"), flow.dispersion(millis * 1_000_000));
    }
    for p in [10, 25, 50, 75, 90] {
        push(format!("lifetime of deleted orders p{p} ns"), flow.cancel_lifetime.quantile(f64::from(p) / 100.0));
    }
    for p in [10, 25, 50, 75, 90] {
        push(format!("lifetime of filled orders p{p} ns"), flow.fill_lifetime.quantile(f64::from(p) / 100.0));
    }
    let (filled, deleted) = (flow.fill_lifetime.len() as f64, flow.cancel_lifetime.len() as f64);
    push("filled share of ended orders".to_owned(), filled / (filled + deleted));
    push("spread mean ticks".to_owned(), flow.spread.mean());
    for p in [10, 50, 90] {
        push(format!("spread p{p} ticks"), flow.spread.quantile(f64::from(p) / 100.0));
    }
    let qty = flow.order_qty.mean();
    push("best bid qty mean over order qty".to_owned(), flow.best_qty.mean() / qty);
    for p in [50, 90] {
        push(format!("best bid qty p{p} over order qty"), flow.best_qty.quantile(f64::from(p) / 100.0) / qty);
    }
    push("five level qty mean over order qty".to_owned(), flow.five_level_qty.mean() / qty);
    for p in [10, 50, 90] {
        push(format!("five level qty p{p} over order qty"), flow.five_level_qty.quantile(f64::from(p) / 100.0) / qty);
    }
    rows
}

/// Shares of the messages as the re-encoded hour would have them: a replace is a delete and an add there, attribution
/// and other execution prices are not told apart.
fn mix(flow: &FlowStatistics) -> Vec<(String, f64)> {
    let count = |kinds: &[T]| kinds.iter().map(|&kind| flow.count_of(kind)).sum::<u64>() as f64;
    let replaces = count(&[T::OrderReplace]);
    let all = flow.message_count() as f64 + replaces;
    [
        ("adds", count(&[T::AddOrder, T::AddOrderMpid]) + replaces),
        ("deletes", count(&[T::OrderDelete]) + replaces),
        ("executions", count(&[T::OrderExecuted, T::OrderExecutedWithPrice])),
        ("partial cancels", count(&[T::OrderCancel])),
        ("hidden trades", count(&[T::TradeNonCross])),
    ]
    .map(|(name, count)| (format!("share of {name}"), count / all))
    .to_vec()
}

/// Parts of the real hour whose statistics are compared with one another: the whole, its halves, its quarters.
pub(crate) const PARTS: [(u64, u64); 7] = [(0, 4), (0, 2), (2, 4), (0, 1), (1, 2), (2, 3), (3, 4)];

/// The statistics of a part of the real hour, in quarters from and to; `None` (and one line) without the file.
pub(crate) fn real(messages: &[Vec<u8>], (from, to): (u64, u64)) -> FlowStatistics {
    let quarter = HOUR / 4;
    let mut flow = FlowStatistics::new(Symbol::new("AAPL").unwrap(), OPEN + from * quarter, OPEN + to * quarter);
    for message in messages {
        flow.on_message(message);
    }
    flow
}

/// The messages of the real hour, or `None` and one line that says so.
pub(crate) fn real_messages() -> Option<Vec<Vec<u8>>> {
    let folder = std::env::var_os("PEREGRINE_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = folder.join("itch/aapl_20120621_0930_1030_reencoded.itch50.gz");
    let Ok(file) = std::fs::File::open(&path) else {
        eprintln!("skipped: no real data at {}", path.display());
        return None;
    };
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    let (mut rest, mut messages) = (bytes.as_slice(), Vec::new());
    while let Some((len, tail)) = rest.split_first_chunk::<2>() {
        let (message, tail) = tail.split_at(usize::from(u16::from_be_bytes(*len)));
        messages.push(message.to_vec());
        rest = tail;
    }
    Some(messages)
}

/// How far apart two values are: the absolute logarithm of their ratio.
pub(crate) fn distance(a: f64, b: f64) -> f64 {
    (a / b).ln().abs()
}

/// The factor by which a generated hour may miss a statistic whose greatest distance between two parts of the real
/// hour is `distance`.
pub(crate) fn tolerance(distance: f64) -> f64 {
    (DISTANCE_FACTOR * distance).exp().clamp(FACTOR_MIN, FACTOR_MAX)
}

/// One row of the committed table.
#[derive(Debug)]
pub(crate) struct Row {
    /// Name of the statistic.
    pub(crate) name: String,
    /// Its value over the real hour.
    pub(crate) real: f64,
    /// The factor by which a generated hour may miss it.
    pub(crate) factor: f64,
}

/// The committed table.
pub(crate) fn table() -> Vec<Row> {
    let text = include_str!("../tolerances.csv");
    let rows = text.lines().filter(|line| !line.starts_with('#')).skip(1).map(|line| {
        let cells: Vec<_> = line.split(',').collect();
        Row { name: cells[0].to_owned(), real: cells[1].parse().unwrap(), factor: cells[3].parse().unwrap() }
    });
    rows.collect()
}

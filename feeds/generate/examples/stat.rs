//! Prints the statistics of a generated leader beside those of the real hour of AAPL: `stat [seed] [real file]`. The
//! real file is the re-encoded LOBSTER hour (`aapl_20120621_0930_1030_reencoded.itch50.gz`).

use std::io::{Read, Write};

use peregrine_generate::{FlowStatistics, GeneratorConfig, LeaderProfile, Session, SessionHours};
use peregrine_types::Symbol;
use peregrine_wire::itch50::MessageType;

const SECOND: u64 = 1_000_000_000;
const OPEN: u64 = 34_200 * SECOND;

fn generated(seed: u64) -> Result<FlowStatistics, Box<dyn std::error::Error>> {
    let mut config = GeneratorConfig::demo(seed);
    config.hours = SessionHours::short(60);
    (config.symbol_count, config.message_count) = (4, 210_000);
    (config.halt_count, config.operational_halt_count, config.has_rare_messages) = (0, 0, false);
    config.leader = Some(LeaderProfile { price_ticks: 58_500, spread_ticks: 20.0 });
    let mut session = Session::new(config)?;
    let leader = session.symbols().iter().find(|profile| profile.rank == 0).map(|profile| profile.symbol);
    let mut statistics = FlowStatistics::new(leader.ok_or("no leader")?, OPEN, OPEN + 3_600 * SECOND);
    session.for_each_message(|_, message| statistics.on_message(message));
    Ok(statistics)
}

fn real(path: &str) -> Result<FlowStatistics, Box<dyn std::error::Error>> {
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path)?).read_to_end(&mut bytes)?;
    let aapl = Symbol::new("AAPL").ok_or("no symbol")?;
    let mut statistics = FlowStatistics::new(aapl, OPEN, OPEN + 3_600 * SECOND);
    let mut rest = bytes.as_slice();
    while let Some((len, tail)) = rest.split_first_chunk::<2>() {
        let Some((message, tail)) = tail.split_at_checked(usize::from(u16::from_be_bytes(*len))) else { break };
        statistics.on_message(message);
        rest = tail;
    }
    Ok(statistics)
}

/// Every figure by name.
fn figures(statistics: &mut FlowStatistics) -> Vec<(String, f64)> {
    use MessageType as T;
    let mut rows = vec![("messages".to_owned(), statistics.message_count() as f64)];
    for (name, kinds) in [
        ("adds A F, %", &[T::AddOrder, T::AddOrderMpid][..]),
        ("deletes D, %", &[T::OrderDelete]),
        ("executions E C, %", &[T::OrderExecuted, T::OrderExecutedWithPrice]),
        ("hidden P, %", &[T::TradeNonCross]),
        ("replaces U, %", &[T::OrderReplace]),
        ("cancels X, %", &[T::OrderCancel]),
    ] {
        rows.push((name.to_owned(), 100.0 * statistics.share(kinds)));
    }
    rows.push(("mid changes, %".to_owned(), 100.0 * statistics.mid_change_share()));
    for (window, name) in [(1, "1 ms"), (10, "10 ms"), (100, "100 ms"), (1_000, "1 s"), (10_000, "10 s")] {
        rows.push((format!("dispersion at {name}"), statistics.dispersion(window * 1_000_000)));
    }
    let samples = [
        ("inter-arrival, us", &mut statistics.inter_arrival, 1e3),
        ("lifetime of cancelled, ms", &mut statistics.cancel_lifetime, 1e6),
        ("lifetime of filled, ms", &mut statistics.fill_lifetime, 1e6),
        ("spread, ticks", &mut statistics.spread, 1.0),
        ("best bid qty", &mut statistics.best_qty, 1.0),
        ("order qty", &mut statistics.order_qty, 1.0),
        ("placement, ticks", &mut statistics.placement, 1.0),
    ];
    for (name, samples, unit) in samples {
        rows.push((format!("{name}: mean"), samples.mean() / unit));
        for p in [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99] {
            rows.push((format!("{name}: p{:.0}", p * 100.0), samples.quantile(p) / unit));
        }
    }
    rows
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let seed = arguments.get(1).map_or(Ok(1), |text| text.parse())?;
    let ours = figures(&mut generated(seed)?);
    let theirs = arguments.get(2).map(|path| real(path)).transpose()?.map(|mut statistics| figures(&mut statistics));
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<36} {:>14} {:>14} {:>8}", "", "generated", "real", "ratio")?;
    for (index, (name, value)) in ours.iter().enumerate() {
        match theirs.as_ref().and_then(|rows| rows.get(index)) {
            Some((_, real)) => writeln!(out, "{name:<36} {value:>14.3} {real:>14.3} {:>8.2}", value / real)?,
            None => writeln!(out, "{name:<36} {value:>14.3}")?,
        }
    }
    Ok(())
}

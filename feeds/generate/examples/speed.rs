//! Times the generation of a session: `speed [demo|market] [seed]`.

use std::io::Write;
use std::time::Instant;

use peregrine_generate::{GeneratorConfig, Session};
use peregrine_wire::itch50::MessageType;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let seed = arguments.get(2).map_or(Ok(1), |text| text.parse())?;
    let config = match arguments.get(1).map(String::as_str) {
        Some("market") => GeneratorConfig::market(seed),
        Some(_) | None => GeneratorConfig::demo(seed),
    };
    let target = config.message_count;
    let start = Instant::now();
    let mut session = Session::new(config)?;
    let mut bytes = 0_u64;
    session.for_each_message(|_, message| bytes += message.len() as u64);
    let (seconds, report) = (start.elapsed().as_secs_f64(), session.report());
    let count = report.message_count();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{count} messages ({target} wanted), {bytes} bytes in {seconds:.3} s: {:.2} M/s",
        count as f64 / seconds / 1e6
    )?;
    writeln!(out, "at most {} live orders, {} matches", report.live_orders_max, report.match_count)?;
    for &kind in MessageType::ALL {
        let share = 100.0 * report.count_of(kind) as f64 / count as f64;
        writeln!(out, "{} {:>10} {share:>7.3} %", char::from(kind.code()), report.count_of(kind))?;
    }
    Ok(())
}

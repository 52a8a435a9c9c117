//! Where the time from an event to its order goes:
//! `cargo run --release -p peregrine-benches --bin order_parts -- [BACKEND] [RATE]…`.
//!
//! For each mark on the way one open-loop run per rate, whose spans end there: no span contains another one's timer. The
//! difference of neighbouring rows is what the part between them takes in place, beside what it takes alone.
#![expect(clippy::print_stdout, reason = "a table is what the program is for")]

use peregrine_benches::BenchError;
use peregrine_benches::hops::pin;
use peregrine_benches::host::load_average;
use peregrine_benches::order_path::{Mark, OpenLoop, OrderPath, open_loop_until};
use peregrine_benches::percentiles::{Percentiles, Timer};
use peregrine_benches::session::LoadedSession;
use peregrine_model::{Backend, Kernel};

const COUNT: usize = 60_000;
const ROUNDS: usize = 3;

fn main() -> Result<(), BenchError> {
    let mut args = std::env::args().skip(1).peekable();
    let backend = match args.peek().map(String::as_str) {
        Some("scalar") => Backend::Scalar,
        Some("avx2") => Backend::Avx2,
        Some("avx512") => Backend::Avx512,
        Some(_) | None => Backend::best(),
    };
    let mut rates: Vec<f64> = args.filter_map(|arg| arg.parse().ok()).collect();
    if rates.is_empty() {
        rates = vec![100_000.0, 1e9];
    }
    let session = LoadedSession::generated(1, 400_000)?;
    pin(peregrine_runtime::available_cores().last().copied().unwrap_or(0));
    let timer = Timer::calibrated();
    println!("load {}; {backend:?}; an empty span reads {:.1} ns", load_average(), timer.overhead());
    println!(
        "| until | {} |",
        rates.iter().map(|rate| format!("{rate}/s: p50, p90, p99")).collect::<Vec<_>>().join(" | ")
    );
    let mut before = vec![0.0; rates.len()];
    for mark in Mark::ALL {
        let mut cells = Vec::new();
        for (rate, before) in rates.iter().zip(&mut before) {
            let mut best: Option<Percentiles> = None;
            for _ in 0..ROUNDS {
                let folder = tempfile::tempdir()?;
                let kernel = Kernel::new(backend).ok_or("this processor lacks the backend")?;
                let path = OrderPath::new(&session, kernel, folder.path())?;
                let plan = OpenLoop { rate: *rate, count: COUNT, until: mark, is_from_start: true };
                let figures = Percentiles::of(open_loop_until(&timer, &session, path, plan)?);
                if best.is_none_or(|best| figures.p50 < best.p50) {
                    best = Some(figures);
                }
            }
            let Percentiles { p50, p90, p99, .. } = best.unwrap_or_default();
            cells.push(format!("{p50:.0} (+{:.0}), {p90:.0}, {p99:.0}", p50 - *before));
            *before = p50;
        }
        println!("| {mark:?} | {} |", cells.join(" | "));
    }
    Ok(())
}

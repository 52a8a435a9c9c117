//! Other crates beside Peregrine's parts: `scripts/bench.sh --peers [decode|books|kernel|rings]` (no name: all of them).
//!
//! Both sides of a comparison get the same input from memory and run in turn within every round; the ratio is the median
//! of the rounds' ratios. What each peer keeps, and what it does not, stands beside its adapter.

mod book;
mod decode;
mod kernel;
mod ring;

use peregrine_benches::BenchError;
use peregrine_benches::hops::{pin, two_cores};
use peregrine_benches::host::{Machine, load_average};
use peregrine_benches::percentiles::Timer;
use peregrine_benches::session::{LoadedSession, SEED};

const ROUNDS: usize = 7;

/// Something that takes the input of a comparison once and says the nanoseconds per message.
type Pass<'a> = Box<dyn FnMut(&Timer) -> f64 + 'a>;

/// One side of a comparison.
struct Contender<'a> {
    name: &'static str,
    pass: Pass<'a>,
    nanos: Vec<f64>,
}

impl<'a> Contender<'a> {
    fn new(name: &'static str, pass: impl FnMut(&Timer) -> f64 + 'a) -> Self {
        Self { name, pass: Box::new(pass), nanos: Vec::new() }
    }

    fn median(&self) -> f64 {
        median(self.nanos.clone())
    }

    fn least(&self) -> f64 {
        self.nanos.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs the contenders in turn; the first is ours. Prints the table.
fn compare(title: &str, goal: &str, timer: &Timer, contenders: &mut [Contender<'_>]) {
    for round in 1..=ROUNDS {
        eprintln!("{title}: round {round} of {ROUNDS}");
        for contender in contenders.iter_mut() {
            let nanos = (contender.pass)(timer);
            contender.nanos.push(nanos);
        }
    }
    println!("\n## {title}\n\n| | ns, least | ns, median | slower than Peregrine by ({goal}) |\n|---|--:|--:|--:|");
    let ours = contenders.first().map(|ours| ours.nanos.clone()).unwrap_or_default();
    for (index, contender) in contenders.iter().enumerate() {
        let ratios = contender.nanos.iter().zip(&ours).map(|(theirs, ours)| theirs / ours).collect();
        let ratio = if index == 0 { "1".to_owned() } else { format!("**{:.2}**", median(ratios)) };
        println!("| {} | {:.2} | {:.2} | {ratio} |", contender.name, contender.least(), contender.median());
    }
}

fn main() -> Result<(), BenchError> {
    let chosen = std::env::args().nth(1);
    if chosen.as_deref() == Some("ours") {
        pin(peregrine_runtime::available_cores().last().copied().unwrap_or(0));
        return kernel::run_ours(&Timer::calibrated());
    }
    let is_wanted = |part: &str| chosen.as_deref().is_none_or(|chosen| chosen == part);
    if !["decode", "books", "kernel", "rings"].into_iter().any(is_wanted) {
        return Err("what is compared: decode, books, kernel or rings (no name: all of them)".into());
    }
    let machine = Machine::here();
    let core = peregrine_runtime::available_cores().last().copied().unwrap_or(0);
    let heading = machine.describe(core);
    let one = LoadedSession::generated(1, 500_000)?;
    let market = LoadedSession::generated(1_000, 1_000_000)?;
    let real = LoadedSession::real()?;
    // Before pinning: a pinned process sees one core.
    let cores = two_cores();
    pin(core);
    let timer = Timer::calibrated();
    println!("{heading}- {ROUNDS} rounds; every contender makes one pass per round, all in one process");
    for session in [&one, &market] {
        println!("- {}: {} messages, seed {SEED}", session.name, session.message_count());
    }
    if is_wanted("decode") {
        decode::run(&timer, &[&one, &market]);
    }
    if is_wanted("books") {
        for session in [Some(&one), Some(&market), real.as_ref()].into_iter().flatten() {
            book::run(&timer, session)?;
        }
    }
    if is_wanted("kernel") {
        kernel::run(&timer)?;
    }
    if is_wanted("rings")
        && let Some(cores) = cores
    {
        ring::run(&timer, core, cores)?;
    }
    println!("\n- load average when it ended: {}", load_average());
    Ok(())
}

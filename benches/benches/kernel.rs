//! `observe` and `advance` back to back and `advance` alone, for micro and small, in every backend that this processor
//! has. `observe` alone, with the weights where `advance` left them, is in the program `figures`.

use criterion::{BenchmarkId, Criterion};
use peregrine_benches::BenchError;
use peregrine_benches::replay::{Network, wandering_inputs};
use peregrine_model::{Backend, Size};

fn main() -> Result<(), BenchError> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("kernel");
    for size in [Size::Micro, Size::Small] {
        let inputs = wandering_inputs(size.d());
        for backend in Backend::ALL {
            let Some(mut network) = Network::seeded(size, backend, 1)? else {
                eprintln!("skipped: this processor has no {backend:?}");
                continue;
            };
            let id = |call: &str| BenchmarkId::new(format!("{} {call}", size.name()), format!("{backend:?}"));
            group.bench_function(id("observe"), |bencher| {
                let mut turn = inputs.iter().cycle();
                bencher.iter(|| turn.next().map(|x| network.observe(0, x)));
            });
            group.bench_function(id("advance"), |bencher| bencher.iter(|| network.advance(0)));
            group.bench_function(id("observe and advance"), |bencher| {
                let mut turn = inputs.iter().cycle();
                bencher.iter(|| {
                    if let Some(x) = turn.next() {
                        network.observe(0, x);
                    }
                    network.advance(0);
                });
            });
            let heads = network.heads;
            assert!(heads.horizon_count > 0 && heads.action.abs() <= 1.0 && heads.surprise.is_finite());
        }
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

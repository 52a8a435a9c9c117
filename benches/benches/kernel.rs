//! `observe` and `advance` back to back and `advance` alone, for micro and small, in every backend and precision; 64
//! instruments together; M1 and the LSTMs. `observe` alone, with the weights where `advance` left them, and percentiles are
//! in the program `figures`.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};
use peregrine_benches::BenchError;
use peregrine_benches::networks::{LSTM_004, LSTM_A, M1, M1_INPUTS, M1Tensors, lstm};
use peregrine_benches::replay::{Network, wandering_inputs};
use peregrine_model::{Backend, Kernel, LatentStore, Precision, Size};

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn world_model(group: &mut Group<'_>, size: Size, precision: Precision, backend: Backend) -> Result<(), BenchError> {
    let inputs = wandering_inputs(size.d());
    let Some(mut network) = Network::with_precision(size, precision, backend, 1)? else {
        eprintln!("skipped: this processor has no {backend:?}");
        return Ok(());
    };
    let id =
        |call: &str| BenchmarkId::new(format!("{} {} {call}", size.name(), precision.name()), format!("{backend:?}"));
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
    let mut store = LatentStore::new(&network.model, 64);
    let all: Vec<usize> = (0..64).collect();
    group.bench_function(id("advance of 64"), |bencher| {
        bencher.iter(|| network.kernel.advance_many(&network.model, &mut store, &all));
    });
    Ok(())
}

fn networks(group: &mut Group<'_>, precision: Precision, backend: Backend) -> Result<(), BenchError> {
    let Some(kernel) = Kernel::new(backend) else { return Ok(()) };
    let id = |call: &str| BenchmarkId::new(format!("{call} {}", precision.name()), format!("{backend:?}"));
    let mut m1 = M1::new(&M1Tensors::seeded(), kernel, precision)?;
    let inputs = wandering_inputs(M1_INPUTS);
    group.bench_function(id("M1"), |bencher| {
        let mut turn = inputs.iter().cycle();
        bencher.iter(|| turn.next().map(|x| m1.step(x)));
    });
    assert!(m1.output().all(f32::is_finite));
    for (name, widths) in [("LSTM_A", LSTM_A), ("LSTM of source 004", LSTM_004)] {
        let mut network = lstm(widths, precision)?;
        let inputs = wandering_inputs(widths.0);
        group.bench_function(id(name), |bencher| {
            let mut turn = inputs.iter().cycle();
            bencher.iter(|| {
                let output = turn.next().map(|x| network.observe(&kernel, x));
                network.advance(&kernel);
                assert!(output.is_some_and(|output| output.is_ok()));
            });
        });
    }
    Ok(())
}

fn main() -> Result<(), BenchError> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("kernel");
    for backend in Backend::ALL {
        for precision in Precision::ALL {
            for size in [Size::Micro, Size::Small] {
                world_model(&mut group, size, precision, backend)?;
            }
            networks(&mut group, precision, backend)?;
        }
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

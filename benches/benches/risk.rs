//! The risk gate: an order that passes every check (and is taken back, so that the next one can), and one that the price
//! collar denies.

use criterion::Criterion;
use peregrine_benches::BenchError;
use peregrine_benches::parts::{ORDER_INTERVAL, context, gate, intent};
use peregrine_types::{EpochNanos, EventSeq, OrderIntent, Price, ReasonCode};

fn main() -> Result<(), BenchError> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("risk");
    let mut gate = gate()?;
    let (mut number, mut now) = (0_u64, EpochNanos(1_000_000_000_000));
    group.bench_function("approve and revoke", |bencher| {
        bencher.iter(|| {
            number = number.wrapping_add(1);
            now = now.plus(ORDER_INTERVAL);
            let approved = gate.check(&intent(number), &context(now), EventSeq(number), now);
            assert!(approved.is_ok());
            if let Ok(order) = approved {
                gate.revoke(order);
            }
        });
    });
    group.bench_function("deny by price collar", |bencher| {
        let far = match intent(0) {
            OrderIntent::New(mut order) => {
                order.price = Price(1_000_000_000_000);
                OrderIntent::New(order)
            }
            OrderIntent::Cancel { .. } | OrderIntent::Replace { .. } => intent(0),
        };
        bencher.iter(|| {
            now = now.plus(ORDER_INTERVAL);
            assert_eq!(gate.check(&far, &context(now), EventSeq(number), now), Err(ReasonCode::PriceCollar));
        });
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}

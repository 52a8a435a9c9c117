//! Books and features of one busy symbol: the book alone, with features kept up to date, and with a vector for every
//! decision. The features' own cost is the difference.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use peregrine_benches::BenchError;
use peregrine_benches::replay::{features, is_decision};
use peregrine_benches::session::LoadedSession;
use peregrine_book::{Books, MarketBooks};
use peregrine_decide::FeatureEngine;
use peregrine_types::MarketEvent;

/// What is done beside the book.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    Book,
    Update,
    Vector,
}

/// How many vectors were made, or would have been.
fn pass(events: &[MarketEvent], books: &mut Books, engine: &mut FeatureEngine, work: Work) -> usize {
    let mut decision_count = 0_usize;
    for event in events {
        let update = black_box(books.apply(event));
        let slot = if work == Work::Book { engine.slot(update.symbol) } else { engine.on_event(event, &update, books) };
        let Some(slot) = slot.filter(|_| is_decision(&update)) else { continue };
        decision_count = decision_count.wrapping_add(1);
        if work == Work::Vector {
            let vector = engine.vector(slot);
            assert!(vector.is_some_and(|vector| vector.iter().all(|value| value.is_finite())));
        }
    }
    decision_count
}

fn main() -> Result<(), BenchError> {
    let mut criterion = Criterion::default().configure_from_args();
    let session = LoadedSession::generated(1, 100_000)?;
    let events = session.events();
    let (mut books, mut engine) = (session.books()?, features(&session, 1)?);
    let expected = pass(&events, &mut books, &mut engine, Work::Vector);
    assert!(expected > 0);
    let mut group = criterion.benchmark_group("features");
    group.throughput(Throughput::Elements(events.len() as u64));
    for (name, work) in
        [("book alone", Work::Book), ("book, features", Work::Update), ("book, features, vectors", Work::Vector)]
    {
        group.bench_function(name, |bencher| {
            bencher.iter(|| assert_eq!(pass(&events, &mut books, &mut engine, work), expected));
        });
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

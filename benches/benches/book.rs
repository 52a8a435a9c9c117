//! The books alone, on events decoded before: one busy symbol, and a market of thousands with and without looking ahead
//! within the packet.

use criterion::{BenchmarkId, Criterion, Throughput};
use peregrine_benches::BenchError;
use peregrine_benches::replay::PACKET_MESSAGE_COUNT;
use peregrine_benches::session::LoadedSession;
use peregrine_book::{Books, MarketBooks};
use peregrine_types::MarketEvent;

/// How many events changed a best price or quantity.
fn apply(books: &mut Books, events: &[MarketEvent]) -> usize {
    events.iter().map(|event| usize::from(books.apply(event).is_top_changed)).sum()
}

fn apply_by_packet(books: &mut Books, events: &[MarketEvent]) -> usize {
    let packets = events.chunks(PACKET_MESSAGE_COUNT);
    packets
        .map(|packet| {
            books.prefetch_hint(packet);
            apply(books, packet)
        })
        .sum()
}

fn main() -> Result<(), BenchError> {
    let mut criterion = Criterion::default().configure_from_args();
    let sessions = [LoadedSession::generated(1, 100_000)?, LoadedSession::generated(8_000, 300_000)?];
    let mut group = criterion.benchmark_group("book");
    for session in &sessions {
        let events = session.events();
        // A generated session ends with empty books, so that one set of books can see it again and again.
        let mut books = session.books()?;
        let expected = apply(&mut books, &events);
        assert!(expected > 0 && books.order_count() == 0 && books.anomalies().total() == 0);
        group.throughput(Throughput::Elements(events.len() as u64));
        for (kind, run) in
            [("event by event", apply as fn(&mut Books, &[MarketEvent]) -> usize), ("by packet", apply_by_packet)]
        {
            group.bench_function(BenchmarkId::new(kind, &session.name), |bencher| {
                bencher.iter(|| assert_eq!(run(&mut books, &events), expected));
            });
        }
        assert_eq!(books.anomalies().total(), 0);
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

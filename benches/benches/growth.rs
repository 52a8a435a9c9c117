//! How the cost of decoding and book grows from 1 to 8,000 symbols: the same number of messages, spread wider.

use criterion::{BenchmarkId, Criterion, Throughput};
use peregrine_benches::BenchError;
use peregrine_benches::replay::{Packet, decode_and_book_by_packet};
use peregrine_benches::session::LoadedSession;
use peregrine_book::MarketBooks;

fn main() -> Result<(), BenchError> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("growth");
    group.sample_size(10);
    for symbol_count in [1, 10, 100, 1_000, 8_000] {
        let session = LoadedSession::generated(symbol_count, 300_000)?;
        let messages: Vec<_> = session.messages().collect();
        let (mut feed, mut books, mut packet) = (session.feed(), session.books()?, Packet::default());
        let expected = decode_and_book_by_packet(&mut feed, &messages, &mut books, &mut packet);
        assert!(expected > 0);
        group.throughput(Throughput::Elements(messages.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(symbol_count), |bencher| {
            bencher.iter(|| {
                let changes = decode_and_book_by_packet(&mut feed, &messages, &mut books, &mut packet);
                assert_eq!(changes, expected);
            });
        });
        assert!(books.order_count() == 0 && books.anomalies().total() == 0);
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

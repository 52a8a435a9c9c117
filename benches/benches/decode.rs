//! Decoding alone: length-prefixed ITCH 5.0 to market events written into slots.

use criterion::{Criterion, Throughput};
use peregrine_benches::BenchError;
use peregrine_benches::replay::{Slots, decode};
use peregrine_benches::session::LoadedSession;

fn main() -> Result<(), BenchError> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut sessions = vec![LoadedSession::generated(1, 100_000)?, LoadedSession::generated(8_000, 300_000)?];
    sessions.extend(LoadedSession::real()?);
    let mut group = criterion.benchmark_group("decode");
    for session in &sessions {
        let (mut feed, mut slots) = (session.feed(), Slots::default());
        let expected = session.events().len();
        assert!(expected >= session.message_count(), "every message gives an event");
        group.throughput(Throughput::Elements(session.message_count() as u64));
        group.bench_function(&session.name, |bencher| {
            bencher.iter(|| assert_eq!(decode(&mut feed, session.bytes(), &mut slots), expected));
        });
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

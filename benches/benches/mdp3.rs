//! The same generated session decoded to market events from MDP 3.0 packets, books of orders and of levels, and from ITCH
//! 5.0 beside it; all per message of the ITCH session. Each turn of MDP 3.0 begins a session, which empties its tables.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use peregrine_benches::BenchError;
use peregrine_benches::replay::{Slots, decode};
use peregrine_benches::session::{LoadedSession, SEED};
use peregrine_generate::{GeneratorConfig, PacketConfig, Session, for_each_mdp3_packet};
use peregrine_types::{EpochNanos, EventFlags};
use peregrine_wire::mdp3::{Depth, Mdp3Config, Mdp3Decoder, PACKET_HEADER_LEN};

const SYMBOL_COUNT: u32 = 20;
const MESSAGE_COUNT: u64 = 100_000;

fn main() -> Result<(), BenchError> {
    let mut criterion = Criterion::default().configure_from_args();
    let itch = LoadedSession::generated(SYMBOL_COUNT, MESSAGE_COUNT)?;
    let config = GeneratorConfig {
        symbol_count: SYMBOL_COUNT,
        message_count: MESSAGE_COUNT,
        has_rare_messages: false,
        ..GeneratorConfig::demo(SEED)
    };
    let midnight = config.midnight;
    let mut packets: Vec<Vec<u8>> = Vec::new();
    let lines = PacketConfig { lines: (PacketConfig::clean(SEED).lines.0, None), ..PacketConfig::clean(SEED) };
    for_each_mdp3_packet(&mut Session::new(config)?, midnight, &lines, |_, _, payload| {
        packets.push(payload.get(PACKET_HEADER_LEN..).unwrap_or_default().to_vec());
    })?;
    let mut group = criterion.benchmark_group("mdp3");
    group.throughput(Throughput::Elements(itch.message_count() as u64));
    for (name, depth) in [("orders", Depth::Orders), ("levels", Depth::Levels)] {
        let config = Mdp3Config { instrument_count_max: 64, order_count_max: 1 << 14, depth };
        let (mut decoder, mut slots) = (Mdp3Decoder::new(config), Slots::default());
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                decoder.begin_session();
                for body in &packets {
                    black_box(decoder.decode(body, EpochNanos(0), EventFlags::NONE, &mut slots).is_ok());
                }
            });
        });
        assert_eq!(decoder.counters().notes().count(), 0, "nothing was left alone");
    }
    let (mut feed, mut slots) = (itch.feed(), Slots::default());
    let expected = itch.events().len();
    group.bench_function("the same as ITCH 5.0", |bencher| {
        bencher.iter(|| assert_eq!(decode(&mut feed, itch.bytes(), &mut slots), expected));
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}

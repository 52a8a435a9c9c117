//! MDP 3.0 end to end: an exchange tells what happens, and behind each event the engine's books are the exchange's own,
//! over lines that lose, repeat and reorder, and into a sink that refuses.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

#[path = "mdp3/delivery.rs"]
mod delivery;
#[path = "mdp3/encode.rs"]
mod encode;
#[path = "mdp3/engine.rs"]
mod engine;
#[path = "mdp3/exchange.rs"]
mod exchange;
#[path = "mdp3/lies.rs"]
mod lies;
#[path = "mdp3/twin.rs"]
mod twin;

use engine::Engine;
use exchange::{Command, Exchange};
use peregrine_wire::mdp3::Depth;
use proptest::prelude::*;
use twin::Twin;

/// Commands of one day.
pub(crate) fn commands(count_max: usize) -> impl Strategy<Value = Vec<Command>> {
    prop::collection::vec(any::<Command>(), 1..count_max)
}

/// Every packet through the engine; behind the last of an event engine, twin and exchange say the same.
fn check(commands: &[Command], depth: Depth) -> Engine {
    let exchange = Exchange::of(commands);
    let (mut engine, mut twin) = (Engine::new(depth), Twin::default());
    for (payload, books) in &exchange.packets {
        engine.packet(payload);
        twin.packet(payload);
        if let Some(books) = books {
            engine::equal_twin(books, &twin);
            engine.equal(books);
        }
    }
    engine.is_sound();
    engine
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn books_of_orders_are_the_exchanges_behind_each_event(commands in commands(160)) {
        check(&commands, Depth::Orders);
    }

    #[test]
    fn books_of_levels_are_the_exchanges_behind_each_event(commands in commands(160)) {
        check(&commands, Depth::Levels);
    }
}

/// Of a long day: what the properties above are to meet, they meet.
#[test]
fn a_long_day_has_everything_in_it() {
    let mut seed = 7;
    let commands: Vec<Command> = (0..6_000)
        .map(|_| {
            let [a, b, c, d, e, f, g, h] = exchange::chance(&mut seed).to_le_bytes();
            let which = u16::from_le_bytes([c, d]);
            // Mostly two instruments, so that their books get deep.
            (a, if b < 200 { b % 2 } else { b }, which, e, f, u64::from(g) << 8 | u64::from(h))
        })
        .collect();
    let orders = check(&commands, Depth::Orders);
    let levels = check(&commands, Depth::Levels);
    let counters = orders.feed.decoder().counters();
    for template in [4, 12, 30, 46, 47, 48, 54, 64, 65] {
        assert!(counters.message_count_of(template) > 0, "{template}");
    }
    assert!(
        counters.unknown_order_count > 0 && counters.revived_order_count > 0,
        "trades come first, icebergs come back"
    );
    assert_eq!(
        (counters.malformed_count, counters.refused_entry_count, counters.unmatched_trade_order_count),
        (0, 0, 0)
    );
    assert_eq!((counters.order_full_count, counters.late_definition_count, counters.left_alone_count), (0, 0, 0));
    assert_eq!(levels.feed.decoder().counters().unknown_rank_count, 0);
    use peregrine_types::EventKind::*;
    for kind in
        [AddOrder, ExecuteOrder, ExecuteOrderAtPrice, CancelOrder, DeleteOrder, ReplaceOrder, Trade, BrokenTrade]
    {
        assert!(orders.kinds.contains_key(&kind), "{kind:?}");
    }
}

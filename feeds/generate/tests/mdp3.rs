//! A session as MDP 3.0 packets says what it says as ITCH 5.0: books made of either are the same behind every moment, orders
//! and queues with `Depth::Orders`, ten levels with `Depth::Levels`; so is what traded. Lossy lines, with faults that never
//! hit both, give the events of clean ones.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use peregrine_book::{BookConfig, Books, MarketBooks};
use peregrine_generate::{GeneratorConfig, LineFaults, PacketConfig, Session, for_each_mdp3_packet};
use peregrine_types::*;
use peregrine_wire::itch50::Decoder;
use peregrine_wire::mdp3::{Depth, Mdp3Config, Mdp3Decoder};
use peregrine_wire::{ArbiterConfig, LineId, Mdp3Feed};

const SYMBOLS: u32 = 64;

fn config(seed: u64) -> GeneratorConfig {
    GeneratorConfig::every_type(seed, 8, 30_000)
}

/// The session's events by ITCH.
fn truth(seed: u64) -> (Vec<MarketEvent>, Decoder) {
    let (mut events, mut decoder) = (Vec::new(), Decoder::new(config(seed).midnight, SYMBOLS));
    Session::new(config(seed)).unwrap().for_each_message(|_, message| {
        let mut sink = |event| -> Result<(), Full<MarketEvent>> {
            events.push(event);
            Ok(())
        };
        decoder.decode(message, EpochNanos(0), EventFlags::RECV_TIME_SYNTHETIC, &mut sink).unwrap();
    });
    (events, decoder)
}

/// Its events by MDP 3.0.
fn told(seed: u64, depth: Depth, packets: &PacketConfig) -> (Vec<MarketEvent>, Mdp3Feed) {
    let mdp3 = Mdp3Config { instrument_count_max: SYMBOLS, order_count_max: 1 << 16, depth };
    let mut feed = Mdp3Feed::new(ArbiterConfig::default(), Mdp3Decoder::new(mdp3)).unwrap();
    let mut events = Vec::new();
    let mut session = Session::new(config(seed)).unwrap();
    let midnight = config(seed).midnight;
    for_each_mdp3_packet(&mut session, midnight, packets, |line, time, payload| {
        let mut sink = |event| -> Result<(), Full<MarketEvent>> {
            events.push(event);
            Ok(())
        };
        feed.on_packet(LineId(line), payload, time, &mut sink).unwrap();
    })
    .unwrap();
    (events, feed)
}

fn books() -> Books {
    Books::new(BookConfig::new(SYMBOLS, 1 << 16, 1 << 14)).unwrap()
}

/// Applies what happened up to `time`, and gives what is left.
fn apply_until<'e>(books: &mut Books, events: &'e [MarketEvent], time: EpochNanos) -> &'e [MarketEvent] {
    let count = events.iter().take_while(|event| event.exch_time <= time || is_own(event)).count();
    let (now, later) = events.split_at(count);
    now.iter().for_each(|event| assert_eq!(books.apply(event).anomaly, None, "{event:?}"));
    later
}

/// An event of the feed's own has no time of the venue.
fn is_own(event: &MarketEvent) -> bool {
    matches!(event.kind, EventKind::SessionStart | EventKind::SessionEnd | EventKind::GapStart | EventKind::GapEnd)
}

fn levels(books: &Books, symbol: SymbolId, side: Side) -> Vec<(Price, Qty)> {
    let mut out = [Level::default(); 10];
    let count = books.depth(symbol, side, &mut out);
    out[..count].iter().map(|level| (level.price, level.qty)).collect()
}

fn queues(books: &Books, symbol: SymbolId, side: Side) -> Vec<(OrderRef, Price, Qty)> {
    let mut all = Vec::new();
    for (price, _) in levels(books, symbol, side) {
        let empty =
            peregrine_book::RestingOrder { symbol, side, price, qty: Qty(0), priority: peregrine_book::Priority(0) };
        let mut out = vec![(OrderRef(0), empty); 512];
        let count = books.queue(symbol, side, price, &mut out);
        all.extend(out[..count].iter().map(|(order_ref, order)| (*order_ref, order.price, order.qty)));
    }
    all
}

/// What was printed, by symbol's name, price and quantity summed up.
fn prints(
    books: &mut Books,
    events: &[MarketEvent],
    name: impl Fn(SymbolId) -> Symbol,
) -> BTreeMap<(String, i64), u64> {
    let mut sums = BTreeMap::new();
    for event in events {
        if let Some(print) = books.apply(event).trade.filter(|print| print.is_printable && print.qty.0 > 0) {
            *sums.entry((name(event.symbol).to_string(), print.price.0)).or_insert(0) += print.qty.0;
        }
    }
    sums
}

#[test]
fn books_of_orders_and_of_levels_are_the_session_s_behind_every_moment() {
    for depth in [Depth::Orders, Depth::Levels] {
        let ((truth, itch), (told, feed)) = (truth(3), told(3, depth, &PacketConfig::clean(1)));
        assert_eq!(feed.decoder().counters().notes().collect::<Vec<_>>(), []);
        let ids: BTreeMap<SymbolId, SymbolId> =
            itch.symbols().iter().filter_map(|(id, name)| Some((id, feed.decoder().symbols().id(name)?))).collect();
        assert_eq!(ids.len(), 8);
        let (mut by_itch, mut by_mdp3) = (books(), books());
        let (mut truth_left, mut told_left) = (&truth[..], &told[..]);
        let mut compared = 0_u32;
        while let Some(first) = truth_left.first() {
            let (time, touched) = (first.exch_time, first.symbol);
            truth_left = apply_until(&mut by_itch, truth_left, time);
            told_left = apply_until(&mut by_mdp3, told_left, time);
            let Some(id) = ids.get(&touched) else { continue };
            for side in [Side::Buy, Side::Sell] {
                let (true_levels, told_levels) = (levels(&by_itch, touched, side), levels(&by_mdp3, *id, side));
                assert_eq!(told_levels, true_levels, "{depth:?} {time:?}");
                if depth == Depth::Orders && compared.is_multiple_of(512) {
                    assert_eq!(queues(&by_mdp3, *id, side), queues(&by_itch, touched, side), "{time:?}");
                }
            }
            // The protocol has no pause: it is a halt.
            let trades = |books: &Books, id| books.trading_state(id) == TradingState::Trading;
            assert_eq!(trades(&by_mdp3, *id), trades(&by_itch, touched));
            compared += 1;
        }
        assert!(compared > 20_000, "{compared}");
        if depth == Depth::Orders {
            assert_eq!(by_mdp3.order_count(), by_itch.order_count());
            assert_eq!(feed.decoder().order_count(), by_itch.order_count());
        }
    }
}

#[test]
fn what_traded_is_printed_once_at_its_price() {
    for depth in [Depth::Orders, Depth::Levels] {
        let ((truth, itch), (told, feed)) = (truth(4), told(4, depth, &PacketConfig::clean(1)));
        // By the exchange an execution that is not to be printed is a trade like any other: what ITCH does not print is
        // left out on both sides.
        let hidden: u64 = truth
            .iter()
            .filter(|event| event.kind == EventKind::ExecuteOrderAtPrice)
            .filter(|event| !event.flags.contains(EventFlags::PRINTABLE))
            .map(|event| event.qty.0)
            .sum();
        let by_itch = prints(&mut books(), &truth, |id| itch.symbols().name(id).unwrap());
        let by_mdp3 = prints(&mut books(), &told, |id| feed.decoder().symbols().name(id).unwrap());
        let sum = |prints: &BTreeMap<_, u64>| prints.values().sum::<u64>();
        assert_eq!(sum(&by_mdp3), sum(&by_itch) + hidden, "{depth:?}");
        if hidden == 0 {
            assert_eq!(by_mdp3, by_itch);
        }
        assert!(by_itch.len() > 100);
    }
}

#[test]
fn lines_that_lose_repeat_and_reorder_give_the_events_of_clean_ones() {
    let clean = told(5, Depth::Orders, &PacketConfig { coalesce: Nanos(0), ..PacketConfig::clean(1) });
    let mut faulty = PacketConfig { coalesce: Nanos(0), ..PacketConfig::faulty(1) };
    let worse = |line: LineFaults| LineFaults { loss_ppm: 50_000, duplicate_ppm: 20_000, reorder_ppm: 20_000, ..line };
    faulty.lines = (worse(faulty.lines.0), faulty.lines.1.map(worse));
    let (events, feed) = told(5, Depth::Orders, &faulty);
    let counters = feed.arbiter().counters();
    assert!(counters.gap_count > 100 && counters.lost_message_count == 0, "{counters:?}");
    let said = |events: &[MarketEvent]| -> Vec<MarketEvent> {
        let flow = events.iter().filter(|event| !is_own(event));
        flow.map(|event| MarketEvent { recv_time: EpochNanos(0), flags: EventFlags(event.flags.0 & 1), ..*event })
            .collect()
    };
    assert!(said(&events) == said(&clean.0));
    let gaps = events.iter().filter(|event| event.kind == EventKind::GapStart).count();
    assert_eq!(gaps, events.iter().filter(|event| event.kind == EventKind::GapEnd).count());
}

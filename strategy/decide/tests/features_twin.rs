//! The incremental features against their naive twin, event by event, and the proof that none looks ahead.

mod common;

use common::{Player, Step, TICK, book_config, books, steps};
use peregrine_book::{Books, MarketBooks, NaiveBooks};
use peregrine_decide::{DEFINITIONS, FeatureConfig, FeatureEngine, FeatureVector, NaiveFeatures};
use peregrine_types::{EpochNanos, EventKind, MarketEvent, Price, SymbolId};
use proptest::prelude::*;

const START: i64 = 1_700_000_000_123_456_789;
const SYMBOL: SymbolId = SymbolId(3);

fn config() -> FeatureConfig {
    FeatureConfig {
        tick: Price(TICK),
        session_open: EpochNanos(START + 1_000_000_000),
        session_close: EpochNanos(START + 60_000_000_000),
    }
}

fn flow(steps: &[Step]) -> Vec<MarketEvent> {
    let mut player = Player::new(START);
    steps.iter().map(|step| player.event(SYMBOL, *step)).collect()
}

/// Vectors after each event, and the naive twin that saw the same.
fn run(events: &[MarketEvent]) -> (Vec<FeatureVector>, NaiveFeatures) {
    let (mut books, mut naive): (NaiveBooks, _) = (books(), NaiveFeatures::new());
    let mut engine = FeatureEngine::new(config(), 16, 1);
    let slot = engine.watch(SYMBOL).expect("there is room for one");
    let vectors = events.iter().map(|event| {
        let update = books.apply(event);
        naive.on_event(event, &update, &books);
        assert_eq!(engine.on_event(event, &update, &books), Some(slot));
        engine.vector(slot).expect("the slot was given")
    });
    (vectors.collect(), naive)
}

/// Where a vector differs from the twin: sums that decay are rounded event by event, so 1e-6 of the value is allowed.
fn difference(vector: &FeatureVector, want: &[f64; 32]) -> Option<String> {
    let pairs = vector.iter().zip(want).zip(&DEFINITIONS);
    pairs.into_iter().find_map(|((got, want), definition)| {
        let allowed = 1e-6 * want.abs().max(1e-3);
        let is_equal = got.is_finite() && (f64::from(*got) - want).abs() <= allowed;
        (!is_equal).then(|| format!("{}: {got} against {want}", definition.name))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_feature_equals_its_formula_after_every_event(steps in steps(260)) {
        let (vectors, naive) = run(&flow(&steps));
        for (index, vector) in vectors.iter().enumerate() {
            let want = naive.vector_at(index, &config());
            prop_assert_eq!(difference(vector, &want), None, "event {}", index);
        }
    }

    #[test]
    fn the_future_changes_no_past_feature(steps in steps(200), cut in any::<prop::sample::Index>()) {
        let events = flow(&steps);
        let kept = cut.index(events.len());
        let (whole, _) = run(&events);
        let (part, _) = run(&events[..kept]);
        for (index, (a, b)) in whole.iter().zip(&part).enumerate() {
            prop_assert_eq!(a.map(f32::to_bits), b.map(f32::to_bits), "event {} of {}", index, kept);
        }
    }

    #[test]
    fn moving_the_whole_flow_in_time_by_whole_windows_changes_nothing(steps in steps(150), windows in 1_i64..1_000) {
        // 625 ms is a multiple of every bucket, so only the session clock may tell the difference.
        let events = flow(&steps);
        let mut moved = events.clone();
        for event in &mut moved {
            event.recv_time.0 += windows * 625_000_000;
        }
        for (a, b) in run(&events).0.iter().zip(&run(&moved).0) {
            prop_assert_eq!(&a[..31], &b[..31]);
        }
    }
}

/// The twin allows for rounding; this one does not: every bit of 40,000 vectors, of a symbol watched from the middle of
/// its session on. Whoever makes the features faster must find the same number here.
#[test]
fn the_bits_of_a_fixed_flow_are_fixed() {
    let mut state = 2_026_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let [kind, price, qty, wait, a, b, c, d] = (state ^ (state >> 29)).to_be_bytes();
        let (pick, span) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        Step { kind, pick, price, qty, wait: (wait, span) }
    };
    let (mut player, mut books): (_, Books) = (Player::new(START), Books::new(book_config()).unwrap());
    let mut engine = FeatureEngine::new(config(), 16, 1);
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for number in 0..40_500 {
        let event = player.event(SYMBOL, next());
        let update = books.apply(&event);
        if number == 500 {
            engine.watch(SYMBOL).unwrap();
        }
        if let Some(slot) = engine.on_event(&event, &update, &books) {
            for value in engine.vector(slot).unwrap() {
                hash = (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
    }
    assert_eq!(hash, 0x68e9_3a92_9281_521a, "{hash:#x}");
}

#[test]
fn a_backward_clock_counts_as_a_standing_one() {
    let mut player = Player::new(START);
    let step = |kind| Step { kind, pick: 0, price: 7, qty: 9, wait: (240, 50) };
    let mut events: Vec<_> = (0..60).map(|kind| player.event(SYMBOL, step(kind))).collect();
    for event in events.iter_mut().skip(30) {
        event.recv_time.0 -= 20_000_000_000;
    }
    let (vectors, naive) = run(&events);
    assert_eq!(difference(&vectors[59], &naive.vector_at(59, &config())), None);
}

#[test]
fn a_session_start_makes_every_symbol_new() {
    let mut player = Player::new(START);
    let mut engine = FeatureEngine::new(config(), 16, 4);
    let slot = engine.watch(SYMBOL).unwrap();
    let mut books = books();
    let mut feed = |engine: &mut FeatureEngine, event: &MarketEvent| {
        let update = books.apply(event);
        engine.on_event(event, &update, &books)
    };
    let empty = engine.vector(slot).unwrap();
    for kind in 0..50 {
        feed(&mut engine, &player.event(SYMBOL, Step { kind, pick: 0, price: kind, qty: 9, wait: (200, 3) }));
    }
    assert_ne!(engine.vector(slot).unwrap(), empty);
    let time = EpochNanos(START);
    assert_eq!(feed(&mut engine, &MarketEvent::new(EventKind::SessionStart, SymbolId::MARKET, time, time)), None);
    assert_eq!(engine.vector(slot).unwrap(), empty);
}

#[test]
fn watching_is_bounded_and_idempotent() {
    use peregrine_decide::WatchRefused;
    let mut engine = FeatureEngine::new(config(), 4, 2);
    assert_eq!(
        (engine.watch(SymbolId(3)), engine.watch(SymbolId(1)), engine.watch(SymbolId(3))),
        (Ok(0), Ok(1), Ok(0))
    );
    assert_eq!(engine.watch(SymbolId(2)), Err(WatchRefused::Full));
    assert_eq!(engine.watch(SymbolId(4)), Err(WatchRefused::SymbolOutOfRange));
    assert_eq!(
        (engine.slot(SymbolId(1)), engine.slot(SymbolId(0)), engine.slot(SymbolId::MARKET)),
        (Some(1), None, None)
    );
}

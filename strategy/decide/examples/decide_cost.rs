//! What features, decisions and the controller cost, on a file given as argument (length-prefixed ITCH 5.0, unpacked):
//! medians of repeated replays with and without the stage, one thread, nothing else measured.

use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

use peregrine_book::{BookConfig, BookUpdate, Books, MarketBooks};
use peregrine_decide::{
    Controller as _, DecideConfig, DecisionView, FeatureConfig, FeatureEngine, IntentBatch, ThresholdController,
};
use peregrine_model::{Heads, Regime};
use peregrine_types::{BookState, EpochNanos, EventFlags, Full, MarketEvent, Nanos, Price, Qty, SymbolId, TickTable};
use peregrine_wire::itch50::Decoder;

const ROUNDS: usize = 9;

/// What is done beside the book.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Work {
    Book,
    Features,
    Vector,
    Controller,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("give the path of a length-prefixed ITCH 5.0 file")?;
    let events = decode(&std::fs::read(path)?);
    let median = |work| {
        let mut rounds: Vec<_> = (0..ROUNDS).map(|_| replay(&events, work)).collect();
        rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        rounds.get(ROUNDS / 2).copied().unwrap_or_default()
    };
    let [book, features, vector, controller] = [Work::Book, Work::Features, Work::Vector, Work::Controller].map(median);
    let (event_count, decision_count) = (events.len() as f64, controller.1 as f64);
    let mut out = std::io::stdout().lock();
    writeln!(out, "events {event_count}, decision events {decision_count}")?;
    writeln!(out, "book:        {:6.1} ns per event", book.0 / event_count)?;
    writeln!(out, "features:    {:6.1} ns per event (update alone)", (features.0 - book.0) / event_count)?;
    writeln!(out, "vector:      {:6.1} ns per decision", (vector.0 - features.0) / decision_count)?;
    writeln!(out, "controller:  {:6.1} ns per decision", (controller.0 - vector.0) / decision_count)?;
    Ok(())
}

fn decode(mut bytes: &[u8]) -> Vec<MarketEvent> {
    let (mut decoder, mut events) = (Decoder::new(EpochNanos(0), 1_000), Vec::new());
    while let Some((len, tail)) = bytes.split_first_chunk::<2>() {
        let Some((message, next)) = tail.split_at_checked(usize::from(u16::from_be_bytes(*len))) else { break };
        let mut sink = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
            events.push(event);
            Ok(())
        };
        if decoder.decode(message, EpochNanos(0), EventFlags::RECV_TIME_SYNTHETIC, &mut sink).is_err() {
            break;
        }
        bytes = next;
    }
    events
}

/// Nanoseconds of one replay and the number of its decision events.
fn replay(events: &[MarketEvent], work: Work) -> (f64, u64) {
    let config = BookConfig { is_unknown_state_tradable: true, ..BookConfig::new(1_000, 1 << 20, 1 << 18) };
    let Ok(mut books) = Books::new(config) else { return (0.0, 0) };
    let session = (EpochNanos(34_200_000_000_000), EpochNanos(57_600_000_000_000));
    let config = FeatureConfig { tick: Price(10_000_000), session_open: session.0, session_close: session.1 };
    let mut engine = FeatureEngine::new(config, 1_000, 1_000);
    for symbol in events.iter().map(|event| event.symbol).filter(|symbol| *symbol != SymbolId::MARKET) {
        if engine.slot(symbol).is_none() && engine.watch(symbol).is_err() {
            break;
        }
    }
    let Ok(mut controller) = ThresholdController::new(thresholds(), 1_000) else { return (0.0, 0) };
    let mut out = IntentBatch::for_symbols(1);
    let mut decision_count = 0;
    let start = Instant::now();
    for event in events {
        let update = black_box(books.apply(event));
        if work == Work::Book {
            continue;
        }
        let Some(slot) = engine.on_event(event, &update, &books) else { continue };
        if !(update.is_top_changed || update.trade.is_some()) {
            continue;
        }
        decision_count += 1;
        if work >= Work::Vector {
            black_box(engine.vector(slot));
        }
        if work >= Work::Controller {
            out.clear();
            control(&mut controller, (slot, event, &update), &books, &mut out);
        }
    }
    (start.elapsed().as_nanos() as f64, decision_count)
}

fn control(
    controller: &mut ThresholdController,
    (slot, event, update): (usize, &MarketEvent, &BookUpdate),
    books: &Books,
    out: &mut IntentBatch,
) {
    let action = if event.recv_time.0 & 1 == 0 { 0.9 } else { -0.9 };
    let heads = Heads { action, regime: Regime { index: 0, confidence: 0.9 }, ..Heads::default() };
    let (symbol, now) = (update.symbol, event.recv_time);
    let (top, state, ticks) = (books.top(symbol), books.state(symbol), &TickTable::US_EQUITY);
    let view = DecisionView { symbol, slot, now, top, state, ticks, heads: &heads };
    black_box(controller.decide(&view, out));
    for intent in out.as_slice() {
        controller.on_denied(slot, intent, peregrine_types::ReasonCode::OrderRateLimit, now);
    }
}

fn thresholds() -> DecideConfig {
    DecideConfig {
        order_qty: Qty(100),
        target_position_qty: Qty(100),
        action_threshold: 0.5,
        action_hysteresis: 0.1,
        quote_offset_ticks: 0,
        quote_edge_ticks: None,
        requote_tolerance_ticks: 0,
        take_horizon_index: 0,
        take_margin_ticks: 0.0,
        fee_removed: Price(3_000_000),
        surprise_max: 100.0,
        regime_confidence_min: 0.0,
        withdraw_on: BookState::STALE,
        min_decision_interval: Nanos::ZERO,
        use_replace: false,
        denied_backoff: Nanos::ZERO,
        feature_tick: Price(10_000_000),
    }
}

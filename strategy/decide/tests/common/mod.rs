//! Random but plausible order flow for one or more symbols, as market events.

use peregrine_book::{BookConfig, MarketBooks, NaiveBooks};
use peregrine_types::{EpochNanos, EventFlags, EventKind, MarketEvent, Price, Qty, Side, SymbolId};
use proptest::prelude::*;

pub(crate) const TICK: i64 = 10_000_000;

/// One step of a random flow; numbers are reduced to what makes sense when it is played.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) kind: u8,
    pub(crate) pick: u16,
    pub(crate) price: u8,
    pub(crate) qty: u8,
    pub(crate) wait: (u8, u16),
}

pub(crate) fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (any::<u8>(), any::<u16>(), any::<u8>(), any::<u8>(), (any::<u8>(), any::<u16>()));
    let step = step.prop_map(|(kind, pick, price, qty, wait)| Step { kind, pick, price, qty, wait });
    proptest::collection::vec(step, 1..count)
}

/// Plays steps into events; knows which orders rest.
#[derive(Default)]
pub(crate) struct Player {
    time: i64,
    next_ref: u64,
    live: Vec<(u64, u64, Side)>,
}

impl Player {
    pub(crate) fn new(start: i64) -> Self {
        Self { time: start, next_ref: 1, live: Vec::new() }
    }

    pub(crate) fn event(&mut self, symbol: SymbolId, step: Step) -> MarketEvent {
        // Mostly micro- to milliseconds, now and then nothing, seconds or a long pause.
        let unit = match step.wait.0 {
            0..=39 => 0,
            40..=149 => 100,
            150..=229 => 10_000,
            230..=251 => 1_000_000,
            _ => 500_000_000,
        };
        self.time += unit * i64::from(step.wait.1 % 100);
        let mut event = MarketEvent::new(EventKind::AddOrder, symbol, EpochNanos(self.time), EpochNanos(self.time));
        event.flags = EventFlags::PRINTABLE;
        let at = if self.live.is_empty() { None } else { Some(usize::from(step.pick) % self.live.len()) };
        match (step.kind, at) {
            (0..=119, _) | (_, None) => self.add(&mut event, step),
            (120..=184, Some(at)) => {
                event.kind = EventKind::DeleteOrder;
                event.id_a = self.live.swap_remove(at).0;
            }
            (185..=204, Some(at)) => self.reduce(&mut event, EventKind::CancelOrder, at, step),
            (205..=224, Some(at)) => self.reduce(&mut event, EventKind::ExecuteOrder, at, step),
            (225..=234, Some(at)) => {
                event.price = price(step, Side::Sell);
                event.flags = if step.qty.is_multiple_of(2) { EventFlags::PRINTABLE } else { EventFlags::NONE };
                self.reduce(&mut event, EventKind::ExecuteOrderAtPrice, at, step);
            }
            (235..=244, Some(at)) => {
                let old = self.live.swap_remove(at);
                self.next_ref += 1;
                (event.kind, event.id_a, event.id_b) = (EventKind::ReplaceOrder, old.0, self.next_ref);
                (event.price, event.qty) = (price(step, old.2), qty(step));
                self.live.push((event.id_b, event.qty.0, old.2));
            }
            (245..=249, Some(_)) => {
                (event.kind, event.price, event.qty) = (EventKind::Trade, price(step, Side::Buy), qty(step));
            }
            (250..=252, Some(_)) => {
                (event.kind, event.price, event.qty) = (EventKind::CrossTrade, price(step, Side::Buy), qty(step));
            }
            (253..=255, Some(_)) => event.kind = EventKind::RegSho,
        }
        event
    }

    fn add(&mut self, event: &mut MarketEvent, step: Step) {
        self.next_ref += 1;
        event.side = if step.kind.is_multiple_of(2) { Side::Buy } else { Side::Sell };
        (event.id_a, event.price, event.qty) = (self.next_ref, price(step, event.side), qty(step));
        self.live.push((event.id_a, event.qty.0, event.side));
    }

    fn reduce(&mut self, event: &mut MarketEvent, kind: EventKind, at: usize, step: Step) {
        let (id, left, side) = self.live[at];
        let taken = qty(step).0.min(left);
        (event.kind, event.id_a, event.qty) = (kind, id, Qty(taken));
        if taken == left {
            self.live.swap_remove(at);
        } else {
            self.live[at] = (id, left - taken, side);
        }
    }
}

/// Within 32 ticks on the own side of 100, so that books are seldom crossed and levels come and go at the top.
fn price(step: Step, side: Side) -> Price {
    let offset = i64::from(step.price % 32) - 2;
    let mid = 10_000;
    Price((if side == Side::Buy { mid - offset } else { mid + 1 + offset }) * TICK)
}

fn qty(step: Step) -> Qty {
    Qty(u64::from(step.qty) + 1)
}

pub(crate) fn book_config() -> BookConfig {
    BookConfig { is_unknown_state_tradable: true, ..BookConfig::new(16, 100_000, 10_000) }
}

pub(crate) fn books() -> NaiveBooks {
    NaiveBooks::new(book_config()).expect("the capacities are legal")
}

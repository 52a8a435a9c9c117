//! Keeping the way from an event to an order warm: while nothing happens, caches and branch predictors forget it, and the
//! next decision would wait for what it needs. So it is gone through on copies, every so often. No decision ever sees them.

use peregrine_book::MarketBooks;
use peregrine_model::{LatentStore, Model};
use peregrine_types::{EpochNanos, SymbolId};

use super::Strategy;
use crate::features::SymbolFeatures;
use crate::{Controller, DecisionView, IntentBatch};

/// What is rehearsed on.
#[derive(Debug)]
pub(super) struct Rehearsal {
    features: Box<SymbolFeatures>,
    latent: LatentStore,
    intents: IntentBatch,
    /// The watched symbol that was rehearsed last.
    slot: usize,
}

impl Rehearsal {
    pub(super) fn new(model: &Model, watched_count_max: u32) -> Self {
        Self {
            features: Box::new(SymbolFeatures::new()),
            latent: LatentStore::new(model, 1),
            intents: IntentBatch::for_symbols(watched_count_max),
            slot: 0,
        }
    }
}

impl<C: Controller> Strategy<C> {
    /// Goes through an event and its decision for the next of the watched symbols, on copies: the weights, what is remembered
    /// of that symbol, the code and the processor's predictors are as if one had just been decided on. Changes no decision
    /// and no hash. Gives the symbol; `None` while none is watched.
    pub fn keep_warm<B: MarketBooks>(&mut self, books: &B) -> Option<SymbolId> {
        let Self { rehearsal, features, watched, .. } = self;
        let next = rehearsal.slot.saturating_add(1);
        let slot = if next < watched.len() { next } else { 0 };
        rehearsal.slot = slot;
        let symbol = watched.get(slot)?.symbol;
        let x = features.rehearse((slot, symbol), books, &mut rehearsal.features)?;
        self.latents.prefetch_hint(slot);
        let (top, position) = (books.top(symbol), self.controller.position(slot));
        let input = self.config.decide.position_input(position, &top);
        let mut latent = rehearsal.latent.latent_mut(0)?;
        if let Ok(heads) = self.kernel.observe(&self.model, &mut latent, &x, input) {
            let (now, state) =
                (self.features.symbol(slot)?.last_time().unwrap_or(EpochNanos::MIN), books.state(symbol));
            let ticks = self.config.ticks.of(symbol);
            let view = DecisionView { symbol, slot, now, top, state, ticks, heads: &heads };
            rehearsal.intents.clear();
            self.controller.rehearse(&view, &mut rehearsal.intents);
        }
        Some(symbol)
    }
}

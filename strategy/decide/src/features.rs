//! The order-book features: one incremental implementation for training and trading, and its naive twin.
//!
//! [`DEFINITIONS`] says what each feature is. [`FeatureEngine`] keeps one [`SymbolFeatures`] per watched symbol, in
//! tables whose sizes are fixed at start; an event of an unwatched symbol costs one table read.

mod decay;
mod definitions;
mod ladder;
pub(crate) mod naive;
mod symbol;
mod window;

use core::fmt;

use peregrine_book::{BookAction, BookUpdate, MarketBooks};
use peregrine_types::{EpochNanos, EventKind, EventSeq, MarketEvent, Nanos, Price, SymbolId};

pub use definitions::{
    DEFINITION_VERSION, DEFINITIONS, FEATURE_COUNT, FeatureDefinition, definition_hash, definition_hash_hex,
    definition_text,
};
pub(crate) use symbol::narrow;
pub use symbol::{FeatureConfig, FeatureVector, SymbolFeatures};

/// The state of fewer symbols than this is in the second cache anyway: looking ahead would cost more than it saves.
const FEW_SYMBOLS: usize = 64;

/// Marks a symbol without a slot.
const NO_SLOT: u32 = u32::MAX;

/// Takes each vector together with the event that it belongs to: the seam for dumps to files and for training sets.
pub trait FeatureSink {
    /// One vector: the features of `symbol` as of the event `seq` received at `time`.
    fn on_vector(&mut self, seq: EventSeq, time: EpochNanos, symbol: SymbolId, vector: &FeatureVector);
}

impl<F: FnMut(EventSeq, EpochNanos, SymbolId, &FeatureVector)> FeatureSink for F {
    fn on_vector(&mut self, seq: EventSeq, time: EpochNanos, symbol: SymbolId, vector: &FeatureVector) {
        self(seq, time, symbol, vector);
    }
}

/// Why a symbol could not be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchRefused {
    /// Its id is not below the number of symbols fixed at start.
    SymbolOutOfRange,
    /// As many symbols as fixed at start are watched already.
    Full,
}

impl fmt::Display for WatchRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SymbolOutOfRange => "the symbol's id is above symbol_count_max: raise it",
            Self::Full => "watched_count_max symbols are watched already: raise it or name fewer symbols",
        })
    }
}

impl core::error::Error for WatchRefused {}

/// The features of every watched symbol.
#[derive(Debug)]
pub struct FeatureEngine {
    config: FeatureConfig,
    /// Slot of each symbol, [`NO_SLOT`] for those not watched.
    slots: Box<[u32]>,
    symbols: Vec<SymbolFeatures>,
    watched_count_max: usize,
}

/// A copy has the room that the original was given; a derived one would have none to spare.
impl Clone for FeatureEngine {
    fn clone(&self) -> Self {
        let mut symbols = Vec::with_capacity(self.watched_count_max);
        symbols.extend_from_slice(&self.symbols);
        Self { config: self.config, slots: self.slots.clone(), symbols, watched_count_max: self.watched_count_max }
    }
}

impl FeatureEngine {
    /// Room for `symbol_count_max` symbols, `watched_count_max` of them watched; the only allocation.
    #[must_use]
    pub fn new(config: FeatureConfig, symbol_count_max: u32, watched_count_max: u32) -> Self {
        let watched_count_max = SymbolId(watched_count_max).index();
        let slots = vec![NO_SLOT; SymbolId(symbol_count_max).index()].into_boxed_slice();
        Self { config, slots, symbols: Vec::with_capacity(watched_count_max), watched_count_max }
    }

    /// Starts to watch a symbol and gives its slot; a symbol watched already keeps its slot.
    ///
    /// # Errors
    /// [`WatchRefused::SymbolOutOfRange`] or [`WatchRefused::Full`], by the sizes fixed at start.
    pub fn watch(&mut self, symbol: SymbolId) -> Result<usize, WatchRefused> {
        let slot = self.slots.get_mut(symbol.index()).ok_or(WatchRefused::SymbolOutOfRange)?;
        if *slot == NO_SLOT {
            // The second condition never holds; it lets the compiler leave out the code for growing.
            if self.symbols.len() >= self.watched_count_max || self.symbols.len() >= self.symbols.capacity() {
                return Err(WatchRefused::Full);
            }
            *slot = u32::try_from(self.symbols.len()).map_err(|_| WatchRefused::Full)?;
            self.symbols.push(SymbolFeatures::new());
        }
        Ok(SymbolId(*slot).index())
    }

    /// Slot of a watched symbol: dense from 0 in the order of [`Self::watch`].
    #[must_use]
    #[inline]
    pub fn slot(&self, symbol: SymbolId) -> Option<usize> {
        let slot = *self.slots.get(symbol.index())?;
        (slot != NO_SLOT).then_some(SymbolId(slot).index())
    }

    /// Takes in one event, after the book did, and gives the slot of its symbol if that is watched. A session start
    /// and a snapshot's make every symbol as new, because books start empty.
    #[inline]
    pub fn on_event<B: MarketBooks>(&mut self, event: &MarketEvent, update: &BookUpdate, books: &B) -> Option<usize> {
        if matches!(event.kind, EventKind::SessionStart | EventKind::SnapshotStart) {
            self.symbols.fill(SymbolFeatures::new());
            return None;
        }
        let slot = self.slot(update.symbol)?;
        self.symbols.get_mut(slot)?.on_event(event, update, books);
        Some(slot)
    }

    /// Reads what `events` will need here, as [`MarketBooks::prefetch_hint`] does for the books. Changes nothing.
    #[inline]
    pub fn prefetch_hint(&self, events: &[MarketEvent]) {
        if self.symbols.len() < FEW_SYMBOLS {
            return;
        }
        let mut sum = 0_u64;
        for event in events {
            let slot = self.slot(event.symbol).and_then(|slot| self.symbols.get(slot));
            sum ^= slot.map_or(0, SymbolFeatures::touch);
        }
        core::hint::black_box(sum);
    }

    /// Goes through an event of a slot's symbol, one that changes its best bid, on a copy of what is remembered of it, and
    /// gives the vector that comes of it: code and memory are as after an event, and nothing is remembered. `None` for an
    /// unknown slot.
    pub fn rehearse<B: MarketBooks>(
        &self,
        (slot, symbol): (usize, SymbolId),
        books: &B,
        scratch: &mut SymbolFeatures,
    ) -> Option<FeatureVector> {
        scratch.clone_from(self.symbols.get(slot)?);
        let time = scratch.time().plus(Nanos::from_micros(1));
        let price = books.top(symbol).bid.map_or(Price(0), |level| level.price);
        let event = MarketEvent::new(EventKind::AddOrder, symbol, time, time);
        let update = BookUpdate { price, is_top_changed: true, ..BookUpdate::new(symbol, BookAction::Added) };
        scratch.on_event(&event, &update, books);
        Some(scratch.vector(&self.config))
    }

    /// The vector of a slot as of its symbol's last event.
    #[must_use]
    #[inline]
    pub fn vector(&self, slot: usize) -> Option<FeatureVector> {
        Some(self.symbols.get(slot)?.vector(&self.config))
    }

    /// What is remembered of a slot's symbol.
    #[must_use]
    #[inline]
    pub fn symbol(&self, slot: usize) -> Option<&SymbolFeatures> {
        self.symbols.get(slot)
    }

    /// How many symbols are watched.
    #[must_use]
    pub fn watched_count(&self) -> usize {
        self.symbols.len()
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &FeatureConfig {
        &self.config
    }

    /// Moves the session clock, for a feed that runs over several sessions.
    pub const fn set_session(&mut self, open: EpochNanos, close: EpochNanos) {
        self.config.session_open = open;
        self.config.session_close = close;
    }
}

//! The intents of one event, in the order in which they are to be checked and sent.

use peregrine_types::{Full, OrderIntent, Side, Sink, SymbolId};

use crate::HeldIntent;

/// Most orders of one symbol that can be cancelled at once: a quote on each side and a take.
pub const INTENTS_PER_SYMBOL_MAX: usize = 3;

/// Most intents of engine-held orders of one symbol at once: an exit, and one for each resting order.
const HELD_INTENTS_PER_SYMBOL_MAX: usize = 3;

/// A list of intents with a room fixed at start.
#[derive(Clone, Debug)]
pub struct IntentBatch {
    intents: Box<[OrderIntent]>,
    count: usize,
    /// What a controller asks the engine to hold.
    held: Box<[HeldIntent]>,
    held_count: usize,
    is_held_open: bool,
}

impl IntentBatch {
    /// Room for [`INTENTS_PER_SYMBOL_MAX`] intents of each of `watched_count` symbols: whatever happens to all of them
    /// in one event fits.
    #[must_use]
    pub fn for_symbols(watched_count: u32) -> Self {
        let count = SymbolId(watched_count).index().saturating_mul(INTENTS_PER_SYMBOL_MAX);
        let filler = OrderIntent::Cancel { order_id: peregrine_types::OrderId(0), symbol: SymbolId::MARKET };
        let intents = vec![filler; count].into_boxed_slice();
        Self { intents, count: 0, held: Box::default(), held_count: 0, is_held_open: true }
    }

    /// As [`IntentBatch::for_symbols`], with room for what engine-held orders send and for what a controller asks them.
    #[must_use]
    pub fn with_held(watched_count: u32) -> Self {
        let count = SymbolId(watched_count).index();
        let per_symbol = INTENTS_PER_SYMBOL_MAX.saturating_add(HELD_INTENTS_PER_SYMBOL_MAX);
        let filler = OrderIntent::Cancel { order_id: peregrine_types::OrderId(0), symbol: SymbolId::MARKET };
        Self {
            intents: vec![filler; count.saturating_mul(per_symbol)].into_boxed_slice(),
            count: 0,
            held: vec![HeldIntent::LetGo(Side::Buy); HELD_INTENTS_PER_SYMBOL_MAX].into_boxed_slice(),
            held_count: 0,
            is_held_open: true,
        }
    }

    /// Whether the engine takes anything to hold now.
    pub(crate) const fn set_held_open(&mut self, is_open: bool) {
        self.is_held_open = is_open;
    }

    /// Asks the engine to hold an order of the symbol that is decided on, or to let go of one.
    ///
    /// # Errors
    /// [`Full`] with the intent when there is no room for it, or when nothing is held for controllers
    /// (`protect.is_for_controllers`), or not yet: before the first order of a live run positions are not known.
    pub fn hold(&mut self, intent: HeldIntent) -> Result<(), Full<HeldIntent>> {
        let is_open = self.is_held_open;
        let Some(place) = self.held.get_mut(self.held_count).filter(|_| is_open) else { return Err(Full(intent)) };
        *place = intent;
        self.held_count = self.held_count.saturating_add(1);
        Ok(())
    }

    /// What the engine is asked to hold, in order.
    #[must_use]
    pub fn held(&self) -> &[HeldIntent] {
        self.held.get(..self.held_count).unwrap_or_default()
    }

    /// The intents so far.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[OrderIntent] {
        self.intents.get(..self.count).unwrap_or_default()
    }

    /// The intent at `index`, `None` beyond the last.
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> Option<OrderIntent> {
        self.as_slice().get(index).copied()
    }

    /// Forgets all intents.
    #[inline]
    pub const fn clear(&mut self) {
        self.count = 0;
        self.held_count = 0;
    }

    /// Whether there is none.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there are.
    #[must_use]
    #[inline]
    pub const fn len(&self) -> usize {
        self.count
    }
}

impl Sink<OrderIntent> for IntentBatch {
    #[inline]
    fn push(&mut self, value: OrderIntent) -> Result<(), Full<OrderIntent>> {
        let Some(place) = self.intents.get_mut(self.count) else {
            return Err(Full(value));
        };
        *place = value;
        self.count = self.count.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peregrine_types::OrderId;

    #[test]
    fn what_is_to_be_held_needs_room_for_it() {
        let wish = HeldIntent::LetGo(Side::Sell);
        assert_eq!(IntentBatch::for_symbols(1).hold(wish), Err(Full(wish)), "nothing is held");
        let mut batch = IntentBatch::with_held(1);
        assert_eq!(batch.hold(wish), Ok(()));
        assert_eq!((batch.held(), batch.is_empty()), ([wish].as_slice(), true));
        batch.clear();
        assert!(batch.held().is_empty());
    }

    #[test]
    fn a_full_batch_hands_the_intent_back_and_clears_for_the_next_event() {
        let mut batch = IntentBatch::for_symbols(1);
        let intent = |id| OrderIntent::Cancel { order_id: OrderId(id), symbol: SymbolId(0) };
        for id in 0..3 {
            assert_eq!(batch.push(intent(id)), Ok(()));
        }
        assert_eq!(batch.push(intent(3)), Err(Full(intent(3))));
        assert_eq!((batch.len(), batch.get(2), batch.get(3)), (3, Some(intent(2)), None));
        batch.clear();
        assert!(batch.is_empty() && batch.as_slice().is_empty());
    }
}

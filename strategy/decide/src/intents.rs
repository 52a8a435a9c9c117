//! The intents of one event, in the order in which they are to be checked and sent.

use peregrine_types::{Full, OrderIntent, Sink, SymbolId};

/// Most orders of one symbol that can be cancelled at once: a quote on each side and a take.
pub const INTENTS_PER_SYMBOL_MAX: usize = 3;

/// A list of intents with a room fixed at start.
#[derive(Clone, Debug)]
pub struct IntentBatch {
    intents: Box<[OrderIntent]>,
    count: usize,
}

impl IntentBatch {
    /// Room for [`INTENTS_PER_SYMBOL_MAX`] intents of each of `watched_count` symbols: whatever happens to all of them
    /// in one event fits.
    #[must_use]
    pub fn for_symbols(watched_count: u32) -> Self {
        let count = SymbolId(watched_count).index().saturating_mul(INTENTS_PER_SYMBOL_MAX);
        let filler = OrderIntent::Cancel { order_id: peregrine_types::OrderId(0), symbol: SymbolId::MARKET };
        Self { intents: vec![filler; count].into_boxed_slice(), count: 0 }
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

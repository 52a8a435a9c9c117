//! Which events are decided on: the one rule of trading and of datasets.

use peregrine_book::BookUpdate;
use peregrine_types::{BookState, EventKind, MarketEvent, Symbol, SymbolId};

use crate::Watch;

/// What an event of a watched symbol asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Neither the best bid nor the best ask changed, and nothing traded: features move on, nothing is decided.
    None,
    /// The event would be decided on, but something stands against the book.
    BookNotGood,
    /// The event is decided on.
    Decide,
}

impl Trigger {
    /// By what the event did to the book, and the state of the book after it.
    #[must_use]
    #[inline]
    pub const fn of(update: &BookUpdate, state: BookState) -> Self {
        if !update.is_top_changed && update.trade.is_none() {
            return Self::None;
        }
        if state.is_good() { Self::Decide } else { Self::BookNotGood }
    }
}

impl Watch {
    /// Whether the event may make its symbol watched.
    #[must_use]
    #[inline]
    pub fn is_news(&self, event: &MarketEvent, symbol: SymbolId, is_watched: bool) -> bool {
        match self {
            Self::Named(_) => event.kind == EventKind::StockDirectory,
            Self::All => symbol != SymbolId::MARKET && !is_watched,
        }
    }

    /// Whether a symbol of this name is wanted.
    #[must_use]
    pub fn wants(&self, name: Symbol) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(&name),
        }
    }
}

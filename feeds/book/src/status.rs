//! Everything about a market that is not an order: trading states, session, feed gaps, quarantines, anomaly counts.
//! One small state machine, used by the fast books and by the naive twin alike.

use peregrine_types::{BookState, EventKind, MarketEvent, Qty, SymbolId, TopOfBook, TradingState};

use crate::hash::hash_words;
use crate::{AnomalyCounts, BookAction, BookAnomaly, BookConfig, BookUpdate};

/// What stands about one symbol apart from its orders.
#[derive(Clone, Copy, Debug, Default)]
struct SymbolStatus {
    trading_state: TradingState,
    is_operational_halt: bool,
    is_quarantined: bool,
    round_lot: Option<Qty>,
}

/// The state machine of a market and its symbols.
#[derive(Debug)]
pub(crate) struct MarketStatus {
    symbols: Box<[SymbolStatus]>,
    symbol_anomalies: Box<[AnomalyCounts]>,
    anomalies: AnomalyCounts,
    /// Gaps that were declared and not yet closed. One number makes every book stale at once.
    open_gap_count: u32,
    /// Whether the session says that the venue takes no orders now.
    is_closed: bool,
    is_unknown_state_tradable: bool,
}

impl MarketStatus {
    pub(crate) fn new(config: &BookConfig) -> Self {
        let count = SymbolId(config.symbol_count_max).index();
        Self {
            symbols: vec![SymbolStatus::default(); count].into_boxed_slice(),
            symbol_anomalies: vec![AnomalyCounts::default(); count].into_boxed_slice(),
            anomalies: AnomalyCounts::default(),
            open_gap_count: 0,
            is_closed: false,
            is_unknown_state_tradable: config.is_unknown_state_tradable,
        }
    }

    /// Counts `anomaly` and quarantines `symbol`.
    #[cold]
    pub(crate) fn note(&mut self, symbol: SymbolId, anomaly: BookAnomaly) {
        self.anomalies.count(anomaly);
        if let Some(counts) = self.symbol_anomalies.get_mut(symbol.index()) {
            counts.count(anomaly);
        }
        self.quarantine(symbol);
    }

    pub(crate) fn quarantine(&mut self, symbol: SymbolId) {
        if let Some(status) = self.symbols.get_mut(symbol.index()) {
            status.is_quarantined = true;
        }
    }

    pub(crate) fn clear_quarantine(&mut self, symbol: SymbolId) -> bool {
        self.symbols.get_mut(symbol.index()).is_some_and(|status| core::mem::replace(&mut status.is_quarantined, false))
    }

    pub(crate) fn anomalies(&self) -> AnomalyCounts {
        self.anomalies
    }

    pub(crate) fn symbol_anomalies(&self, symbol: SymbolId) -> AnomalyCounts {
        self.symbol_anomalies.get(symbol.index()).copied().unwrap_or_default()
    }

    pub(crate) fn trading_state(&self, symbol: SymbolId) -> TradingState {
        self.symbols.get(symbol.index()).map_or(TradingState::Unknown, |status| status.trading_state)
    }

    pub(crate) fn round_lot(&self, symbol: SymbolId) -> Option<Qty> {
        self.symbols.get(symbol.index()).and_then(|status| status.round_lot)
    }

    /// Everything against a book whose best levels are `top`.
    #[inline]
    pub(crate) fn state(&self, symbol: SymbolId, top: &TopOfBook) -> BookState {
        let Some(status) = self.symbols.get(symbol.index()) else {
            return BookState::QUARANTINED.with(BookState::HALTED).with(BookState::ONE_SIDED);
        };
        let is_released = match status.trading_state {
            TradingState::Trading => true,
            TradingState::Unknown => self.is_unknown_state_tradable,
            TradingState::Halted | TradingState::Paused | TradingState::QuotationOnly => false,
        };
        let reasons = [
            (self.open_gap_count > 0, BookState::STALE),
            (!is_released || status.is_operational_halt || self.is_closed, BookState::HALTED),
            (status.is_quarantined, BookState::QUARANTINED),
            (top.is_crossed(), BookState::CROSSED),
            (top.is_locked(), BookState::LOCKED),
            (top.bid.is_none() || top.ask.is_none(), BookState::ONE_SIDED),
        ];
        reasons.iter().fold(
            BookState::GOOD,
            |state, (applies, reason)| {
                if *applies { state.with(*reason) } else { state }
            },
        )
    }

    /// Applies an event that is about no order (the caller empties its books on a session start).
    pub(crate) fn apply(&mut self, event: &MarketEvent) -> BookUpdate {
        let action = match event.kind {
            EventKind::SystemEvent => self.on_system_event(event.detail),
            EventKind::TradingAction => return self.on_trading_action(event),
            EventKind::OperationalHalt => return self.on_operational_halt(event),
            EventKind::StockDirectory => return self.on_stock_directory(event),
            EventKind::GapStart => {
                self.open_gap_count = self.open_gap_count.saturating_add(1);
                BookAction::StateChanged
            }
            EventKind::GapEnd => {
                self.open_gap_count = self.open_gap_count.saturating_sub(1);
                BookAction::StateChanged
            }
            EventKind::SessionStart => self.on_session_start(),
            EventKind::SnapshotStart => self.on_snapshot_start(),
            EventKind::SessionEnd => {
                self.is_closed = true;
                BookAction::StateChanged
            }
            EventKind::AddOrder
            | EventKind::ExecuteOrder
            | EventKind::ExecuteOrderAtPrice
            | EventKind::CancelOrder
            | EventKind::DeleteOrder
            | EventKind::ReplaceOrder
            | EventKind::Trade
            | EventKind::CrossTrade
            | EventKind::BrokenTrade
            | EventKind::RegSho
            | EventKind::ParticipantPosition
            | EventKind::MwcbLevels
            | EventKind::MwcbStatus
            | EventKind::IpoQuotingPeriod
            | EventKind::LuldCollar
            | EventKind::ImbalanceShares
            | EventKind::ImbalancePrices
            | EventKind::RetailInterest
            | EventKind::DirectListingPrices
            | EventKind::DirectListingCollars => BookAction::NoChange,
        };
        BookUpdate::new(event.symbol, action)
    }

    /// ITCH 5.0, System Event: orders are taken from `S` (start of system hours) to `E` (end of system hours). Codes
    /// that it does not list are left alone.
    fn on_system_event(&mut self, code: u8) -> BookAction {
        match code {
            b'O' | b'E' | b'C' => self.is_closed = true,
            b'S' | b'Q' | b'M' => self.is_closed = false,
            _ => return BookAction::NoChange,
        }
        BookAction::StateChanged
    }

    fn on_session_start(&mut self) -> BookAction {
        self.symbols.fill(SymbolStatus::default());
        self.open_gap_count = 0;
        self.is_closed = false;
        BookAction::StateChanged
    }

    /// What a snapshot tells anew is forgotten; gaps stay open, and so do operational halts, which it does not tell.
    fn on_snapshot_start(&mut self) -> BookAction {
        for status in &mut self.symbols {
            *status = SymbolStatus { is_operational_halt: status.is_operational_halt, ..SymbolStatus::default() };
        }
        self.is_closed = false;
        BookAction::StateChanged
    }

    /// ITCH 5.0, Stock Trading Action.
    fn on_trading_action(&mut self, event: &MarketEvent) -> BookUpdate {
        let state = match event.detail {
            b'T' => Some(TradingState::Trading),
            b'H' => Some(TradingState::Halted),
            b'P' => Some(TradingState::Paused),
            b'Q' => Some(TradingState::QuotationOnly),
            _ => None,
        };
        self.change(event, state.is_some(), |status| status.trading_state = state.unwrap_or(TradingState::Halted))
    }

    /// ITCH 5.0, Operational Halt: whichever market of the venue's group it names, the symbol is not traded on.
    fn on_operational_halt(&mut self, event: &MarketEvent) -> BookUpdate {
        let is_known = matches!(event.detail, b'H' | b'T');
        self.change(event, is_known, |status| status.is_operational_halt = event.detail != b'T')
    }

    /// ITCH 5.0, Stock Directory: may come at any time of the day, and says nothing about trading.
    fn on_stock_directory(&mut self, event: &MarketEvent) -> BookUpdate {
        self.change(event, true, |status| status.round_lot = Some(event.qty))
    }

    fn change(&mut self, event: &MarketEvent, is_known: bool, set: impl FnOnce(&mut SymbolStatus)) -> BookUpdate {
        let mut update = BookUpdate::new(event.symbol, BookAction::StateChanged);
        match self.symbols.get_mut(event.symbol.index()) {
            Some(status) => set(status),
            None => {
                update.action = BookAction::NoChange;
                update.anomaly = Some(BookAnomaly::SymbolOutOfRange);
            }
        }
        if !is_known && update.anomaly.is_none() {
            update.anomaly = Some(BookAnomaly::UnknownStateCode);
        }
        if let Some(anomaly) = update.anomaly {
            self.note(event.symbol, anomaly);
        }
        update
    }

    /// The share of everything but orders in the state hash.
    pub(crate) fn hash(&self) -> u64 {
        let market = hash_words(2, &[u64::from(self.open_gap_count), u64::from(self.is_closed)]);
        let counts = BookAnomaly::ALL.iter().fold(market, |sum, kind| {
            sum.wrapping_add(hash_words(3, &[u64::from(*kind as u8), u64::from(self.anomalies.of(*kind))]))
        });
        self.symbols.iter().zip(0_u64..).fold(counts, |sum, (status, symbol)| {
            let flags = u64::from(status.is_operational_halt) | (u64::from(status.is_quarantined) << 1);
            let round_lot = status.round_lot.map_or(0, |qty| qty.0);
            let state = u64::from(status.trading_state as u8);
            if flags == 0 && round_lot == 0 && state == 0 {
                return sum;
            }
            sum.wrapping_add(hash_words(4, &[symbol, state, flags, round_lot]))
        })
    }
}

//! Trading states (template 30), definitions of futures (54), and the reset of a channel (4).

use peregrine_types::{EventKind, Full, MarketEvent, Qty, Sink, SymbolId};

use super::decoder::{Mdp3Decoder, Walk, count, root};
use super::instruments::{Defined, Depths, Index, Instrument, Instruments};
use super::messages::{ChannelResetRoot, DefinitionRoot, FeedTypeEntry, NULL_I32, SecurityStatusRoot};
use super::packet::{Groups, Message};

/// `SecurityTradingStatus`: as it was.
const NO_CHANGE: u8 = 103;
/// `SecurityTradingStatus`: not said.
const NOT_SAID: u8 = u8::MAX;

/// The state code of ITCH that a status comes nearest to; `None` where it says nothing.
const fn state_of(status: u8) -> Option<u8> {
    match status {
        17 => Some(b'T'),
        15 | 21 | 24 | 25 => Some(b'Q'),
        NO_CHANGE | NOT_SAID => None,
        _ => Some(b'H'),
    }
}

/// How deep the books are told, by the feed types of a definition: `GBX` the real one, `GBI` the implied one. `None` where a
/// group does not fit.
fn depths_of(mut groups: Groups<'_>) -> Option<Depths> {
    let _events = groups.group()?;
    let types = groups.group()?;
    let mut depths = Depths::UNKNOWN;
    for entry in (0..types.count()).map_while(|index| types.get::<FeedTypeEntry>(index)) {
        let depth = u8::try_from(entry.market_depth).ok().filter(|depth| *depth > 0).unwrap_or(u8::MAX);
        match &entry.md_feed_type {
            b"GBX" => depths.real = depth,
            b"GBI" => depths.implied = depth,
            _ => {}
        }
    }
    Some(depths)
}

impl Mdp3Decoder {
    /// Template 30: one instrument, or all of a group, or of a product in it.
    pub(super) fn on_status(
        &mut self,
        message: &Message<'_>,
        walk: &mut Walk<'_, impl Sink<MarketEvent>>,
    ) -> Result<Option<()>, Full<()>> {
        let Some(root) = root::<SecurityStatusRoot>(message) else { return Ok(None) };
        walk.set_time(root.transact_time.get());
        let Some(state) = state_of(root.security_trading_status) else { return Ok(Some(())) };
        let security_id = root.security_id.get();
        if security_id != NULL_I32 {
            if self.is_due(walk) {
                if let Some((_, instrument)) = self.resolve(security_id) {
                    self.tell_state(instrument.symbol, state, walk);
                }
                self.done(walk)?;
            }
            return Ok(Some(()));
        }
        let is_any = |name: &[u8; 6]| name.iter().all(|byte| matches!(byte, 0 | b' '));
        // One step, whatever the number of instruments: messages behind this one can bring more of them.
        if self.is_due(walk) {
            while let Some(instrument) = self.instruments.get(self.status_next).copied() {
                self.status_next = Index(self.status_next.0.saturating_add(1));
                let is_meant = instrument.is_defined
                    && (is_any(&root.security_group) || instrument.group == root.security_group)
                    && (is_any(&root.asset) || instrument.asset == root.asset);
                if is_meant {
                    self.tell_state(instrument.symbol, state, walk);
                    self.flush(walk)?;
                }
            }
            self.status_next = Index(0);
            self.done(walk)?;
        }
        Ok(Some(()))
    }

    fn tell_state<S>(&mut self, symbol: SymbolId, state: u8, walk: &Walk<'_, S>) {
        self.pending.push(MarketEvent { detail: state, ..walk.event(EventKind::TradingAction, symbol) });
    }

    /// Template 54.
    #[cold]
    pub(super) fn on_definition(
        &mut self,
        message: &Message<'_>,
        walk: &mut Walk<'_, impl Sink<MarketEvent>>,
    ) -> Result<Option<()>, Full<()>> {
        let Some(root) = root::<DefinitionRoot>(message) else { return Ok(None) };
        let Some(depths) = depths_of(message.groups) else { return Ok(None) };
        if !self.is_due(walk) {
            return Ok(Some(()));
        }
        walk.set_time(root.last_update_time.get());
        let has_orders = self.instruments_have(root.security_id.get());
        let symbol_of = |instruments: &Instruments, index| {
            instruments.get(index).map_or(SymbolId::MARKET, |instrument: &Instrument| instrument.symbol)
        };
        // One that is deleted does not trade, whatever its state was.
        let state =
            if root.security_update_action == b'D' { Some(b'H') } else { state_of(root.md_security_trading_status) };
        match self.instruments.define(root, depths, |_| has_orders) {
            Err(_) => count(&mut self.counters.directory_full_count),
            Ok(Defined::Late(index)) => {
                count(&mut self.counters.late_definition_count);
                if let Some(state) = state {
                    self.tell_state(symbol_of(&self.instruments, index), state, walk);
                }
            }
            Ok(Defined::Named(index)) => {
                let symbol = symbol_of(&self.instruments, index);
                let name = self.instruments.symbols.name(symbol).map_or(0, |name| name.key());
                let locate = u64::from(root.security_id.get().cast_unsigned());
                let event = walk.event(EventKind::StockDirectory, symbol);
                self.pending.push(MarketEvent { id_a: name, id_b: locate, qty: Qty(1), ..event });
                if let Some(state) = state {
                    self.tell_state(symbol, state, walk);
                }
            }
        }
        self.done(walk)?;
        Ok(Some(()))
    }

    /// Whether anything stands of the instrument with this number.
    fn instruments_have(&self, security_id: i32) -> bool {
        let known = self.instruments.iter().find(|(_, instrument)| instrument.security_id == security_id);
        known.is_some_and(|(index, _)| self.has_orders(index))
    }

    /// Template 4: every book of the channel is empty.
    #[cold]
    pub(super) fn on_reset(
        &mut self,
        message: &Message<'_>,
        walk: &mut Walk<'_, impl Sink<MarketEvent>>,
    ) -> Result<Option<()>, Full<()>> {
        let Some(root) = root::<ChannelResetRoot>(message) else { return Ok(None) };
        walk.set_time(root.transact_time.get());
        // One step, as above; what is empty already stays so when the sink refuses in between.
        if self.is_due(walk) {
            let mut next = Index(0);
            while self.instruments.get(next).is_some() {
                self.empty(next, walk)?;
                next = Index(next.0.saturating_add(1));
            }
            self.done(walk)?;
        }
        Ok(Some(()))
    }
}

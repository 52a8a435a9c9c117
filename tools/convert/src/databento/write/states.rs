//! Sessions as schemas `definition`, `status` and `imbalance`: what the venue says about its instruments.
//!
//! | ITCH 5.0 | DBN |
//! |---|---|
//! | `R` | definition, with symbol, locate and round lot |
//! | `H` | status: halt, pause, quoting or trading, with the reason where DBN has it |
//! | `Y` | status: a change of the short-selling restriction |
//! | `h` of this market | status: halt, or what `H` said last; reason operational |
//! | `I` | imbalance |
//!
//! What the venue did not say is undefined (`~`, largest number, empty).

use std::collections::HashMap;
use std::io::Write;

use dbn::{ImbalanceMsg, InstrumentClass, InstrumentDefMsg, StatusAction, StatusMsg, UNDEF_PRICE, rtype};
use dbn::{SecurityUpdateAction, StatusReason, TriState};
use peregrine_types::{EventKind, MarketEvent, Side, SymbolId};

use super::{Out, letter, nanos, side_letter, size_of};
use crate::ConvertError;
use crate::databento::reasons;

/// The market that the session is of (ITCH 5.0, Operational Halt).
const OWN_MARKET: u64 = b'Q' as u64;
/// Market identifier of the venue (ISO 10383).
const EXCHANGE: &[u8] = b"XNAS";

/// Writes the directory.
pub(super) struct Definitions;

impl Definitions {
    #[expect(clippy::unused_self, reason = "the other schemas' writers have a state")]
    pub(super) fn on_event<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) -> Result<(), ConvertError> {
        if event.kind != EventKind::StockDirectory {
            out.leave_out(event);
            return Ok(());
        }
        let mut record = InstrumentDefMsg {
            hd: out.header::<InstrumentDefMsg>(rtype::INSTRUMENT_DEF, event),
            ts_recv: nanos(event.recv_time),
            raw_instrument_id: event.id_b,
            min_lot_size_round_lot: i32::try_from(event.qty.0).unwrap_or(i32::MAX),
            instrument_class: letter(InstrumentClass::Stock.into()),
            security_update_action: letter(SecurityUpdateAction::Add.into()),
            ..InstrumentDefMsg::default()
        };
        set_text(&mut record.raw_symbol, event.symbol_name().to_string().as_bytes());
        set_text(&mut record.exchange, EXCHANGE);
        out.write("definition", &record)
    }
}

/// Writes a text into a field that ends with a zero.
fn set_text(field: &mut [core::ffi::c_char], text: &[u8]) {
    let room = field.len().saturating_sub(1);
    for (place, byte) in field.iter_mut().take(room).zip(text) {
        *place = letter(*byte);
    }
}

/// What was heard about an instrument.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// The code of the last Stock Trading Action.
    trading: Option<u8>,
    is_halted_here: bool,
    is_short_sell_restricted: Option<bool>,
}

impl State {
    /// What the last Stock Trading Action means.
    const fn action(self) -> StatusAction {
        match self.trading {
            Some(b'T') => StatusAction::Trading,
            Some(b'Q') => StatusAction::Quoting,
            Some(b'P') => StatusAction::Pause,
            Some(_) => StatusAction::Halt,
            None => StatusAction::None,
        }
    }

    fn is_trading(self) -> Option<bool> {
        if self.is_halted_here { Some(false) } else { self.trading.map(|code| code == b'T') }
    }

    fn is_quoting(self) -> Option<bool> {
        if self.is_halted_here { Some(false) } else { self.trading.map(|code| matches!(code, b'T' | b'Q')) }
    }
}

/// Writes trading states, price tests and halts of this market.
#[derive(Default)]
pub(super) struct States(HashMap<SymbolId, State>);

impl States {
    pub(super) fn on_event<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) -> Result<(), ConvertError> {
        let state = self.0.entry(event.symbol).or_default();
        let (action, reason) = if event.kind == EventKind::TradingAction {
            state.trading = Some(event.detail);
            (state.action(), reason_of(out, event))
        } else if event.kind == EventKind::RegSho {
            state.is_short_sell_restricted = Some(event.detail != b'0');
            (StatusAction::SsrChange, StatusReason::None)
        } else if event.kind == EventKind::OperationalHalt && event.id_b == OWN_MARKET {
            state.is_halted_here = event.detail != b'T';
            let action = if state.is_halted_here { StatusAction::Halt } else { state.action() };
            (action, StatusReason::Operational)
        } else if event.kind == EventKind::OperationalHalt {
            out.leave_out_as("OperationalHalt of another market");
            return Ok(());
        } else {
            out.leave_out(event);
            return Ok(());
        };
        let state = *state;
        let record = StatusMsg {
            hd: out.header::<StatusMsg>(rtype::STATUS, event),
            ts_recv: nanos(event.recv_time),
            action: action.into(),
            reason: reason.into(),
            is_trading: tri_state(state.is_trading()),
            is_quoting: tri_state(state.is_quoting()),
            is_short_sell_restricted: tri_state(state.is_short_sell_restricted),
            ..StatusMsg::default()
        };
        out.write(name_of(action), &record)
    }
}

/// The reason of a Stock Trading Action. One that DBN has no number for is counted.
fn reason_of<W: Write>(out: &mut Out<W>, event: &MarketEvent) -> StatusReason {
    let [.., a, b, c, d] = event.id_a.to_be_bytes();
    let code = [a, b, c, d];
    reasons::of_code(code).unwrap_or_else(|| {
        out.leave_out_as(&format!("reason {}", String::from_utf8_lossy(&code).trim_end()));
        StatusReason::None
    })
}

fn tri_state(is_so: Option<bool>) -> core::ffi::c_char {
    letter(u8::from(match is_so {
        Some(true) => TriState::Yes,
        Some(false) => TriState::No,
        None => TriState::NotAvailable,
    }))
}

/// What a record is counted under: the actions that [`States`] writes.
fn name_of(action: StatusAction) -> &'static str {
    if action == StatusAction::Trading {
        "trading"
    } else if action == StatusAction::Quoting {
        "quoting"
    } else if action == StatusAction::Pause {
        "pause"
    } else if action == StatusAction::Halt {
        "halt"
    } else if action == StatusAction::SsrChange {
        "short-sale restriction"
    } else {
        "none"
    }
}

/// Writes imbalances, whose two events are one message.
#[derive(Default)]
pub(super) struct Imbalances {
    /// The first half of the message at hand.
    shares: Option<MarketEvent>,
}

impl Imbalances {
    pub(super) fn on_event<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) -> Result<(), ConvertError> {
        if event.kind == EventKind::ImbalanceShares {
            self.shares = Some(*event);
            return Ok(());
        }
        if event.kind != EventKind::ImbalancePrices {
            out.leave_out(event);
            return Ok(());
        }
        let shares = self.shares.take().filter(|shares| shares.symbol == event.symbol);
        let Some(shares) = shares else { return out.refuse() };
        let (Some(paired), Some(unpaired)) = (size_of(shares.id_a), size_of(shares.qty.0)) else { return out.refuse() };
        let side = match shares.detail {
            b'B' => Some(Side::Buy),
            b'S' => Some(Side::Sell),
            _ => None,
        };
        let record = ImbalanceMsg {
            hd: out.header::<ImbalanceMsg>(rtype::IMBALANCE, event),
            ts_recv: nanos(event.recv_time),
            ref_price: price_of(event.price.0),
            cont_book_clr_price: price_of(event.id_b.cast_signed()),
            auct_interest_clr_price: price_of(event.id_a.cast_signed()),
            paired_qty: paired,
            total_imbalance_qty: unpaired,
            auction_type: letter(event.detail),
            side: side_letter(side),
            significant_imbalance: letter(u8::try_from(event.qty.0).unwrap_or(b' ')),
            ..ImbalanceMsg::default()
        };
        out.write("imbalance", &record)
    }
}

/// A price of an imbalance, which is 0 where it was not computed (ITCH 5.0, Net Order Imbalance Indicator).
const fn price_of(nanos: i64) -> i64 {
    if nanos == 0 { UNDEF_PRICE } else { nanos }
}

//! From DBN's status and imbalance records to those of ITCH.
//!
//! | DBN | ITCH 5.0 |
//! |---|---|
//! | status: trading | `H`, T |
//! | status: quoting, pre-open, pre-cross, cross, rotation, new price indication, pre-close | `H`, Q |
//! | status: pause | `H`, P |
//! | status: halt, suspend, close, post-close, not available | `H`, H |
//! | status: change of the short-selling restriction | `Y`, 1 or 0 |
//! | status: none | `H` by its claims of trading and quoting, where it has them |
//! | imbalance | `I`; without a side its direction is N |

use std::io::Write;

use dbn::StatusAction;
use peregrine_types::Side;

use super::reasons;
use super::record::{Imbalance, Status};
use crate::desk::Desk;
use crate::session::{NO_REASON, NewImbalance};
use crate::{ConvertError, Finding, Place};

/// Takes a status of an instrument of the session.
pub(super) fn on_status<W: Write>(
    desk: &mut Desk<W>,
    locate: u16,
    status: &Status,
    place: Place,
) -> Result<(), ConvertError> {
    let detail = || format!("action {}", status.action);
    let Ok(action) = StatusAction::try_from(status.action) else {
        return desk.find(Finding::Malformed, place, detail);
    };
    if action == StatusAction::SsrChange {
        return match status.is_short_sell_restricted {
            Some(is_restricted) => desk.session.price_test(locate, if is_restricted { b'1' } else { b'0' }),
            None => desk.find(Finding::StateUnchanged, place, detail),
        };
    }
    let Some(state) = state_of(action, status) else { return desk.find(Finding::StateUnchanged, place, detail) };
    let reason = match reasons::code_of(status.reason) {
        Some(code) => code,
        None => {
            desk.find(Finding::ReasonUnknown, place, || format!("reason {}", status.reason))?;
            NO_REASON
        }
    };
    desk.session.trading_state(locate, state, reason)
}

/// The code of the trading state that an action means, or else the claims beside it.
fn state_of(action: StatusAction, status: &Status) -> Option<u8> {
    const QUOTING: [StatusAction; 7] = [
        StatusAction::PreOpen,
        StatusAction::PreCross,
        StatusAction::Quoting,
        StatusAction::Cross,
        StatusAction::Rotation,
        StatusAction::NewPriceIndication,
        StatusAction::PreClose,
    ];
    if action == StatusAction::Trading {
        // Where the venue itself is halted, trading elsewhere is no trading here.
        return Some(if status.is_trading == Some(false) { b'H' } else { b'T' });
    }
    if action == StatusAction::Pause {
        return Some(b'P');
    }
    if action != StatusAction::None {
        return Some(if QUOTING.contains(&action) { b'Q' } else { b'H' });
    }
    match (status.is_trading, status.is_quoting) {
        (Some(true), _) => Some(b'T'),
        (_, Some(true)) => Some(b'Q'),
        (Some(false), Some(false)) => Some(b'H'),
        (_, None) | (None, _) => None,
    }
}

/// Takes an imbalance of an instrument of the session.
pub(super) fn on_imbalance<W: Write>(
    desk: &mut Desk<W>,
    locate: u16,
    imbalance: &Imbalance,
    place: Place,
) -> Result<(), ConvertError> {
    let (Some(paired), Some(unpaired)) = (imbalance.paired, imbalance.unpaired) else {
        return desk.find(Finding::NoQuantity, place, || "an imbalance".to_owned());
    };
    let price = |price: Option<i64>| match price.filter(|price| *price != 0) {
        Some(price) => desk.scale.price4(price, place),
        None => Ok(0),
    };
    let direction = match imbalance.side {
        Some(Side::Buy) => b'B',
        Some(Side::Sell) => b'S',
        None => b'N',
    };
    let printable = |letter: u8| if letter.is_ascii_alphanumeric() { letter } else { b' ' };
    let message = NewImbalance {
        paired,
        unpaired,
        direction,
        far: price(imbalance.far)?,
        near: price(imbalance.near)?,
        reference: price(imbalance.reference)?,
        cross_type: printable(imbalance.auction_type),
        variation: printable(imbalance.variation),
    };
    desk.session.imbalance(locate, message)
}

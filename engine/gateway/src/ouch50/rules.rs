//! Which codes, values and options a message may carry.

use super::fields::{OuchPrice, PRICE_RAW_MAX, Text};
use super::messages::{Body, Inbound, Outbound};
use super::options::{Appendage, OptionTag};
use super::{EXPIRE_SECONDS_END, ORDER_QTY_MAX, ParseError, ParseErrorKind};

/// A code from a closed list.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct Code {
    pub offset: usize,
    pub value: u8,
    pub legal: &'static [u8],
}

/// The first code of a closed list that is not in it.
pub(super) fn check_codes<B: Body>(body: &B) -> Result<(), ParseError> {
    let mut found = None;
    body.codes(&mut |code| {
        if found.is_none() && !code.legal.contains(&code.value) {
            found = Some(code);
        }
    });
    match found {
        None => Ok(()),
        Some(code) => {
            let kind = ParseErrorKind::IllegalCode(code.value);
            Err(ParseError { message_type: B::TYPE, offset: code.offset, kind })
        }
    }
}

/// The first option that is not allowed here, appears twice, or has another length. Unknown options are skipped.
pub(super) fn check_appendage<B: Body>(appendage: &Appendage<'_>) -> Result<(), ParseError> {
    let mut seen = 0_u32;
    for element in appendage.elements() {
        let tag = element.tag;
        let error = |kind| {
            let offset = size_of::<B>().saturating_add(element.offset);
            Err(ParseError { message_type: B::TYPE, offset, kind })
        };
        let Some(known) = OptionTag::from_code(tag) else { continue };
        let (expected, actual, bit) = (known.value_len(), element.value.len(), 1_u32.wrapping_shl(u32::from(tag)));
        if !B::OPTIONS.contains(&tag) {
            return error(ParseErrorKind::OptionNotAllowed(tag));
        }
        if expected != actual {
            return error(ParseErrorKind::OptionLength { tag, expected, actual });
        }
        if seen & bit != 0 {
            return error(ParseErrorKind::OptionDuplicate(tag));
        }
        seen |= bit;
    }
    Ok(())
}

/// What the values of an inbound message are checked with.
struct Values<'a> {
    message_type: u8,
    fixed_len: usize,
    options: Appendage<'a>,
}

impl Values<'_> {
    fn error(&self, offset: usize, kind: ParseErrorKind) -> Result<(), ParseError> {
        Err(ParseError { message_type: self.message_type, offset, kind })
    }

    fn quantity(&self, offset: usize, quantity: u32, least: u32) -> Result<(), ParseError> {
        if (least..=ORDER_QTY_MAX).contains(&quantity) {
            return Ok(());
        }
        self.error(offset, ParseErrorKind::Quantity(quantity))
    }

    fn price(&self, offset: usize, price: OuchPrice) -> Result<(), ParseError> {
        if price.get() <= PRICE_RAW_MAX || price.is_market() {
            return Ok(());
        }
        self.error(offset, ParseErrorKind::Price(price.get()))
    }

    fn text<const N: usize>(&self, offset: usize, text: &Text<N>, is_legal: fn(&u8) -> bool) -> Result<(), ParseError> {
        match text.0.iter().zip(offset..).find(|(byte, _)| !is_legal(byte)) {
            None => Ok(()),
            Some((byte, at)) => self.error(at, ParseErrorKind::IllegalCharacter(*byte)),
        }
    }

    /// An order that lives for a time says for how long, and it is less than a day. A replacement that does not say it
    /// keeps the original's.
    fn expire_time(&self, time_in_force: u8, is_replacement: bool) -> Result<(), ParseError> {
        const TAG: u8 = OptionTag::ExpireTime.code();
        let found = self.options.elements().find(|element| element.tag == TAG);
        let offset = self.fixed_len.saturating_add(found.map_or(0, |element| element.offset));
        match self.options.expire_time() {
            None if time_in_force == b'6' && !is_replacement => self.error(offset, ParseErrorKind::OptionMissing(TAG)),
            Some(seconds @ EXPIRE_SECONDS_END..) => self.error(offset, ParseErrorKind::Value(seconds)),
            None | Some(_) => Ok(()),
        }
    }
}

fn is_clordid_character(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b' '
}

fn is_firm_character(byte: &u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' '
}

impl Inbound<'_> {
    pub(super) fn check_values(&self) -> Result<(), ParseError> {
        let (fixed, options) = self.parts();
        let message_type = fixed.first().copied().unwrap_or(0);
        let values = Values { message_type, fixed_len: fixed.len(), options };
        match self {
            Self::EnterOrder(m, _) => {
                values.quantity(6, m.quantity.get(), 1)?;
                values.price(18, m.price)?;
                values.text(31, &m.clordid, is_clordid_character)?;
                values.expire_time(m.time_in_force, false)
            }
            Self::ReplaceOrder(m, _) => {
                values.quantity(9, m.quantity.get(), 1)?;
                values.price(13, m.price)?;
                values.text(24, &m.clordid, is_clordid_character)?;
                values.expire_time(m.time_in_force, true)
            }
            Self::CancelOrder(m, _) => values.quantity(5, m.quantity.get(), 0),
            Self::ModifyOrder(m, _) => values.quantity(6, m.quantity.get(), 0),
            Self::MassCancel(m, _) => values.text(5, &m.firm, is_firm_character),
            Self::DisableOrderEntry(m, _) => values.text(5, &m.firm, is_firm_character),
            Self::EnableOrderEntry(m, _) => values.text(5, &m.firm, is_firm_character),
            Self::AccountQuery(..) | Self::Unknown(_) => Ok(()),
        }
    }
}

impl Outbound<'_> {
    /// Prices must fit the engine's unit. Quantities and reasons are the venue's word.
    pub(super) fn check_values(&self) -> Result<(), ParseError> {
        let (offset, price) = match self {
            Self::OrderAccepted(m, _) => (26, m.price),
            Self::OrderReplaced(m, _) => (30, m.price),
            Self::AiqCanceled(m, _) => (22, m.execution_price),
            Self::OrderExecuted(m, _) => (17, m.price),
            Self::OrderPriorityUpdate(m, _) => (13, m.price),
            Self::SystemEvent(..)
            | Self::OrderCanceled(..)
            | Self::BrokenTrade(..)
            | Self::Rejected(..)
            | Self::CancelPending(..)
            | Self::CancelReject(..)
            | Self::OrderModified(..)
            | Self::OrderRestated(..)
            | Self::MassCancelResponse(..)
            | Self::DisableResponse(..)
            | Self::EnableResponse(..)
            | Self::AccountQueryResponse(..)
            | Self::Unknown(_) => return Ok(()),
        };
        match price.price() {
            Some(_) => Ok(()),
            None => {
                let message_type = self.parts().0.first().copied().unwrap_or(0);
                Err(ParseError { message_type, offset, kind: ParseErrorKind::Price(price.get()) })
            }
        }
    }
}

//! What a session says about its instruments beside orders and trades: trading states, price tests, imbalances.

use peregrine_wire::itch50::{NetOrderImbalance, Price4, RegShoRestriction, StockTradingAction};
use zerocopy::IntoBytes;
use zerocopy::byteorder::big_endian::U64;

use super::{MessageSink, Session};
use crate::ConvertError;

/// No reason is given.
pub(crate) const NO_REASON: [u8; 4] = *b"    ";

/// What holds for an instrument.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    trading: (u8, [u8; 4]),
    /// The code of the last price test, if one was heard of.
    price_test: Option<u8>,
}

impl Standing {
    /// Of an instrument of which only its trading state is known.
    pub(super) const fn new(state: u8) -> Self {
        Self { trading: (state, NO_REASON), price_test: None }
    }
}

/// An imbalance of an auction; prices in 10⁻⁴, 0 where they are not known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewImbalance {
    pub(crate) paired: u32,
    pub(crate) unpaired: u32,
    /// `B`, `S` or `N`.
    pub(crate) direction: u8,
    pub(crate) far: u32,
    pub(crate) near: u32,
    pub(crate) reference: u32,
    pub(crate) cross_type: u8,
    pub(crate) variation: u8,
}

impl<S: MessageSink> Session<S> {
    /// The trading state of an instrument: `H`, `P`, `Q` or `T`. What is told before the session begins is written when it
    /// does.
    ///
    /// # Errors
    /// [`ConvertError::Write`].
    pub fn trading_state(&mut self, locate: u16, state: u8, reason: [u8; 4]) -> Result<(), ConvertError> {
        if let Some(standing) = self.standing_of(locate) {
            standing.trading = (state, reason);
        }
        let message = self.state_message(locate, (state, reason));
        self.write(&message)
    }

    /// The short-sale price test of an instrument: `0` none, `1` in force. As for a trading state.
    pub(crate) fn price_test(&mut self, locate: u16, action: u8) -> Result<(), ConvertError> {
        if let Some(standing) = self.standing_of(locate) {
            standing.price_test = Some(action);
        }
        let message = self.price_test_message(locate, action);
        self.write(&message)
    }

    /// An imbalance of an auction.
    pub(crate) fn imbalance(&mut self, locate: u16, imbalance: NewImbalance) -> Result<(), ConvertError> {
        let mut message = NetOrderImbalance::new(locate, self.stamp);
        message.paired_shares = U64::new(u64::from(imbalance.paired));
        message.imbalance_shares = U64::new(u64::from(imbalance.unpaired));
        message.imbalance_direction = imbalance.direction;
        message.stock = self.symbol(locate);
        message.far_price = Price4::new(imbalance.far);
        message.near_price = Price4::new(imbalance.near);
        message.current_reference_price = Price4::new(imbalance.reference);
        message.cross_type = imbalance.cross_type;
        message.price_variation = imbalance.variation;
        self.write(&message)
    }

    /// Writes what holds for an instrument when the session begins.
    pub(super) fn open_state(&mut self, locate: u16) -> Result<(), ConvertError> {
        let Some(Standing { trading, price_test }) = self.standing_of(locate).copied() else { return Ok(()) };
        let message = self.state_message(locate, trading);
        self.write(&message)?;
        match price_test.map(|action| self.price_test_message(locate, action)) {
            Some(message) => self.write(&message),
            None => Ok(()),
        }
    }

    /// What holds for an instrument, for whoever joins late.
    pub(super) fn state_snapshot(&self, locate: u16, on_message: &mut impl FnMut(&[u8])) {
        let index = usize::from(locate).checked_sub(1);
        let Some(standing) = index.and_then(|index| self.standings.get(index)) else { return };
        on_message(self.state_message(locate, standing.trading).as_bytes());
        if let Some(action) = standing.price_test {
            on_message(self.price_test_message(locate, action).as_bytes());
        }
    }

    fn standing_of(&mut self, locate: u16) -> Option<&mut Standing> {
        self.standings.get_mut(usize::from(locate).checked_sub(1)?)
    }

    fn state_message(&self, locate: u16, (state, reason): (u8, [u8; 4])) -> StockTradingAction {
        let mut message = StockTradingAction::new(locate, self.stamp);
        message.stock = self.symbol(locate);
        message.trading_state = state;
        message.reserved = b' ';
        message.reason = reason;
        message
    }

    fn price_test_message(&self, locate: u16, action: u8) -> RegShoRestriction {
        let mut message = RegShoRestriction::new(locate, self.stamp);
        message.stock = self.symbol(locate);
        message.reg_sho_action = action;
        message
    }
}

//! Nasdaq OUCH 5.0 (to revision 1.05 of October 2025): every inbound and outbound message as a view over bytes, usable
//! both ways, with the options of its appendage.
//!
//! [`Inbound::parse`] and [`Outbound::parse`] look at structure only: lengths and the tiling of the appendage; unknown
//! types and unknown options are no errors, because the venue adds them without a version change. [`Inbound::check`]
//! and [`Outbound::check`] look at codes, ranges and options, and name the first byte that is not legal. Messages are
//! written with [`MessageBuilder`].

mod codes;
mod fields;
mod messages;
mod options;
mod rules;
mod write;

pub use codes::{CancelReason, RejectReason};
pub use fields::{Blank, OuchPrice, PRICE_RAW_MAX, Text};
pub use messages::*;
pub use options::{Appendage, Element, Elements, OptionTag, OptionValue};
pub use write::{BuildError, MESSAGE_LEN_MAX, MessageBuilder};

/// Largest quantity of an order in shares, and of everything that one replace chain may execute.
pub const ORDER_QTY_MAX: u32 = 999_999;
/// Lifetime of an order with time in force `6` lies below this many seconds.
pub const EXPIRE_SECONDS_END: u32 = 86_400;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("OUCH message `{}` is malformed at byte {offset}: {kind}", char::from(*.message_type))]
pub struct ParseError {
    /// The type byte, 0 when there was none.
    pub message_type: u8,
    /// Where in the message the trouble lies, in bytes from its type byte.
    pub offset: usize,
    /// What is wrong.
    pub kind: ParseErrorKind,
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// There is no byte at all.
    #[error("empty")]
    Empty,
    /// It ends before its fixed part does.
    #[error("{actual} bytes long instead of at least {expected}")]
    Truncated {
        /// The shortest length that the type allows.
        expected: usize,
        /// The length that the carrier gave.
        actual: usize,
    },
    /// Bytes follow a message that has no appendage.
    #[error("{0} bytes behind the end")]
    TrailingBytes(usize),
    /// The appendage is not as long as it says.
    #[error("an appendage of {actual} bytes announces {announced}")]
    AppendageLength {
        /// What its length field says.
        announced: usize,
        /// How many bytes follow the length field.
        actual: usize,
    },
    /// An option of length 0: not even a tag.
    #[error("an option without a tag")]
    OptionEmpty,
    /// An option leads past the end of the appendage.
    #[error("an option of {0} bytes does not fit the appendage")]
    OptionTruncated(u8),
    /// A known option with a value of another length.
    #[error("option {tag} has {actual} bytes instead of {expected}")]
    OptionLength {
        /// Its tag.
        tag: u8,
        /// The length of its value.
        expected: usize,
        /// The length found.
        actual: usize,
    },
    /// An option that has no place in this message.
    #[error("option {0} has no place in this message")]
    OptionNotAllowed(u8),
    /// An option that appears a second time.
    #[error("option {0} appears twice")]
    OptionDuplicate(u8),
    /// An option that this message needs is missing.
    #[error("option {0} is missing")]
    OptionMissing(u8),
    /// A one-byte code that the specification does not list.
    #[error("illegal code 0x{0:02x}")]
    IllegalCode(u8),
    /// A quantity outside of what the field allows.
    #[error("quantity {0} is not allowed here")]
    Quantity(u32),
    /// A price above the largest, or one that the engine's unit cannot hold.
    #[error("price {0} (in 0.0001) is not allowed here")]
    Price(u64),
    /// A number outside of what the option allows.
    #[error("value {0} is not allowed here")]
    Value(u32),
    /// Text with a character that is not allowed.
    #[error("illegal character 0x{0:02x}")]
    IllegalCharacter(u8),
}

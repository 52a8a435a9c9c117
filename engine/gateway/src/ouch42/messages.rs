//! The messages of both directions: one struct for each, one table for each direction.
//!
//! Integers are big-endian and unsigned; text is ASCII, on the left, padded with spaces. The carrier gives the length.

use peregrine_types::Symbol;
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::fields::{OuchPrice, PRICE_RAW_MAX, Token};
use super::{ORDER_QTY_MAX, ParseError, ParseErrorKind, Text};
use crate::ouch50::{Blank, BuildError};

/// A message of one length.
pub trait Body: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned {
    /// The type code.
    const TYPE: u8;
    /// The length in bytes.
    const LEN: usize;
    /// Name, offset and length of every field.
    const FIELDS: &'static [(&'static str, usize, usize)];
}

fn view<B: Body>(bytes: &[u8]) -> Result<&B, ParseError> {
    let error = |offset, kind| ParseError { message_type: B::TYPE, offset, kind };
    B::ref_from_bytes(bytes).map_err(|_| match bytes.len().checked_sub(B::LEN) {
        Some(behind) => error(B::LEN, ParseErrorKind::TrailingBytes(behind)),
        None => error(bytes.len(), ParseErrorKind::Truncated { expected: B::LEN, actual: bytes.len() }),
    })
}

/// A code that is not in its closed list.
fn code(message_type: u8, offset: usize, value: u8, legal: &[u8]) -> Result<(), ParseError> {
    if legal.contains(&value) {
        return Ok(());
    }
    Err(ParseError { message_type, offset, kind: ParseErrorKind::IllegalCode(value) })
}

fn quantity(message_type: u8, offset: usize, value: U32, least: u32) -> Result<(), ParseError> {
    if (least..=ORDER_QTY_MAX).contains(&value.get()) {
        return Ok(());
    }
    Err(ParseError { message_type, offset, kind: ParseErrorKind::Quantity(value.get()) })
}

fn price(message_type: u8, offset: usize, value: OuchPrice) -> Result<(), ParseError> {
    if value.get() <= PRICE_RAW_MAX || value.is_market() {
        return Ok(());
    }
    Err(ParseError { message_type, offset, kind: ParseErrorKind::Price(u64::from(value.get())) })
}

fn token(message_type: u8, offset: usize, value: &Token) -> Result<(), ParseError> {
    let is_legal = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b' ';
    match value.0.iter().zip(offset..).find(|(byte, _)| !is_legal(byte)) {
        None => Ok(()),
        Some((byte, offset)) => Err(ParseError { message_type, offset, kind: ParseErrorKind::IllegalCharacter(*byte) }),
    }
}

macro_rules! direction {
    ($(#[$direction_doc:meta])* $direction:ident {$(
        $(#[$doc:meta])*
        $name:ident = $code:literal, $len:literal $(only $only:literal)?, $title:literal {
            $($offset:literal $field_len:literal $field:ident: $type:ty $(= $legal:literal)?, $text:literal;)*
        }
    )*}) => {
        $(
            $(#[$doc])*
            ///
            /// | offset | length | field | meaning |
            /// |---|---|---|---|
            #[doc = concat!("| 0 | 1 | `message_type` | `", stringify!($code), "` |")]
            $(#[doc = concat!("| ", $offset, " | ", $field_len, " | `", stringify!($field), "` | ", $text, " |")])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
            #[repr(C)]
            pub struct $name {
                /// Type code.
                pub message_type: u8,
                $(#[doc = concat!($text, ".")] pub $field: $type,)*
            }

            const _: () = {
                assert!(size_of::<$name>() == $len);
                $(assert!(core::mem::offset_of!($name, $field) == $offset && size_of::<$type>() == $field_len);)*
            };

            impl $name {
                /// A message to fill in: the type code is set, numbers are 0, text is spaces.
                #[must_use]
                pub const fn blank() -> Self {
                    Self { message_type: $code, $($field: <$type as Blank>::BLANK),* }
                }

                fn check_codes(&self) -> Result<(), ParseError> {
                    $($(code($code, $offset, self.$field, $legal)?;)?)*
                    Ok(())
                }
            }

            impl Body for $name {
                const TYPE: u8 = $code;
                const LEN: usize = $len;
                const FIELDS: &'static [(&'static str, usize, usize)] =
                    &[("type", 0, 1), $((stringify!($field), $offset, $field_len),)*];
            }
        )*

        $(#[$direction_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $direction<'a> {
            $(#[doc = concat!($title, ".")] $name(&'a $name),)*
            /// A type that the specification does not know: to be kept as it is, and told.
            Unknown(&'a [u8]),
        }

        impl<'a> $direction<'a> {
            /// The type codes of this direction.
            pub const TYPES: &'static [u8] = &[$($code,)*];

            /// Views `bytes`, the whole message as its carrier delimits it. Codes and values are not looked at.
            ///
            /// # Errors
            /// [`ParseError`] with the offset: no byte at all, or a length that the type does not have. An unknown type is
            /// no error.
            #[inline]
            pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
                match bytes.first() {
                    None => Err(ParseError { message_type: 0, offset: 0, kind: ParseErrorKind::Empty }),
                    $(Some(&$code) $(if bytes.len() == $only)? => view::<$name>(bytes).map(Self::$name),)*
                    Some(_) => Ok(Self::Unknown(bytes)),
                }
            }

            /// Whether codes, quantities, prices and tokens are legal.
            ///
            /// # Errors
            /// [`ParseError`] for the first place that is not; an unknown type is never wrong.
            pub fn check(&self) -> Result<(), ParseError> {
                match self {
                    $(Self::$name(body) => body.check_codes()?,)*
                    Self::Unknown(_) => {}
                }
                self.check_values()
            }

            /// Its bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &'a [u8] {
                match self {
                    $(Self::$name(body) => IntoBytes::as_bytes(*body),)*
                    Self::Unknown(bytes) => bytes,
                }
            }

            /// Writes the message as it is to the front of `buffer`.
            ///
            /// # Errors
            /// [`BuildError::NoRoom`] when the buffer is too short.
            pub fn write<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], BuildError> {
                let bytes = self.as_bytes();
                let room = buffer.get_mut(..bytes.len()).ok_or(BuildError::NoRoom)?;
                room.copy_from_slice(bytes);
                Ok(room)
            }

            /// The name of a type in the specification, `None` where it has none.
            #[must_use]
            #[allow(unreachable_patterns, clippy::allow_attributes, reason = "a type may have two lengths")]
            pub const fn title(message_type: u8) -> Option<&'static str> {
                match message_type {
                    $($code => Some($title),)*
                    _ => None,
                }
            }
        }
    };
}

direction! {
    /// A message to the venue.
    Inbound {
    /// OUCH 4.2, Enter Order (`O`, 49 bytes).
    EnterOrder = b'O', 49, "Enter Order" {
        1 14 token: Token, "name of the order, never used before today";
        15 1 side: u8 = b"BSTE", "B buy, S sell, T sell short, E sell short exempt";
        16 4 shares: U32, "shares, 1 to 999,999";
        20 8 stock: Symbol, "symbol";
        28 4 price: OuchPrice, "limit price";
        32 4 tif: U32, "time in force, see `TimeInForce`";
        36 4 firm: Text<4>, "firm, blank for the port's";
        40 1 display: u8 = b"AYNPIMWLOTQmn", "A attributable, Y anonymous, N hidden, P and L post-only, M and W midpoint peg";
        41 1 capacity: u8, "A agency, P principal, R riskless, everything else is O";
        42 1 iso: u8 = b"YNy", "Y and y intermarket sweep, N not";
        43 4 min_quantity: U32, "shares that must trade at once, 0 for none";
        47 1 cross_type: u8 = b"NOCHSRE", "N continuous, O opening, C closing, H halt or IPO, S, R, E others";
        48 1 customer_type: u8 = b"RN ", "R retail designated, N not, space for the port's";
    }
    /// OUCH 4.2, Replace Order (`U`, 47 bytes).
    ReplaceOrder = b'U', 47, "Replace Order" {
        1 14 existing_token: Token, "the order to be replaced";
        15 14 replacement_token: Token, "name of the replacement, never used before today";
        29 4 shares: U32, "**total** shares of the chain, executed ones included";
        33 4 price: OuchPrice, "limit price";
        37 4 tif: U32, "time in force";
        41 1 display: u8 = b"AYNPIMWLOTQmn", "as in Enter Order";
        42 1 iso: u8 = b"YNy", "Y and y intermarket sweep, N not";
        43 4 min_quantity: U32, "shares that must trade at once, 0 for none";
    }
    /// OUCH 4.2, Cancel Order (`X`, 19 bytes).
    CancelOrder = b'X', 19, "Cancel Order" {
        1 14 token: Token, "the order";
        15 4 shares: U32, "new intended **total** size; 0 cancels everything left";
    }
    /// OUCH 4.2, Modify Order (`M`, 20 bytes).
    ModifyOrder = b'M', 20, "Modify Order" {
        1 14 token: Token, "the order";
        15 1 side: u8 = b"BSTE", "new side, changes only among S, T and E";
        16 4 shares: U32, "new intended **total** size; 0 cancels";
    }
    /// OUCH 4.2, Trade Now (`N`, 15 bytes).
    TradeNow = b'N', 15, "Trade Now" {
        1 14 token: Token, "the order";
    }
    }
}

direction! {
    /// A message of the venue.
    Outbound {
    /// OUCH 4.2, System Event (`S`, 10 bytes).
    SystemEvent = b'S', 10, "System Event" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 1 event_code: u8, "S start of day, E end of day";
    }
    /// OUCH 4.2, Accepted (`A`, 66 bytes).
    Accepted = b'A', 66, "Accepted" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 14 token: Token, "the order";
        23 1 side: u8 = b"BSTE", "side";
        24 4 shares: U32, "accepted shares";
        28 8 stock: Symbol, "symbol";
        36 4 price: OuchPrice, "accepted price, may be better than entered";
        40 4 tif: U32, "time in force";
        44 4 firm: Text<4>, "firm";
        48 1 display: u8, "display, or Z for a displayed order hidden to comply";
        49 8 order_ref: U64, "the venue's reference, that of ITCH";
        57 1 capacity: u8, "capacity";
        58 1 iso: u8, "intermarket sweep";
        59 4 min_quantity: U32, "minimum quantity";
        63 1 cross_type: u8, "cross type";
        64 1 order_state: u8 = b"LD", "L live, D accepted and cancelled at once";
        65 1 bbo_weight: u8, "how large it is at the best price, space for unsaid";
    }
    /// OUCH 4.2, Replaced (`U`, 80 bytes): its first 65 bytes are laid out as those of Accepted.
    Replaced = b'U', 80, "Replaced" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 14 token: Token, "the replacement";
        23 1 side: u8 = b"BSTE", "side";
        24 4 shares: U32, "shares **outstanding** now";
        28 8 stock: Symbol, "symbol";
        36 4 price: OuchPrice, "accepted price";
        40 4 tif: U32, "time in force";
        44 4 firm: Text<4>, "firm";
        48 1 display: u8, "display";
        49 8 order_ref: U64, "the new reference";
        57 1 capacity: u8, "capacity";
        58 1 iso: u8, "intermarket sweep";
        59 4 min_quantity: U32, "minimum quantity";
        63 1 cross_type: u8, "cross type";
        64 1 order_state: u8 = b"LD", "L live, D dead";
        65 14 previous_token: Token, "the order that was replaced";
        79 1 bbo_weight: u8, "how large it is at the best price";
    }
    /// OUCH 4.2, Canceled (`C`, 28 bytes): shares left the order.
    Canceled = b'C', 28, "Canceled" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 14 token: Token, "the order";
        23 4 decrement_shares: U32, "shares taken off **by this event**";
        27 1 reason: u8, "reason, see `ouch50::CancelReason`";
    }
    /// OUCH 4.2, AIQ Canceled of a later revision (`D`, 38 bytes).
    AiqCanceledLater = b'D', 38 only 38, "AIQ Canceled" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 14 token: Token, "the order";
        23 4 decrement_shares: U32, "shares taken off by this event";
        27 1 reason: u8, "always Q";
        28 4 prevented_quantity: U32, "shares that would have traded";
        32 4 execution_price: OuchPrice, "price at which they would have";
        36 1 liquidity_flag: u8, "flag that the execution would have had";
        37 1 aiq_strategy: u8, "strategy of the cancelled order";
    }
    /// OUCH 4.2, AIQ Canceled (`D`, 37 bytes): shares left the order to prevent a self-match.
    AiqCanceled = b'D', 37, "AIQ Canceled" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 14 token: Token, "the order";
        23 4 decrement_shares: U32, "shares taken off by this event";
        27 1 reason: u8, "always Q";
        28 4 prevented_quantity: U32, "shares that would have traded";
        32 4 execution_price: OuchPrice, "price at which they would have";
        36 1 liquidity_flag: u8, "flag that the execution would have had";
    }
    /// OUCH 4.2, Executed (`E`, 40 bytes).
    Executed = b'E', 40, "Executed" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 14 token: Token, "the order";
        23 4 executed_shares: U32, "shares of **this** execution";
        27 4 execution_price: OuchPrice, "its price";
        31 1 liquidity_flag: u8, "liquidity flag of this version's table";
        32 8 match_number: U64, "number of the execution, the same on both sides";
    }
    /// OUCH 4.2, Broken Trade (`B`, 32 bytes).
    BrokenTrade = b'B', 32, "Broken Trade" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 14 token: Token, "the order";
        23 8 match_number: U64, "the execution that is broken";
        31 1 reason: u8, "E erroneous, C consent, S supervisory, X external";
    }
    /// OUCH 4.2, Executed with Reference Price (`G`, 45 bytes).
    ExecutedWithReference = b'G', 45, "Executed with Reference Price" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 14 token: Token, "the order";
        23 4 executed_shares: U32, "shares of this execution";
        27 4 execution_price: OuchPrice, "its price";
        31 1 liquidity_flag: u8, "liquidity flag";
        32 8 match_number: U64, "number of the execution";
        40 4 reference_price: OuchPrice, "reference price";
        44 1 reference_price_type: u8, "I intraday indicative value";
    }
    /// OUCH 4.2, Trade Correction (`F`, 41 bytes).
    TradeCorrection = b'F', 41, "Trade Correction" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 14 token: Token, "the order";
        23 4 executed_shares: U32, "shares of the execution";
        27 4 execution_price: OuchPrice, "its price from now on";
        31 1 liquidity_flag: u8, "liquidity flag";
        32 8 match_number: U64, "number of the execution";
        40 1 reason: u8, "N adjusted to the net asset value";
    }
    /// OUCH 4.2, Rejected (`J`, 24 bytes); the token is used up.
    Rejected = b'J', 24, "Rejected" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 14 token: Token, "the order";
        23 1 reason: u8, "reason, one letter";
    }
    /// OUCH 4.2, Cancel Pending (`P`, 23 bytes): the order is cancelled behind its cross.
    CancelPending = b'P', 23, "Cancel Pending" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 14 token: Token, "the order";
    }
    /// OUCH 4.2, Cancel Reject (`I`, 23 bytes): too late before a cross.
    CancelReject = b'I', 23, "Cancel Reject" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 14 token: Token, "the order";
    }
    /// OUCH 4.2, Priority Update (`T`, 36 bytes).
    PriorityUpdate = b'T', 36, "Priority Update" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 14 token: Token, "the order";
        23 4 price: OuchPrice, "its price";
        27 1 display: u8, "its display";
        28 8 order_ref: U64, "its new reference";
    }
    /// OUCH 4.2, Modified (`M`, 28 bytes).
    Modified = b'M', 28, "Modified" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 14 token: Token, "the order";
        23 1 side: u8, "side";
        24 4 shares: U32, "shares outstanding now";
    }
    /// OUCH 4.2, Trade Now (`N`, 23 bytes).
    TradeNowAnswer = b'N', 23, "Trade Now" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 14 token: Token, "the order";
    }
    }
}

impl Inbound<'_> {
    fn check_values(&self) -> Result<(), ParseError> {
        match self {
            Self::EnterOrder(m) => {
                token(b'O', 1, &m.token)?;
                quantity(b'O', 16, m.shares, 1)?;
                price(b'O', 28, m.price)
            }
            Self::ReplaceOrder(m) => {
                token(b'U', 1, &m.existing_token)?;
                token(b'U', 15, &m.replacement_token)?;
                quantity(b'U', 29, m.shares, 1)?;
                price(b'U', 33, m.price)
            }
            Self::CancelOrder(m) => quantity(b'X', 15, m.shares, 0),
            Self::ModifyOrder(m) => quantity(b'M', 16, m.shares, 0),
            Self::TradeNow(_) | Self::Unknown(_) => Ok(()),
        }
    }
}

impl Outbound<'_> {
    /// Quantities, prices and reasons are the venue's word.
    const fn check_values(&self) -> Result<(), ParseError> {
        Ok(())
    }

    /// The token that a message is about, `None` for a system event or an unknown type.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        match self {
            Self::SystemEvent(_) | Self::Unknown(_) => None,
            Self::Accepted(m) => Some(m.token),
            Self::Replaced(m) => Some(m.token),
            Self::Canceled(m) => Some(m.token),
            Self::AiqCanceledLater(m) => Some(m.token),
            Self::AiqCanceled(m) => Some(m.token),
            Self::Executed(m) => Some(m.token),
            Self::BrokenTrade(m) => Some(m.token),
            Self::ExecutedWithReference(m) => Some(m.token),
            Self::TradeCorrection(m) => Some(m.token),
            Self::Rejected(m) => Some(m.token),
            Self::CancelPending(m) => Some(m.token),
            Self::CancelReject(m) => Some(m.token),
            Self::PriorityUpdate(m) => Some(m.token),
            Self::Modified(m) => Some(m.token),
            Self::TradeNowAnswer(m) => Some(m.token),
        }
    }
}

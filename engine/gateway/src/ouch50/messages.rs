//! The messages of both directions: one struct for each fixed part, one table for each direction.
//!
//! Integers are big-endian and unsigned; text is ASCII, on the left, padded with spaces. The carrier gives the length.

use peregrine_types::Symbol;
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::fields::{Blank, OuchPrice, Text};
use super::options::{APPENDAGE_HEADER_LEN, Appendage};
use super::rules::{Code, check_appendage, check_codes};
use super::write::BuildError;
use super::{ParseError, ParseErrorKind};

/// When a message has an appendage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendageRule {
    /// Always; without options its length is 0.
    Required,
    /// The sender may leave it out.
    Optional,
    /// Only in answers to messages of a channel (option 28).
    Conditional,
    /// Always written; its absence is accepted (Order Executed, whose sheet is silent about it).
    Lenient,
    /// Never.
    Never,
}

impl AppendageRule {
    /// Whether it is written although there is no option.
    #[must_use]
    pub const fn is_always_written(self) -> bool {
        matches!(self, Self::Required | Self::Lenient)
    }
}

/// The fixed part of a message.
pub trait Body: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned {
    /// The type code.
    const TYPE: u8;
    /// The length of the message with an empty appendage, as the protocol sheet counts it; without one, where it never
    /// has any.
    const LEN: usize;
    /// When it has an appendage.
    const RULE: AppendageRule;
    /// Options that have a place in it.
    const OPTIONS: &'static [u8];
    /// Name, offset and length of every field of the fixed part.
    const FIELDS: &'static [(&'static str, usize, usize)];

    /// The codes that come from closed lists.
    #[doc(hidden)]
    fn codes(&self, visit: &mut dyn FnMut(Code));
}

fn view<B: Body>(bytes: &[u8]) -> Result<(&B, Appendage<'_>), ParseError> {
    let (message_type, fixed_len) = (B::TYPE, size_of::<B>());
    let error = |offset, kind| Err(ParseError { message_type, offset, kind });
    let truncated = |expected| error(bytes.len(), ParseErrorKind::Truncated { expected, actual: bytes.len() });
    let Ok((body, rest)) = B::ref_from_prefix(bytes) else { return truncated(fixed_len) };
    match B::RULE {
        AppendageRule::Never if !rest.is_empty() => error(fixed_len, ParseErrorKind::TrailingBytes(rest.len())),
        AppendageRule::Required if rest.is_empty() => truncated(B::LEN),
        AppendageRule::Never
        | AppendageRule::Required
        | AppendageRule::Optional
        | AppendageRule::Conditional
        | AppendageRule::Lenient => Ok((body, Appendage::parse(rest, message_type, fixed_len)?)),
    }
}

macro_rules! legal {
    ($self:ident, $visit:ident, $offset:literal, $field:ident, $legal:literal) => {
        $visit(Code { offset: $offset, value: $self.$field, legal: $legal })
    };
    ($self:ident, $visit:ident, $offset:literal, $field:ident,) => {};
}

macro_rules! direction {
    ($(#[$direction_doc:meta])* $direction:ident {$(
        $(#[$doc:meta])*
        $name:ident = $code:literal, $len:literal, $rule:ident [$($option:literal)*], $title:literal {
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
            #[doc = concat!("\nOptions: ", stringify!($($option)*), ".")]
            #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
            #[repr(C)]
            pub struct $name {
                /// Type code.
                pub message_type: u8,
                $(#[doc = concat!($text, ".")] pub $field: $type,)*
            }

            const _: () = {
                let header_len = if matches!(AppendageRule::$rule, AppendageRule::Never) { 0 } else { APPENDAGE_HEADER_LEN };
                assert!(size_of::<$name>() + header_len == $len);
                $(assert!(core::mem::offset_of!($name, $field) == $offset && size_of::<$type>() == $field_len);)*
            };

            impl $name {
                /// A message to fill in: the type code is set, numbers are 0, text is spaces.
                #[must_use]
                pub const fn blank() -> Self {
                    Self { message_type: $code, $($field: <$type as Blank>::BLANK),* }
                }
            }

            impl Body for $name {
                const TYPE: u8 = $code;
                const LEN: usize = $len;
                const RULE: AppendageRule = AppendageRule::$rule;
                const OPTIONS: &'static [u8] = &[$($option),*];
                const FIELDS: &'static [(&'static str, usize, usize)] =
                    &[("type", 0, 1), $((stringify!($field), $offset, $field_len),)*];

                #[allow(unused_variables, clippy::allow_attributes, reason = "some messages have no such code")]
                fn codes(&self, visit: &mut dyn FnMut(Code)) {
                    $(legal!(self, visit, $offset, $field, $($legal)?);)*
                }
            }
        )*

        $(#[$direction_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $direction<'a> {
            $(#[doc = concat!($title, ".")] $name(&'a $name, Appendage<'a>),)*
            /// A type that the specification does not know: to be kept as it is, and told.
            Unknown(&'a [u8]),
        }

        impl<'a> $direction<'a> {
            /// The type codes of this direction.
            pub const TYPES: &'static [u8] = &[$($code,)*];

            /// Views `bytes`, the whole message as its carrier delimits it. Codes and values are not looked at.
            ///
            /// # Errors
            /// [`ParseError`] with the offset: no byte at all, a length that the type does not allow, or an appendage
            /// that does not add up. An unknown type is no error.
            #[inline]
            pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
                match bytes.first() {
                    None => Err(ParseError { message_type: 0, offset: 0, kind: ParseErrorKind::Empty }),
                    $(Some(&$code) => view::<$name>(bytes).map(|(body, options)| Self::$name(body, options)),)*
                    Some(_) => Ok(Self::Unknown(bytes)),
                }
            }

            /// Whether codes, quantities, prices and options are legal.
            ///
            /// # Errors
            /// [`ParseError`] for the first place that is not; an unknown type is never wrong.
            pub fn check(&self) -> Result<(), ParseError> {
                match self {
                    $(Self::$name(body, options) => {
                        check_codes(*body)?;
                        check_appendage::<$name>(options)?;
                    })*
                    Self::Unknown(_) => {}
                }
                self.check_values()
            }

            /// The bytes of the fixed part (of everything, for an unknown type) and the appendage.
            #[must_use]
            pub fn parts(&self) -> (&'a [u8], Appendage<'a>) {
                match self {
                    $(Self::$name(body, options) => (body.as_bytes(), *options),)*
                    Self::Unknown(bytes) => (bytes, Appendage::ABSENT),
                }
            }

            /// Writes the message as it is to the front of `buffer`.
            ///
            /// # Errors
            /// [`BuildError::NoRoom`] when the buffer is too short.
            pub fn write<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], BuildError> {
                let (fixed, options) = self.parts();
                let len = fixed.len().saturating_add(options.as_bytes().len());
                let room = buffer.get_mut(..len).ok_or(BuildError::NoRoom)?;
                for (to, from) in room.iter_mut().zip(fixed.iter().chain(options.as_bytes())) {
                    *to = *from;
                }
                Ok(room)
            }

            /// The name of a type in the specification, `None` where it has none.
            #[must_use]
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
    /// OUCH 5.0, Enter Order (`O`, 47 bytes and options).
    EnterOrder = b'O', 47, Required [2 3 4 5 6 7 9 10 11 12 13 15 16 17 24 25 26 28 29 30], "Enter Order" {
        1 4 user_ref_num: U32, "number of the order, above every earlier one of the port today";
        5 1 side: u8 = b"BSTE", "B buy, S sell, T sell short, E sell short exempt";
        6 4 quantity: U32, "shares, 1 to 999,999";
        10 8 symbol: Symbol, "symbol";
        18 8 price: OuchPrice, "limit price";
        26 1 time_in_force: u8 = b"0356E", "0 day, 3 IOC, 5 extended hours, 6 until a time, E after hours";
        27 1 display: u8 = b"YNA", "Y visible, N hidden, A attributable";
        28 1 capacity: u8 = b"APRO", "A agency, P principal, R riskless principal, O other";
        29 1 iso_eligibility: u8 = b"YN", "Y intermarket sweep, N not";
        30 1 cross_type: u8 = b"NOCHSREA", "N continuous, O opening, C closing, H halt or IPO, S, R, E, A others";
        31 14 clordid: Text<14>, "the client's own identifier, echoed";
    }
    /// OUCH 5.0, Replace Order (`U`, 40 bytes and options).
    ReplaceOrder = b'U', 40, Required [3 5 6 7 9 10 11 12 13 15 16 17 25 26 27 28 29 30], "Replace Order" {
        1 4 orig_user_ref_num: U32, "the order to be replaced, last of its chain";
        5 4 user_ref_num: U32, "number of the replacement";
        9 4 quantity: U32, "**total** shares of the chain, executed ones included";
        13 8 price: OuchPrice, "limit price";
        21 1 time_in_force: u8 = b"0356", "0 day, 3 IOC, 5 extended hours, 6 until a time";
        22 1 display: u8 = b"YNA", "Y visible, N hidden, A attributable";
        23 1 iso_eligibility: u8 = b"YN", "Y intermarket sweep, N not";
        24 14 clordid: Text<14>, "identifier of the replacement";
    }
    /// OUCH 5.0, Cancel Order (`X`, 9 bytes, or 11 and options).
    CancelOrder = b'X', 11, Optional [28], "Cancel Order" {
        1 4 user_ref_num: U32, "the order";
        5 4 quantity: U32, "new intended **total** size; 0 cancels everything left";
    }
    /// OUCH 5.0, Modify Order (`M`, 10 bytes, or 12 and options).
    ModifyOrder = b'M', 12, Optional [25 26 28], "Modify Order" {
        1 4 user_ref_num: U32, "the order";
        5 1 side: u8 = b"BSTE", "new side, changes only among S, T and E";
        6 4 quantity: U32, "new intended **total** size; 0 cancels";
    }
    /// OUCH 5.0, Mass Cancel (`C`, 19 bytes and options).
    MassCancel = b'C', 19, Required [24 27 28], "Mass Cancel" {
        1 4 user_ref_num: U32, "number of the request: consumes one";
        5 4 firm: Text<4>, "firm, upper case";
        9 8 symbol: Symbol, "symbol, spaces for all";
    }
    /// OUCH 5.0, Disable Order Entry (`D`, 11 bytes and options).
    DisableOrderEntry = b'D', 11, Required [28], "Disable Order Entry" {
        1 4 user_ref_num: U32, "number of the request: consumes one";
        5 4 firm: Text<4>, "firm, upper case";
    }
    /// OUCH 5.0, Enable Order Entry (`E`, 11 bytes and options).
    EnableOrderEntry = b'E', 11, Required [28], "Enable Order Entry" {
        1 4 user_ref_num: U32, "number of the request: consumes one";
        5 4 firm: Text<4>, "firm, upper case";
    }
    /// OUCH 5.0, Account Query (`Q`, 1 byte, or 3 and options).
    AccountQuery = b'Q', 3, Optional [28], "Account Query" {}
    }
}

direction! {
    /// A message of the venue.
    Outbound {
    /// OUCH 5.0, System Event (`S`, 10 bytes).
    SystemEvent = b'S', 10, Never [], "System Event" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 1 event_code: u8, "S start of day, E end of day";
    }
    /// OUCH 5.0, Order Accepted (`A`, 64 bytes and options).
    OrderAccepted = b'A', 64, Required [2 3 4 5 6 7 9 10 11 12 13 14 15 16 17 18 24 25 28 29 30], "Order Accepted" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 4 user_ref_num: U32, "the order";
        13 1 side: u8 = b"BSTE", "side";
        14 4 quantity: U32, "accepted shares";
        18 8 symbol: Symbol, "symbol";
        26 8 price: OuchPrice, "accepted price, may be better than entered";
        34 1 time_in_force: u8, "accepted time in force";
        35 1 display: u8, "Y, N, A, or Z for a displayed order hidden to comply";
        36 8 order_ref: U64, "the venue's reference, that of ITCH";
        44 1 capacity: u8, "capacity";
        45 1 iso_eligibility: u8, "intermarket sweep";
        46 1 cross_type: u8, "cross type";
        47 1 order_state: u8 = b"LD", "L live, D accepted and cancelled at once";
        48 14 clordid: Text<14>, "the client's own identifier";
    }
    /// OUCH 5.0, Order Replaced (`U`, 68 bytes and options).
    OrderReplaced = b'U', 68, Required [2 3 5 6 12 15 16 17 18 28 29 30], "Order Replaced" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 4 orig_user_ref_num: U32, "the order that was replaced";
        13 4 user_ref_num: U32, "the replacement";
        17 1 side: u8 = b"BSTE", "side";
        18 4 quantity: U32, "shares **outstanding** now";
        22 8 symbol: Symbol, "symbol";
        30 8 price: OuchPrice, "accepted price";
        38 1 time_in_force: u8, "accepted time in force";
        39 1 display: u8, "Y, N, A or Z";
        40 8 order_ref: U64, "the new reference";
        48 1 capacity: u8, "capacity";
        49 1 iso_eligibility: u8, "intermarket sweep";
        50 1 cross_type: u8, "cross type";
        51 1 order_state: u8 = b"LD", "L live, D dead";
        52 14 clordid: Text<14>, "identifier of the replacement";
    }
    /// OUCH 5.0, Order Canceled (`C`, 18 bytes, or 20 and options): shares left the order.
    OrderCanceled = b'C', 20, Conditional [28], "Order Canceled" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 4 user_ref_num: U32, "the order";
        13 4 quantity: U32, "shares taken off **by this event**";
        17 1 reason: u8, "reason, see `CancelReason`";
    }
    /// OUCH 5.0, AIQ Canceled (`D`, 32 bytes, or 34 and options): shares left the order to prevent a self-match.
    AiqCanceled = b'D', 34, Conditional [28], "AIQ Canceled" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 4 user_ref_num: U32, "the order";
        13 4 decrement_shares: U32, "shares taken off by this event";
        17 1 reason: u8, "always Q";
        18 4 prevented_quantity: U32, "shares that would have traded";
        22 8 execution_price: OuchPrice, "price at which they would have";
        30 1 liquidity_flag: u8, "flag that the execution would have had";
        31 1 aiq_strategy: u8, "strategy of the cancelled order";
    }
    /// OUCH 5.0, Order Executed (`E`, 36 bytes and options).
    OrderExecuted = b'E', 36, Lenient [28], "Order Executed" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 4 user_ref_num: U32, "the order";
        13 4 quantity: U32, "shares executed **by this event**";
        17 8 price: OuchPrice, "price of the execution";
        25 1 liquidity_flag: u8, "A added, R removed, and others: unknown ones are kept";
        26 8 match_number: U64, "number of the execution, that of ITCH";
    }
    /// OUCH 5.0, Broken Trade (`B`, 36 bytes, or 38 and options).
    BrokenTrade = b'B', 38, Conditional [28], "Broken Trade" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 4 user_ref_num: U32, "the order";
        13 8 match_number: U64, "number of an earlier execution";
        21 1 reason: u8, "E erroneous, C consent, S supervisory, X external";
        22 14 clordid: Text<14>, "the client's own identifier";
    }
    /// OUCH 5.0, Rejected (`J`, 29 bytes, or 31 and options).
    Rejected = b'J', 31, Conditional [28], "Rejected" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 4 user_ref_num: U32, "number of the refused message: consumed";
        13 2 reason: U16, "reason, see `RejectReason`";
        15 14 clordid: Text<14>, "the client's own identifier";
    }
    /// OUCH 5.0, Cancel Pending (`P`, 13 bytes, or 15 and options): will be cancelled after the cross.
    CancelPending = b'P', 15, Conditional [28], "Cancel Pending" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 4 user_ref_num: U32, "the order";
    }
    /// OUCH 5.0, Cancel Reject (`I`, 13 bytes, or 15 and options): a partial cancel was refused.
    CancelReject = b'I', 15, Conditional [28], "Cancel Reject" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 4 user_ref_num: U32, "the order";
    }
    /// OUCH 5.0, Order Priority Update (`T`, 30 bytes, or 32 and options).
    OrderPriorityUpdate = b'T', 32, Conditional [28], "Order Priority Update" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 4 user_ref_num: U32, "the order";
        13 8 price: OuchPrice, "price";
        21 1 display: u8, "Y, N, A or Z";
        22 8 order_ref: U64, "the **new** reference";
    }
    /// OUCH 5.0, Order Modified (`M`, 18 bytes, or 20 and options).
    OrderModified = b'M', 20, Conditional [25 26 28], "Order Modified" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 4 user_ref_num: U32, "the order";
        13 1 side: u8 = b"BSTE", "new side";
        14 4 quantity: U32, "shares outstanding now";
    }
    /// OUCH 5.0, Order Restated (`R`, 16 bytes and options).
    OrderRestated = b'R', 16, Required [1 22 23 28], "Order Restated" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 4 user_ref_num: U32, "the order";
        13 1 reason: u8, "R display of a reserve order was refreshed, P displayed price changed";
    }
    /// OUCH 5.0, Mass Cancel Response (`X`, 27 bytes and options).
    MassCancelResponse = b'X', 27, Required [24 27 28], "Mass Cancel Response" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 4 user_ref_num: U32, "number of the request";
        13 4 firm: Text<4>, "firm";
        17 8 symbol: Symbol, "symbol, spaces for all";
    }
    /// OUCH 5.0, Disable Order Entry Response (`G`, 19 bytes and options).
    DisableResponse = b'G', 19, Required [28], "Disable Order Entry Response" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 4 user_ref_num: U32, "number of the request";
        13 4 firm: Text<4>, "firm";
    }
    /// OUCH 5.0, Enable Order Entry Response (`K`, 19 bytes and options).
    EnableResponse = b'K', 19, Required [28], "Enable Order Entry Response" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 4 user_ref_num: U32, "number of the request";
        13 4 firm: Text<4>, "firm";
    }
    /// OUCH 5.0, Account Query Response (`Q`, 13 bytes, or 15 and options).
    AccountQueryResponse = b'Q', 15, Conditional [28], "Account Query Response" {
        1 8 timestamp: U64, "nanoseconds since midnight US Eastern time";
        9 4 next_user_ref_num: U32, "the next free number";
    }
    }
}

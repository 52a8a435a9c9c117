//! The 23 messages of ITCH 5.0 as views over bytes: one struct per message, one table of them all. The same structs
//! read bytes in place and build messages. Field offsets, lengths and meanings: ITCH 5.0, revision of 2026-02-19.
//!
//! Integers are big-endian and unsigned; text is ASCII, left-justified, padded with spaces. A message carries no
//! length: its carrier gives one, and the type fixes what it must be.

use peregrine_types::Symbol;
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::fields::{Price4, Price8, U48};

/// Bytes that every message begins with: type, locate, tracking number and timestamp.
pub const HEADER_LEN: usize = 11;
/// Length of the longest message (`I`).
pub const MESSAGE_LEN_MAX: usize = 50;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message `{}` is malformed at byte {offset}: {kind}", char::from(*.message_type))]
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
    /// The carrier's length is not the one that the type fixes.
    #[error("{actual} bytes long instead of {expected}")]
    WrongLength {
        /// The length that the type fixes.
        expected: usize,
        /// The length that the carrier gave.
        actual: usize,
    },
    /// A one-byte code that the engine acts on has a value that the specification does not know.
    #[error("illegal code 0x{0:02x}")]
    IllegalCode(u8),
    /// The timestamp is 24 hours or more.
    #[error("timestamp of {0} ns is not within a day")]
    TimestampTooLarge(u64),
    /// The locate is 0 in a message that is about one security.
    #[error("no stock locate in a message about one security")]
    LocateMissing,
    /// A price that the engine's unit cannot hold.
    #[error("price is too large")]
    PriceTooLarge,
    /// An order or a trade names another symbol than the one that the directory gave its locate.
    #[error("names another symbol than its locate {0} stands for")]
    SymbolMismatch(u16),
}

/// The bytes that every message begins with.
///
/// | offset | length | field | meaning |
/// |---|---|---|---|
/// | 0 | 1 | `message_type` | type code |
/// | 1 | 2 | `stock_locate` | the venue's number of the symbol today, 0 for none |
/// | 3 | 2 | `tracking_number` | internal to the venue |
/// | 5 | 6 | `timestamp` | nanoseconds since midnight US Eastern time |
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// Type code.
    pub message_type: u8,
    /// The venue's number of the symbol today, 0 for none.
    pub stock_locate: U16,
    /// Internal to the venue.
    pub tracking_number: U16,
    /// Nanoseconds since midnight US Eastern time.
    pub timestamp: U48,
}

macro_rules! messages {
    ($(
        $(#[$doc:meta])*
        $name:ident = $code:literal, $len:literal, $title:literal {
            $($offset:literal $field_len:literal $field:ident: $type:ty, $text:literal;)*
        }
    )*) => {
        $(
            $(#[$doc])*
            ///
            /// | offset | length | field | meaning |
            /// |---|---|---|---|
            #[doc = concat!("| 0 | 1 | `message_type` | `", stringify!($code), "` |")]
            /// | 1 | 2 | `stock_locate` | the venue's number of the symbol today, 0 for none |
            /// | 3 | 2 | `tracking_number` | internal to the venue |
            /// | 5 | 6 | `timestamp` | nanoseconds since midnight US Eastern time |
            $(#[doc = concat!("| ", $offset, " | ", $field_len, " | `", stringify!($field), "` | ", $text, " |")])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
            #[repr(C)]
            pub struct $name {
                /// Type code.
                pub message_type: u8,
                /// The venue's number of the symbol today, 0 for none.
                pub stock_locate: U16,
                /// Internal to the venue.
                pub tracking_number: U16,
                /// Nanoseconds since midnight US Eastern time.
                pub timestamp: U48,
                $(#[doc = concat!($text, ".")] pub $field: $type,)*
            }

            const _: () = {
                assert!(size_of::<$name>() == $len && $len <= MESSAGE_LEN_MAX);
                $(assert!(core::mem::offset_of!($name, $field) == $offset && size_of::<$type>() == $field_len);)*
            };

            impl $name {
                /// The type code of the message.
                pub const TYPE: u8 = $code;
                /// The length of the message in bytes.
                pub const LEN: usize = $len;
                /// Name, offset and length of every field behind the header.
                pub const FIELDS: &[(&str, usize, usize)] = &[$((stringify!($field), $offset, $field_len),)*];

                /// A message to fill in: `stock_locate`, `timestamp` (nanoseconds since midnight US Eastern time, at
                /// most 2⁴⁸ − 1) and the type code are set, every byte behind the header is zero.
                #[must_use]
                pub fn new(stock_locate: u16, timestamp: u64) -> Self {
                    Self {
                        message_type: Self::TYPE,
                        stock_locate: U16::new(stock_locate),
                        timestamp: U48::new(timestamp),
                        ..zerocopy::FromZeros::new_zeroed()
                    }
                }
            }
        )*

        /// The type of a message, as an index into tables by type.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum MessageType {
            $(#[doc = concat!("[`", stringify!($name), "`], `", stringify!($code), "`.")] $name,)*
        }

        impl MessageType {
            /// Every type, in the order of the specification.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The type of a type code, `None` where the specification has none.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The type code.
            #[must_use]
            pub const fn code(self) -> u8 {
                match self { $(Self::$name => $code,)* }
            }

            /// The length of a message of this type in bytes.
            #[must_use]
            pub const fn message_len(self) -> usize {
                match self { $(Self::$name => $len,)* }
            }

            /// The name in the specification.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }

        /// One message, viewed in place.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Message<'a> {
            $(#[doc = concat!($title, ".")] $name(&'a $name),)*
            /// A type that the specification does not know: to be skipped by the carrier's length, and counted. The
            /// venue adds types without a version change.
            Unknown(&'a [u8]),
        }

        impl<'a> Message<'a> {
            /// The bytes of the message.
            #[must_use]
            pub fn as_bytes(&self) -> &'a [u8] {
                match self {
                    $(Self::$name(message) => message.as_bytes(),)*
                    Self::Unknown(bytes) => bytes,
                }
            }

            /// The type, `None` for an unknown one.
            #[must_use]
            pub const fn message_type(&self) -> Option<MessageType> {
                match self {
                    $(Self::$name(_) => Some(MessageType::$name),)*
                    Self::Unknown(_) => None,
                }
            }

            /// The bytes that every message begins with, `None` for an unknown type shorter than them.
            #[must_use]
            pub fn header(&self) -> Option<&'a Header> {
                Header::ref_from_prefix(self.as_bytes()).ok().map(|(header, _)| header)
            }
        }

        /// Views `bytes`, the whole message as its carrier delimits it. Codes and values are not looked at.
        ///
        /// # Errors
        /// [`ParseErrorKind::Empty`] for no byte at all; [`ParseErrorKind::WrongLength`] for a known type of another
        /// length. An unknown type is no error but [`Message::Unknown`].
        #[inline]
        pub fn parse(bytes: &[u8]) -> Result<Message<'_>, ParseError> {
            match bytes.first() {
                None => Err(ParseError { message_type: 0, offset: 0, kind: ParseErrorKind::Empty }),
                $(Some(&$code) => match $name::ref_from_bytes(bytes) {
                    Ok(message) => Ok(Message::$name(message)),
                    Err(_) => Err(wrong_length($code, $len, bytes.len())),
                },)*
                Some(_) => Ok(Message::Unknown(bytes)),
            }
        }
    };
}

messages! {
    /// ITCH 5.0, System Event (`S`, 12 bytes): a step of the session.
    SystemEvent = b'S', 12, "System Event" {
        11 1 event_code: u8, "O, S, Q, M, E, C: start of messages, system hours, market hours; their ends in reverse";
    }
    /// ITCH 5.0, Stock Directory (`R`, 39 bytes): announces a symbol, its locate code and its properties.
    StockDirectory = b'R', 39, "Stock Directory" {
        11 8 stock: Symbol, "symbol";
        19 1 market_category: u8, "Q, G, S: Nasdaq tiers; N, A, P, M, Z, V: other markets; space: not available";
        20 1 financial_status: u8, "N normal, D deficient, E delinquent, Q bankrupt, S suspended, and combinations";
        21 4 round_lot_size: U32, "shares in a round lot: 100, 40, 10 or 1";
        25 1 round_lots_only: u8, "Y: only round lots are accepted; N: any size";
        26 1 issue_classification: u8, "class of the security: A, B, C, F, I, L, N, O, P, Q, R, S, T, U, V or W";
        27 2 issue_subtype: [u8; 2], "sub-type of the security, one or two letters";
        29 1 authenticity: u8, "P production, T test issue";
        30 1 short_sale_threshold: u8, "Y restricted under SEC rule 203(b)(3), N not, space: not available";
        31 1 ipo_flag: u8, "Y new IPO, N not, Z other new listing, space: not available";
        32 1 luld_tier: u8, "1, 2, space: not available";
        33 1 etp_flag: u8, "Y exchange-traded product, N not, space: not available";
        34 4 etp_leverage_factor: U32, "whole leverage factor, rounded down";
        38 1 inverse_indicator: u8, "Y inverse product, N not";
    }
    /// ITCH 5.0, Stock Trading Action (`H`, 25 bytes): the trading state of a symbol on all US markets.
    StockTradingAction = b'H', 25, "Stock Trading Action" {
        11 8 stock: Symbol, "symbol";
        19 1 trading_state: u8, "H halted, P paused, Q quotation only, T trading";
        20 1 reserved: u8, "ignored; space in real data";
        21 4 reason: [u8; 4], "reason code, padded with spaces";
    }
    /// ITCH 5.0, Reg SHO Restriction (`Y`, 20 bytes): the short-sale price test of a symbol.
    RegShoRestriction = b'Y', 20, "Reg SHO Restriction" {
        11 8 stock: Symbol, "symbol";
        19 1 reg_sho_action: u8, "0 no price test, 1 in force after an intraday drop, 2 still in force";
    }
    /// ITCH 5.0, Market Participant Position (`L`, 26 bytes): the standing of a market maker in a symbol.
    MarketParticipantPosition = b'L', 26, "Market Participant Position" {
        11 4 mpid: [u8; 4], "market participant";
        15 8 stock: Symbol, "symbol";
        23 1 primary_market_maker: u8, "Y primary market maker, N not";
        24 1 market_maker_mode: u8, "N normal, P passive, S syndicate, R pre-syndicate, L penalty";
        25 1 participant_state: u8, "A active, E excused, W withdrawn, S suspended, D deleted";
    }
    /// ITCH 5.0, MWCB Decline Levels (`V`, 35 bytes): the three market-wide circuit-breaker levels, in index points.
    MwcbDeclineLevels = b'V', 35, "MWCB Decline Levels" {
        11 8 level1: Price8, "level 1";
        19 8 level2: Price8, "level 2";
        27 8 level3: Price8, "level 3";
    }
    /// ITCH 5.0, MWCB Status (`W`, 12 bytes): a market-wide circuit-breaker level was breached.
    MwcbStatus = b'W', 12, "MWCB Status" {
        11 1 breached_level: u8, "1, 2 or 3";
    }
    /// ITCH 5.0, IPO Quoting Period Update (`K`, 28 bytes): when and at which price an IPO is expected to be released.
    IpoQuotingPeriodUpdate = b'K', 28, "IPO Quoting Period Update" {
        11 8 stock: Symbol, "symbol";
        19 4 ipo_release_time: U32, "expected release, **seconds** since midnight; 0 when cancelled";
        23 1 ipo_qualifier: u8, "A anticipated time, C cancelled or postponed";
        24 4 ipo_price: Price4, "price of the IPO; 0 when cancelled";
    }
    /// ITCH 5.0, LULD Auction Collar (`J`, 35 bytes): the collar of a reopening auction after a limit-up-limit-down
    /// pause.
    LuldAuctionCollar = b'J', 35, "LULD Auction Collar" {
        11 8 stock: Symbol, "symbol";
        19 4 reference_price: Price4, "price that the collars were set from";
        23 4 upper_collar: Price4, "highest price of the reopening";
        27 4 lower_collar: Price4, "lowest price of the reopening";
        31 4 extension: U32, "how often the auction was extended so far";
    }
    /// ITCH 5.0, Operational Halt (`h`, 21 bytes): trading of a symbol stopped or resumed on one market only.
    OperationalHalt = b'h', 21, "Operational Halt" {
        11 8 stock: Symbol, "symbol";
        19 1 market_code: u8, "Q Nasdaq, B Nasdaq Texas, X PSX";
        20 1 action: u8, "H halted on that market, T resumed";
    }
    /// ITCH 5.0, Add Order, no MPID (`A`, 36 bytes): a displayed order without attribution joined the book.
    AddOrder = b'A', 36, "Add Order, no MPID" {
        11 8 order_ref: U64, "reference of the order, unique per day and market";
        19 1 side: u8, "B buy, S sell";
        20 4 shares: U32, "displayed shares";
        24 8 stock: Symbol, "symbol";
        32 4 price: Price4, "display price";
    }
    /// ITCH 5.0, Add Order with MPID (`F`, 40 bytes): a displayed order with attribution joined the book. The first
    /// 36 bytes are those of [`AddOrder`].
    AddOrderMpid = b'F', 40, "Add Order with MPID" {
        11 8 order_ref: U64, "reference of the order, unique per day and market";
        19 1 side: u8, "B buy, S sell";
        20 4 shares: U32, "displayed shares";
        24 8 stock: Symbol, "symbol";
        32 4 price: Price4, "display price";
        36 4 attribution: [u8; 4], "market participant that the order is attributed to";
    }
    /// ITCH 5.0, Order Executed (`E`, 31 bytes): a displayed order was executed, in whole or in part, at its display
    /// price.
    OrderExecuted = b'E', 31, "Order Executed" {
        11 8 order_ref: U64, "the resting order";
        19 4 executed_shares: U32, "shares of this execution";
        23 8 match_number: U64, "number of the execution";
    }
    /// ITCH 5.0, Order Executed with Price (`C`, 36 bytes): a displayed order was executed, in whole or in part, at
    /// another price than its own.
    OrderExecutedWithPrice = b'C', 36, "Order Executed with Price" {
        11 8 order_ref: U64, "the resting order";
        19 4 executed_shares: U32, "shares of this execution";
        23 8 match_number: U64, "number of the execution";
        31 1 printable: u8, "Y counts in the volume, N does not";
        32 4 execution_price: Price4, "price of the trade; the book changes at the display price";
    }
    /// ITCH 5.0, Order Cancel (`X`, 23 bytes): a displayed order lost part of its quantity and keeps its priority.
    OrderCancel = b'X', 23, "Order Cancel" {
        11 8 order_ref: U64, "the resting order";
        19 4 cancelled_shares: U32, "shares **removed**";
    }
    /// ITCH 5.0, Order Delete (`D`, 19 bytes): a displayed order left the book.
    OrderDelete = b'D', 19, "Order Delete" {
        11 8 order_ref: U64, "the order that left";
    }
    /// ITCH 5.0, Order Replace (`U`, 35 bytes): a displayed order was replaced by another one, which loses its
    /// priority.
    OrderReplace = b'U', 35, "Order Replace" {
        11 8 original_order_ref: U64, "the order that disappears";
        19 8 new_order_ref: U64, "the order that takes its place";
        27 4 shares: U32, "displayed shares of the new order";
        31 4 price: Price4, "display price of the new order";
    }
    /// ITCH 5.0, Trade, non-cross (`P`, 44 bytes): an execution against a hidden order; the displayed book is
    /// unchanged.
    TradeNonCross = b'P', 44, "Trade, non-cross" {
        11 8 order_ref: U64, "0 since 2010-12-06";
        19 1 side: u8, "B since 2014-07-14: says nothing about the aggressor";
        20 4 shares: U32, "shares traded";
        24 8 stock: Symbol, "symbol";
        32 4 price: Price4, "price of the trade";
        36 8 match_number: U64, "number of the execution";
    }
    /// ITCH 5.0, Cross Trade (`Q`, 40 bytes): the bulk print of a cross; the displayed book is unchanged.
    CrossTrade = b'Q', 40, "Cross Trade" {
        11 8 shares: U64, "shares matched in the cross, may be 0";
        19 8 stock: Symbol, "symbol";
        27 4 cross_price: Price4, "price of the cross";
        31 8 match_number: U64, "number of the execution";
        39 1 cross_type: u8, "O opening, C closing, H halt or IPO";
    }
    /// ITCH 5.0, Broken Trade (`B`, 19 bytes): an earlier execution was broken; final.
    BrokenTrade = b'B', 19, "Broken Trade" {
        11 8 match_number: U64, "number of the execution that was broken";
    }
    /// ITCH 5.0, Net Order Imbalance Indicator (`I`, 50 bytes): paired and imbalance shares and indicative prices of
    /// an auction (NOII).
    NetOrderImbalance = b'I', 50, "Net Order Imbalance Indicator" {
        11 8 paired_shares: U64, "shares paired at the reference price";
        19 8 imbalance_shares: U64, "shares not paired";
        27 1 imbalance_direction: u8, "B buy, S sell, N none, O too few orders, P paused";
        28 8 stock: Symbol, "symbol";
        36 4 far_price: Price4, "clearing price of cross orders alone; 0 when not computed";
        40 4 near_price: Price4, "clearing price of cross and continuous orders; 0 when not computed";
        44 4 current_reference_price: Price4, "price at which the imbalance is computed";
        48 1 cross_type: u8, "O opening, C closing, H halt or IPO, A extended close";
        49 1 price_variation: u8, "L, 1–9, A, B, C: distance of near and reference price; space: not computable";
    }
    /// ITCH 5.0, Retail Price Improvement Indicator (`N`, 20 bytes): retail interest in a symbol.
    RetailPriceImprovement = b'N', 20, "Retail Price Improvement Indicator" {
        11 8 stock: Symbol, "symbol";
        19 1 interest_flag: u8, "B buy, S sell, A both, N none";
    }
    /// ITCH 5.0, Direct Listing with Capital Raise (`O`, 48 bytes): allowable prices of a direct listing with a
    /// capital raise (DLCR).
    DirectListingWithCapitalRaise = b'O', 48, "Direct Listing with Capital Raise" {
        11 8 stock: Symbol, "symbol";
        19 1 open_eligibility: u8, "Y eligible for release, N not";
        20 4 min_allowable_price: Price4, "20 % below the registered low";
        24 4 max_allowable_price: Price4, "80 % above the registered high";
        28 4 near_execution_price: Price4, "reference price when the volatility test passed";
        32 8 near_execution_time: U64, "when it passed, ns since midnight (the unit is not stated by the venue)";
        40 4 lower_collar: Price4, "10 % below the near price";
        44 4 upper_collar: Price4, "10 % above the near price";
    }
}

impl MessageType {
    /// How many types there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The type as an index below [`MessageType::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cold]
pub(super) const fn wrong_length(message_type: u8, expected: usize, actual: usize) -> ParseError {
    let offset = if actual < expected { actual } else { expected };
    ParseError { message_type, offset, kind: ParseErrorKind::WrongLength { expected, actual } }
}

//! The blocks of the MDP 3.0 messages that are read, as views over bytes: one struct per block, one table of them all. The
//! same structs read bytes in place and build messages. Offsets, lengths and meanings: schema `mktdata` 1, version 13.

use zerocopy::byteorder::little_endian::{I16, I32, I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// No price.
pub const NULL_PRICE: i64 = i64::MAX;
/// No quantity.
pub const NULL_I32: i32 = i32::MAX;
/// No number.
pub const NULL_U64: u64 = u64::MAX;
/// No reference to an entry.
pub const NULL_U8: u8 = u8::MAX;

/// `MatchEventIndicator`: the last message of the event that is about trades.
pub const LAST_TRADE: u8 = 1 << 0;
/// `MatchEventIndicator`: the last message of the event.
pub const END_OF_EVENT: u8 = 1 << 7;

/// Numbers of the templates that are acted on.
pub mod template {
    /// `ChannelReset`.
    pub const CHANNEL_RESET: u16 = 4;
    /// `AdminHeartbeat`: no block at all.
    pub const HEARTBEAT: u16 = 12;
    /// `SecurityStatus`.
    pub const SECURITY_STATUS: u16 = 30;
    /// `MDIncrementalRefreshBook`.
    pub const BOOK: u16 = 46;
    /// `MDIncrementalRefreshOrderBook`.
    pub const ORDER_BOOK: u16 = 47;
    /// `MDIncrementalRefreshTradeSummary`.
    pub const TRADE_SUMMARY: u16 = 48;
    /// `SnapshotFullRefresh`.
    pub const SNAPSHOT: u16 = 52;
    /// `SnapshotFullRefreshOrderBook`.
    pub const ORDER_SNAPSHOT: u16 = 53;
    /// `MDInstrumentDefinitionFuture`.
    pub const FUTURE: u16 = 54;
    /// `MDIncrementalRefreshBookLongQty`.
    pub const BOOK_LONG: u16 = 64;
    /// `MDIncrementalRefreshTradeSummaryLongQty`.
    pub const TRADE_SUMMARY_LONG: u16 = 65;
    /// `SnapshotFullRefreshLongQty`.
    pub const SNAPSHOT_LONG: u16 = 69;

    /// Every template of schema versions 9 to 13 that goes over UDP, by number.
    pub const TITLES: &[(u16, &str)] = &[
        (CHANNEL_RESET, "Channel reset"),
        (HEARTBEAT, "Heartbeat"),
        (15, "Login"),
        (16, "Logout"),
        (SECURITY_STATUS, "Security status"),
        (37, "Volume"),
        (39, "Quote request"),
        (BOOK, "Book"),
        (ORDER_BOOK, "Order book"),
        (TRADE_SUMMARY, "Trade summary"),
        (49, "Daily statistics"),
        (50, "Limits and banding"),
        (51, "Session statistics"),
        (SNAPSHOT, "Snapshot of levels"),
        (ORDER_SNAPSHOT, "Snapshot of orders"),
        (FUTURE, "Definition of a future"),
        (55, "Definition of an option"),
        (56, "Definition of a spread"),
        (57, "Definition of a fixed income"),
        (58, "Definition of a repo"),
        (59, "Snapshot of top orders"),
        (60, "Workup status"),
        (62, "Collateral value"),
        (63, "Definition of a currency pair"),
        (BOOK_LONG, "Book, long quantities"),
        (TRADE_SUMMARY_LONG, "Trade summary, long quantities"),
        (66, "Volume, long quantities"),
        (67, "Session statistics, long quantities"),
        (SNAPSHOT_LONG, "Snapshot of levels, long quantities"),
    ];
}

macro_rules! blocks {
    ($(
        $(#[$doc:meta])*
        $name:ident = $layout:literal, $len:literal {
            $($offset:literal $field_len:literal $field:ident: $type:ty, $text:literal;)*
        }
    )*) => {
        $(
            $(#[$doc])*
            ///
            /// | offset | length | field | meaning |
            /// |---|---|---|---|
            $(#[doc = concat!("| ", $offset, " | ", $field_len, " | `", stringify!($field), "` | ", $text, " |")])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
            #[repr(C)]
            pub struct $name {
                $(#[doc = concat!($text, ".")] pub $field: $type,)*
            }

            const _: () = {
                assert!(size_of::<$name>() == $len);
                $(assert!(core::mem::offset_of!($name, $field) == $offset && size_of::<$type>() == $field_len);)*
            };
        )*

        /// Every block: its layout's name in the sheet of the protocol, its length, and name, offset and length of its
        /// fields.
        pub const BLOCKS: &[(&str, usize, &[(&str, usize, usize)])] =
            &[$(($layout, $len, &[$((stringify!($field), $offset, $field_len),)*]),)*];
    };
}

blocks! {
    /// Root of template 4: every book of the channel is empty.
    ChannelResetRoot = "cme.4.root", 9 {
        0 8 transact_time: U64, "start of the event, UTC nanoseconds since 1970";
        8 1 match_event_indicator: u8, "bits, see `END_OF_EVENT`";
    }

    /// Root of template 30.
    SecurityStatusRoot = "cme.30.root", 30 {
        0 8 transact_time: U64, "start of the event, UTC nanoseconds since 1970";
        8 6 security_group: [u8; 6], "group of products";
        14 6 asset: [u8; 6], "product";
        20 4 security_id: I32, "instrument; none: the whole group";
        24 2 trade_date: U16, "days since 1970";
        26 1 match_event_indicator: u8, "bits, see `END_OF_EVENT`";
        27 1 security_trading_status: u8, "2 halt, 4 close, 17 ready to trade, 21 pre-open, 24 pre-cross, 25 cross, 26 post-close, 103 no change";
        28 1 halt_reason: u8, "0 schedule, 1 surveillance, 2 market event, 3 activation, 4 expiration, 5 unknown, 6 recovery, 7 roll of the date";
        29 1 security_trading_event: u8, "0 none, 1 no cancel, 4 statistics reset, 5 implied on, 6 implied off";
    }

    /// Root of templates 46, 47, 48, 64 and 65.
    RefreshRoot = "cme.46.root", 11 {
        0 8 transact_time: U64, "start of the event, UTC nanoseconds since 1970";
        8 1 match_event_indicator: u8, "bits, see `LAST_TRADE` and `END_OF_EVENT`";
        9 2 pad: [u8; 2], "unused";
    }

    /// A level of template 46.
    BookEntry = "cme.46.NoMDEntries", 32 {
        0 8 md_entry_px: I64, "price in 10⁻⁹ before the display factor";
        8 4 md_entry_size: I32, "quantity of the level";
        12 4 security_id: I32, "instrument";
        16 4 rpt_seq: U32, "number of the entry for its instrument";
        20 4 number_of_orders: I32, "orders of the level; none where it is implied";
        24 1 md_price_level: u8, "1 is the best";
        25 1 md_update_action: u8, "0 new, 1 change, 2 delete, 3 delete all, 4 delete from the best, 5 overlay";
        26 1 md_entry_type: u8, "`0` bid, `1` offer, `E` implied bid, `F` implied offer, `J` the book is empty";
        27 4 tradeable_size: I32, "since version 10";
        31 1 pad: u8, "unused";
    }

    /// An order of template 46 or 64, behind the levels.
    BookOrder = "cme.46.NoOrderIDEntries", 24 {
        0 8 order_id: U64, "the exchange's number of the order";
        8 8 md_order_priority: U64, "lower is earlier in the queue";
        16 4 md_display_qty: I32, "displayed quantity";
        20 1 reference_id: u8, "number of its level among the entries, from 1";
        21 1 order_update_action: u8, "0 new, 1 update, 2 delete";
        22 2 pad: [u8; 2], "unused";
    }

    /// An order of template 47.
    OrderEntry = "cme.47.NoMDEntries", 40 {
        0 8 order_id: U64, "the exchange's number of the order";
        8 8 md_order_priority: U64, "lower is earlier in the queue";
        16 8 md_entry_px: I64, "price in 10⁻⁹ before the display factor";
        24 4 md_display_qty: I32, "displayed quantity";
        28 4 security_id: I32, "instrument";
        32 1 md_update_action: u8, "0 new, 1 change, 2 delete";
        33 1 md_entry_type: u8, "`0` bid, `1` offer, `J` the book is empty";
        34 6 pad: [u8; 6], "unused";
    }

    /// A trade of template 48.
    TradeEntry = "cme.48.NoMDEntries", 32 {
        0 8 md_entry_px: I64, "price in 10⁻⁹ before the display factor";
        8 4 md_entry_size: I32, "quantity that was traded";
        12 4 security_id: I32, "instrument";
        16 4 rpt_seq: U32, "number of the entry for its instrument";
        20 4 number_of_orders: I32, "how many of the orders behind belong to it";
        24 1 aggressor_side: u8, "0 none, 1 buy, 2 sell";
        25 1 md_update_action: u8, "0 new, 1 change, 2 delete";
        26 4 md_trade_entry_id: U32, "number of the trade";
        30 2 pad: [u8; 2], "unused";
    }

    /// An order of template 48 or 65: of a trade with an aggressor its order comes first.
    TradeOrder = "cme.48.NoOrderIDEntries", 16 {
        0 8 order_id: U64, "the exchange's number of the order";
        8 4 last_qty: I32, "what of it was traded";
        12 4 pad: [u8; 4], "unused";
    }

    /// A level of template 64.
    BookEntryLong = "cme.64.NoMDEntries", 32 {
        0 8 md_entry_px: I64, "price in 10⁻⁹ before the display factor";
        8 8 md_entry_size: U64, "quantity of the level";
        16 4 security_id: I32, "instrument";
        20 4 rpt_seq: U32, "number of the entry for its instrument";
        24 4 number_of_orders: I32, "orders of the level";
        28 1 md_price_level: u8, "1 is the best";
        29 1 md_update_action: u8, "0 new, 1 change, 2 delete, 3 delete all, 4 delete from the best, 5 overlay";
        30 1 md_entry_type: u8, "`0` bid, `1` offer, `E` implied bid, `F` implied offer, `J` the book is empty";
        31 1 pad: u8, "unused";
    }

    /// A trade of template 65.
    TradeEntryLong = "cme.65.NoMDEntries", 40 {
        0 8 md_entry_px: I64, "price in 10⁻⁹ before the display factor";
        8 8 md_entry_size: U64, "quantity that was traded";
        16 4 security_id: I32, "instrument";
        20 4 rpt_seq: U32, "number of the entry for its instrument";
        24 4 number_of_orders: I32, "how many of the orders behind belong to it";
        28 4 md_trade_entry_id: U32, "number of the trade";
        32 1 aggressor_side: u8, "0 none, 1 buy, 2 sell";
        33 1 md_update_action: u8, "0 new, 1 change, 2 delete";
        34 6 pad: [u8; 6], "unused";
    }

    /// Root of templates 52 and 69.
    SnapshotRoot = "cme.52.root", 59 {
        0 4 last_msg_seq_num_processed: U32, "the last packet of the incremental feed that it contains";
        4 4 tot_num_reports: U32, "instruments of the loop";
        8 4 security_id: I32, "instrument";
        12 4 rpt_seq: U32, "the last entry of the instrument that it contains";
        16 8 transact_time: U64, "start of the event, UTC nanoseconds since 1970";
        24 8 last_update_time: U64, "of the instrument, UTC nanoseconds since 1970";
        32 2 trade_date: U16, "days since 1970";
        34 1 md_security_trading_status: u8, "as in template 30";
        35 8 high_limit_price: I64, "highest price that is taken";
        43 8 low_limit_price: I64, "lowest price that is taken";
        51 8 max_price_variation: I64, "band around the last price";
    }

    /// An entry of template 52: a level of the book, or a statistic.
    SnapshotEntry = "cme.52.NoMDEntries", 22 {
        0 8 md_entry_px: I64, "price in 10⁻⁹ before the display factor";
        8 4 md_entry_size: I32, "quantity of the level";
        12 4 number_of_orders: I32, "orders of the level";
        16 1 md_price_level: i8, "1 is the best";
        17 2 trading_reference_date: U16, "days since 1970";
        19 1 open_close_settl_flag: u8, "of statistics";
        20 1 settl_price_type: u8, "of statistics";
        21 1 md_entry_type: u8, "as in template 46, or a statistic";
    }

    /// An entry of template 69: a level of the book, or a statistic.
    SnapshotEntryLong = "cme.69.NoMDEntries", 23 {
        0 8 md_entry_px: I64, "price in 10⁻⁹ before the display factor";
        8 8 md_entry_size: U64, "quantity of the level";
        16 4 number_of_orders: I32, "orders of the level";
        20 1 md_price_level: u8, "1 is the best";
        21 1 open_close_settl_flag: u8, "of statistics";
        22 1 md_entry_type: u8, "as in template 46, or a statistic";
    }

    /// Root of template 53.
    OrderSnapshotRoot = "cme.53.root", 28 {
        0 4 last_msg_seq_num_processed: U32, "the last packet of the incremental feed that it contains";
        4 4 tot_num_reports: U32, "instruments of the loop";
        8 4 security_id: I32, "instrument";
        12 4 no_chunks: U32, "messages of the instrument";
        16 4 current_chunk: U32, "which of them, from 1";
        20 8 transact_time: U64, "start of the event, UTC nanoseconds since 1970";
    }

    /// An order of template 53.
    OrderSnapshotEntry = "cme.53.NoMDEntries", 29 {
        0 8 order_id: U64, "the exchange's number of the order";
        8 8 md_order_priority: U64, "lower is earlier in the queue";
        16 8 md_entry_px: I64, "price in 10⁻⁹ before the display factor";
        24 4 md_display_qty: I32, "displayed quantity";
        28 1 md_entry_type: u8, "`0` bid, `1` offer";
    }

    /// Root of template 54, a future. The other definitions (55 option, 56 spread, 57 fixed income, 58 repo, 63 currencies)
    /// are as this one up to the instrument's number.
    DefinitionRoot = "cme.54.root", 224 {
        0 1 match_event_indicator: u8, "bits, see `END_OF_EVENT`";
        1 4 tot_num_reports: U32, "instruments of the loop";
        5 1 security_update_action: u8, "`A` added, `D` deleted, `M` modified";
        6 8 last_update_time: U64, "UTC nanoseconds since 1970";
        14 1 md_security_trading_status: u8, "as in template 30";
        15 2 appl_id: I16, "channel";
        17 1 market_segment_id: u8, "segment of the market";
        18 1 underlying_product: u8, "kind of product";
        19 4 security_exchange: [u8; 4], "exchange";
        23 6 security_group: [u8; 6], "group of products";
        29 6 asset: [u8; 6], "product";
        35 20 symbol: [u8; 20], "name of the instrument, NUL-padded";
        55 4 security_id: I32, "instrument";
        59 6 security_type: [u8; 6], "kind of instrument";
        65 6 cfi_code: [u8; 6], "ISO 10962";
        71 5 maturity_month_year: [u8; 5], "year, month, day, week";
        76 3 currency: [u8; 3], "of prices";
        79 3 settl_currency: [u8; 3], "of settlement";
        82 1 match_algorithm: u8, "how orders are matched";
        83 4 min_trade_vol: U32, "smallest order";
        87 4 max_trade_vol: U32, "largest order";
        91 8 min_price_increment: I64, "tick in 10⁻⁹ before the display factor";
        99 8 display_factor: I64, "by which prices are multiplied, in 10⁻⁹";
        107 1 main_fraction: u8, "of displayed prices";
        108 1 sub_fraction: u8, "of displayed prices";
        109 1 price_display_format: u8, "of displayed prices";
        110 30 unit_of_measure: [u8; 30], "of the contract";
        140 8 unit_of_measure_qty: I64, "size of the contract in 10⁻⁹";
        148 8 trading_reference_price: I64, "reference price";
        156 1 settl_price_type: u8, "of the reference price";
        157 4 open_interest_qty: I32, "open contracts";
        161 4 cleared_volume: I32, "cleared contracts";
        165 8 high_limit_price: I64, "highest price that is taken";
        173 8 low_limit_price: I64, "lowest price that is taken";
        181 8 max_price_variation: I64, "band around the last price";
        189 4 decay_quantity: I32, "of contracts that decay";
        193 2 decay_start_date: U16, "days since 1970";
        195 4 original_contract_size: I32, "of contracts that decay";
        199 4 contract_multiplier: I32, "deliveries of a contract";
        203 1 contract_multiplier_unit: i8, "unit of the multiplier";
        204 1 flow_schedule_type: i8, "schedule of deliveries";
        205 8 min_price_increment_amount: I64, "value of a tick in 10⁻⁹";
        213 1 user_defined_instrument: u8, "`Y` when a participant made it";
        214 2 trading_reference_date: U16, "days since 1970";
        216 8 instrument_guid: U64, "another number of the instrument";
    }

    /// A kind of feed of template 54.
    FeedTypeEntry = "cme.54.NoMDFeedTypes", 4 {
        0 3 md_feed_type: [u8; 3], "`GBX` real book, `GBI` implied book";
        3 1 market_depth: i8, "levels that are told of it";
    }
}

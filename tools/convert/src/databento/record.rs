//! What is read of each record: plain values, undefined ones as `None`. Layouts differ between versions for definitions and
//! statistics alone.

use core::ffi::c_char;

use dbn::{
    BidAskPair, FlagSet, ImbalanceMsg, InstrumentDefMsg, MboMsg, Mbp1Msg, Mbp10Msg, RecordHeader, RecordRef, StatMsg,
    StatusMsg, TradeMsg, UNDEF_ORDER_SIZE, UNDEF_PRICE, UNDEF_TIMESTAMP, v1, v2,
};
use peregrine_types::{EpochNanos, Side};

use crate::time::{Times, moment_ns};

/// What every record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) instrument: u32,
    pub(super) ts_event: Option<u64>,
    pub(super) ts_recv: Option<u64>,
    /// None for records that have no flags.
    pub(super) flags: FlagSet,
}

impl Head {
    fn of(header: &RecordHeader, ts_recv: u64, flags: FlagSet) -> Self {
        let time = |time: u64| (time != UNDEF_TIMESTAMP).then_some(time);
        Self { instrument: header.instrument_id, ts_event: time(header.ts_event), ts_recv: time(ts_recv), flags }
    }

    /// The plausible ones of its times.
    pub(super) fn times(&self) -> Times {
        let time = |time: Option<u64>| time.and_then(moment_ns);
        Times { recv: time(self.ts_recv), exch: time(self.ts_event) }
    }

    /// Its time by either clock, the receiver's first where `is_received`.
    pub(super) fn time(&self, is_received: bool) -> Option<EpochNanos> {
        let Times { recv, exch } = self.times();
        if is_received { recv.or(exch) } else { exch.or(recv) }
    }
}

/// One MBO record; prices in 10⁻⁹.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mbo {
    pub(super) head: Head,
    pub(super) order: u64,
    pub(super) price: Option<i64>,
    pub(super) size: Option<u32>,
    pub(super) action: u8,
    pub(super) side: Option<Side>,
}

/// The kinds of records that tell trades and levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Depth {
    /// `trades`: no levels.
    None,
    /// `mbp-1`, `tbbo`.
    One,
    /// `mbp-10`.
    Ten,
}

/// One price level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) side: Side,
    pub(super) price: i64,
    /// `None` where the quantity is undefined.
    pub(super) size: Option<u32>,
}

/// A record of levels, or of a trade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Market {
    pub(super) head: Head,
    pub(super) depth: Depth,
    pub(super) price: Option<i64>,
    pub(super) size: Option<u32>,
    pub(super) action: u8,
    pub(super) side: Option<Side>,
    /// Every level that is there, of both sides.
    pub(super) levels: Vec<Level>,
}

/// A change of an instrument's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) head: Head,
    pub(super) action: u16,
    pub(super) reason: u16,
    pub(super) is_trading: Option<bool>,
    pub(super) is_quoting: Option<bool>,
    pub(super) is_short_sell_restricted: Option<bool>,
}

/// An imbalance of an auction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Imbalance {
    pub(super) head: Head,
    pub(super) reference: Option<i64>,
    /// Clearing price of cross and continuous orders.
    pub(super) near: Option<i64>,
    /// Clearing price of cross orders alone.
    pub(super) far: Option<i64>,
    pub(super) paired: Option<u32>,
    pub(super) unpaired: Option<u32>,
    pub(super) auction_type: u8,
    pub(super) side: Option<Side>,
    pub(super) variation: u8,
}

/// What a definition says of an instrument that a session can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Definition {
    pub(super) instrument: u32,
    /// Its name; `None` where it is no text.
    pub(super) symbol: Option<String>,
    pub(super) round_lot: Option<u32>,
    /// The least step of its prices, in 10⁻⁹.
    pub(super) price_step: Option<i64>,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Mbo(Mbo),
    Market(Market),
    Status(Status),
    Imbalance(Imbalance),
    Definition(Definition),
    /// A statistic of this type.
    Statistic(u16),
    /// Of another kind, by its `rtype`.
    Other(u8),
    /// A record that is too short for what it says it is, by its `rtype`.
    Short(u8),
}

impl Entry {
    /// What a record of a file of `version` says.
    pub(super) fn of(record: &RecordRef<'_>, version: u8) -> Self {
        let known = if record.has::<MboMsg>() {
            record.try_get::<MboMsg>().map(mbo)
        } else if record.has::<Mbp10Msg>() {
            record.try_get::<Mbp10Msg>().map(mbp10)
        } else if record.has::<Mbp1Msg>() {
            record.try_get::<Mbp1Msg>().map(mbp1)
        } else if record.has::<TradeMsg>() {
            record.try_get::<TradeMsg>().map(trade)
        } else if record.has::<StatusMsg>() {
            record.try_get::<StatusMsg>().map(status)
        } else if record.has::<ImbalanceMsg>() {
            record.try_get::<ImbalanceMsg>().map(imbalance)
        } else if record.has::<InstrumentDefMsg>() {
            definition(record, version)
        } else if record.has::<StatMsg>() {
            statistic(record, version)
        } else {
            return Self::Other(record.header().rtype);
        };
        known.unwrap_or_else(|_| Self::Short(record.header().rtype))
    }
}

fn mbo(record: &MboMsg) -> Entry {
    Entry::Mbo(Mbo {
        head: Head::of(&record.hd, record.ts_recv, record.flags),
        order: record.order_id,
        price: price_of(record.price),
        size: size_of(record.size),
        action: letter_of(record.action),
        side: side_of(record.side),
    })
}

macro_rules! market {
    ($name:ident, $record:ty, $depth:ident, $levels:expr) => {
        fn $name(record: &$record) -> Entry {
            let levels: fn(&$record) -> Vec<Level> = $levels;
            Entry::Market(Market {
                head: Head::of(&record.hd, record.ts_recv, record.flags),
                depth: Depth::$depth,
                price: price_of(record.price),
                size: size_of(record.size),
                action: letter_of(record.action),
                side: side_of(record.side),
                levels: levels(record),
            })
        }
    };
}

market!(trade, TradeMsg, None, |_| Vec::new());
market!(mbp1, Mbp1Msg, One, |record| levels_of(&record.levels));
market!(mbp10, Mbp10Msg, Ten, |record| levels_of(&record.levels));

/// The levels that are there: those with a price.
fn levels_of(pairs: &[BidAskPair]) -> Vec<Level> {
    let mut levels = Vec::with_capacity(pairs.len().saturating_mul(2));
    for pair in pairs {
        for (side, price, size) in [(Side::Buy, pair.bid_px, pair.bid_sz), (Side::Sell, pair.ask_px, pair.ask_sz)] {
            levels.extend(price_of(price).map(|price| Level { side, price, size: size_of(size) }));
        }
    }
    levels
}

fn status(record: &StatusMsg) -> Entry {
    Entry::Status(Status {
        head: Head::of(&record.hd, record.ts_recv, FlagSet::empty()),
        action: record.action,
        reason: record.reason,
        is_trading: claim_of(record.is_trading),
        is_quoting: claim_of(record.is_quoting),
        is_short_sell_restricted: claim_of(record.is_short_sell_restricted),
    })
}

fn imbalance(record: &ImbalanceMsg) -> Entry {
    Entry::Imbalance(Imbalance {
        head: Head::of(&record.hd, record.ts_recv, FlagSet::empty()),
        reference: price_of(record.ref_price),
        near: price_of(record.cont_book_clr_price),
        far: price_of(record.auct_interest_clr_price),
        paired: size_of(record.paired_qty),
        unpaired: size_of(record.total_imbalance_qty),
        auction_type: letter_of(record.auction_type),
        side: side_of(record.side),
        variation: letter_of(record.significant_imbalance),
    })
}

macro_rules! definition_of {
    ($record:expr) => {
        Entry::Definition(Definition {
            instrument: $record.hd.instrument_id,
            symbol: $record.raw_symbol().ok().filter(|symbol| !symbol.is_empty()).map(str::to_owned),
            round_lot: u32::try_from($record.min_lot_size_round_lot)
                .ok()
                .filter(|lot| *lot > 0 && *lot != i32::MAX.unsigned_abs()),
            price_step: price_of($record.min_price_increment).filter(|step| *step > 0),
        })
    };
}

fn definition(record: &RecordRef<'_>, version: u8) -> dbn::Result<Entry> {
    Ok(match version {
        1 => definition_of!(record.try_get::<v1::InstrumentDefMsg>()?),
        2 => definition_of!(record.try_get::<v2::InstrumentDefMsg>()?),
        _ => definition_of!(record.try_get::<InstrumentDefMsg>()?),
    })
}

fn statistic(record: &RecordRef<'_>, version: u8) -> dbn::Result<Entry> {
    Ok(Entry::Statistic(match version {
        1 | 2 => record.try_get::<v1::StatMsg>()?.stat_type,
        _ => record.try_get::<StatMsg>()?.stat_type,
    }))
}

fn price_of(price: i64) -> Option<i64> {
    (price != UNDEF_PRICE).then_some(price)
}

fn size_of(size: u32) -> Option<u32> {
    (size != UNDEF_ORDER_SIZE).then_some(size)
}

/// A letter of C's, which is signed on some machines; 0 for what is none.
fn letter_of(letter: c_char) -> u8 {
    u8::try_from(letter).unwrap_or(0)
}

fn side_of(letter: c_char) -> Option<Side> {
    match letter_of(letter) {
        b'B' => Some(Side::Buy),
        b'A' => Some(Side::Sell),
        _ => None,
    }
}

/// Yes, no, or not known.
fn claim_of(letter: c_char) -> Option<bool> {
    match letter_of(letter) {
        b'Y' => Some(true),
        b'N' => Some(false),
        _ => None,
    }
}

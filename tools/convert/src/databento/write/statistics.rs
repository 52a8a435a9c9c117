//! Sessions as schema `statistics`.
//!
//! | ITCH 5.0 | stat_type | price | quantity |
//! |---|---|---|---|
//! | `Q`, opening cross | 1, opening | of the cross | of the cross |
//! | `Q`, closing cross | 11, close | of the cross | of the cross |
//! | `Q`, any other | 16, uncrossing | of the cross | of the cross |
//! | `B` of one of these | the same, deleted | as before | as before |
//! | the session's end | 4 and 5, low and high | of the printed trades | undefined |
//! | the session's end | 13, volume-weighted average | of the printed trades, cut to 10⁻⁹ | their volume |
//!
//! Printed trades are E, C where printable, P and Q, less those that are broken later (ITCH 5.0, volume). The last two rows are
//! what the trades of the session come to, and not written where messages are missing: nobody knows then. DBN's volume (6) is
//! of the day before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;

use dbn::{StatMsg, StatType, StatUpdateAction, UNDEF_PRICE, UNDEF_STAT_QUANTITY, rtype};
use peregrine_book::{Books, MarketBooks, TradePrint};
use peregrine_types::{EpochNanos, EventKind, MarketEvent, SymbolId};

use super::scan::Scan;
use super::{Out, nanos};
use crate::ConvertError;

/// What the printed trades of an instrument come to.
#[derive(Clone, Copy, Debug)]
struct Traded {
    low: i64,
    high: i64,
    volume: i64,
    /// Prices times quantities.
    notional: i128,
}

impl Traded {
    fn with(before: Option<Self>, price: i64, qty: i64) -> Self {
        let Self { low, high, volume, notional } =
            before.unwrap_or(Self { low: price, high: price, volume: 0, notional: 0 });
        Self {
            low: low.min(price),
            high: high.max(price),
            volume: volume.saturating_add(qty),
            notional: notional.saturating_add(i128::from(price).saturating_mul(i128::from(qty))),
        }
    }

    fn average(&self) -> i64 {
        let average = self.notional.checked_div(i128::from(self.volume));
        average.and_then(|average| i64::try_from(average).ok()).unwrap_or(UNDEF_PRICE)
    }
}

/// One value.
#[derive(Clone, Copy, Debug)]
struct Value {
    stat_type: StatType,
    price: i64,
    quantity: i64,
}

/// See the file's head.
pub(super) struct Statistics {
    books: Books,
    broken: HashSet<u64>,
    /// The crosses by match number.
    crosses: HashMap<u64, Value>,
    traded: BTreeMap<SymbolId, Traded>,
}

impl Statistics {
    pub(super) fn new(scan: &Scan) -> Result<Self, ConvertError> {
        let (broken, crosses) = (scan.broken.clone(), HashMap::new());
        Ok(Self { books: scan.books()?, broken, crosses, traded: BTreeMap::new() })
    }

    pub(super) fn on_event<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) -> Result<(), ConvertError> {
        match event.kind {
            EventKind::AddOrder
            | EventKind::ExecuteOrder
            | EventKind::ExecuteOrderAtPrice
            | EventKind::CancelOrder
            | EventKind::DeleteOrder
            | EventKind::ReplaceOrder
            | EventKind::Trade
            | EventKind::CrossTrade => self.on_market(out, event),
            EventKind::SessionStart | EventKind::SnapshotStart => {
                self.books.apply(event);
                Ok(())
            }
            EventKind::BrokenTrade => self.on_broken(out, event),
            EventKind::SystemEvent
            | EventKind::StockDirectory
            | EventKind::TradingAction
            | EventKind::RegSho
            | EventKind::ParticipantPosition
            | EventKind::MwcbLevels
            | EventKind::MwcbStatus
            | EventKind::IpoQuotingPeriod
            | EventKind::LuldCollar
            | EventKind::OperationalHalt
            | EventKind::ImbalanceShares
            | EventKind::ImbalancePrices
            | EventKind::RetailInterest
            | EventKind::DirectListingPrices
            | EventKind::DirectListingCollars
            | EventKind::GapStart
            | EventKind::GapEnd
            | EventKind::SessionEnd => {
                out.leave_out(event);
                Ok(())
            }
        }
    }

    /// The session has ended: what its trades come to.
    pub(super) fn finish<W: Write>(&mut self, out: &mut Out<W>, time: EpochNanos) -> Result<(), ConvertError> {
        if out.summary.gaps > 0 {
            self.traded.keys().for_each(|_| out.leave_out_as("statistics of trades with a gap"));
            return Ok(());
        }
        for (symbol, traded) in &self.traded {
            let event = MarketEvent::new(EventKind::SessionEnd, *symbol, time, time);
            let price = |stat_type, price| Value { stat_type, price, quantity: UNDEF_STAT_QUANTITY };
            let (price_low, quantity) = (traded.low, traded.volume);
            let values = [
                price(StatType::TradingSessionLowPrice, price_low),
                price(StatType::TradingSessionHighPrice, traded.high),
                Value { stat_type: StatType::Vwap, price: traded.average(), quantity },
            ];
            for value in values {
                write(out, &event, (value, StatUpdateAction::New))?;
            }
        }
        Ok(())
    }

    fn on_market<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) -> Result<(), ConvertError> {
        let update = self.books.apply(event);
        if update.anomaly.is_some() {
            out.impossible();
        }
        let Some(TradePrint { price, qty, is_printable, .. }) = update.trade else {
            out.leave_out(event);
            return Ok(());
        };
        let Ok(quantity) = i64::try_from(qty.0) else { return out.refuse() };
        if is_printable && !self.broken.contains(&event.id_b) {
            let traded = Traded::with(self.traded.get(&event.symbol).copied(), price.0, quantity);
            self.traded.insert(event.symbol, traded);
        }
        if event.kind != EventKind::CrossTrade {
            return Ok(());
        }
        let stat_type = match event.detail {
            b'O' => StatType::OpeningPrice,
            b'C' => StatType::ClosePrice,
            _ => StatType::UncrossingPrice,
        };
        let value = Value { stat_type, price: price.0, quantity };
        self.crosses.insert(event.id_b, value);
        write(out, event, (value, StatUpdateAction::New))
    }

    fn on_broken<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) -> Result<(), ConvertError> {
        match self.crosses.remove(&event.id_b) {
            Some(value) => write(out, event, (value, StatUpdateAction::Delete)),
            None => Ok(()),
        }
    }
}

fn write<W: Write>(
    out: &mut Out<W>,
    event: &MarketEvent,
    (value, update): (Value, StatUpdateAction),
) -> Result<(), ConvertError> {
    let Value { stat_type, price, quantity } = value;
    let record = StatMsg {
        hd: out.header::<StatMsg>(rtype::STATISTICS, event),
        ts_recv: nanos(event.recv_time),
        price,
        quantity,
        sequence: out.sequence(),
        ts_in_delta: 0,
        stat_type: stat_type.into(),
        channel_id: 0,
        update_action: update.into(),
        ..StatMsg::default()
    };
    out.write(name_of(stat_type), &record)
}

/// What a record is counted under: the types that [`Statistics`] writes.
fn name_of(stat_type: StatType) -> &'static str {
    if stat_type == StatType::OpeningPrice {
        "opening"
    } else if stat_type == StatType::ClosePrice {
        "close"
    } else if stat_type == StatType::UncrossingPrice {
        "uncrossing"
    } else if stat_type == StatType::TradingSessionLowPrice {
        "low"
    } else if stat_type == StatType::TradingSessionHighPrice {
        "high"
    } else {
        "vwap"
    }
}

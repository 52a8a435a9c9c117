//! What is to be known of a session before the first record of it is written: its span, its instruments, how large the books
//! of it become, and which of its trades are broken later.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU64;

use dbn::{MappingInterval, Metadata, SType, SymbolMapping};
use peregrine_book::{BookConfig, Books, MarketBooks};
use peregrine_source::market::{Feed, Input, InputPlan};
use peregrine_types::{EpochNanos, EventKind, MarketEvent, Side, SymbolId};

use super::{DbnSchema, for_each, nanos, number};
use crate::ConvertError;

/// See the file's head.
#[derive(Default)]
pub(super) struct Scan {
    /// First and last time of receipt; `None` without an event.
    span: Option<(EpochNanos, EpochNanos)>,
    /// Where the day begins: the span of a session without an event.
    midnight: EpochNanos,
    pub(super) instruments: BTreeMap<u32, String>,
    /// Match numbers of trades that are broken.
    pub(super) broken: HashSet<u64>,
    peaks: Peaks,
}

impl Scan {
    pub(super) fn of(plan: &InputPlan, schema: DbnSchema) -> Result<Self, ConvertError> {
        let (mut input, mut scan) = (Input::open(plan, &[])?, Self::default());
        if matches!(input.feed(), Feed::Mdp3(_)) {
            let what = "DBN is written of ITCH 5.0 sessions alone, and this is a capture of MDP 3.0".to_owned();
            return Err(ConvertError::Dbn(what));
        }
        for_each(&mut input, |event| {
            scan.take(event, schema);
            Ok(())
        })?;
        scan.midnight = input.session().midnight;
        let symbols = input.feed().symbols().iter();
        scan.instruments = symbols.map(|(id, symbol)| (number(id), symbol.to_string())).collect();
        Ok(scan)
    }

    /// Takes one event.
    pub(super) fn take(&mut self, event: &MarketEvent, schema: DbnSchema) {
        let (first, last) = self.span.unwrap_or((event.recv_time, event.recv_time));
        self.span = Some((first.min(event.recv_time), last.max(event.recv_time)));
        if schema.needs_books() {
            self.peaks.follow(event);
        }
        if event.kind == EventKind::BrokenTrade {
            self.broken.insert(event.id_b);
        }
    }

    /// First and last time of receipt.
    pub(super) fn span(&self) -> (EpochNanos, EpochNanos) {
        self.span.unwrap_or((self.midnight, self.midnight))
    }

    pub(super) fn metadata(&self, schema: DbnSchema) -> Metadata {
        let (first, last) = self.span();
        let mut metadata = Metadata::builder()
            .dataset("XNAS.ITCH".to_owned())
            .schema(Some(schema.schema()))
            .start(nanos(first))
            .end(NonZeroU64::new(nanos(last).saturating_add(1)))
            .stype_in(Some(SType::RawSymbol))
            .stype_out(SType::InstrumentId)
            .symbols(self.instruments.values().cloned().collect())
            .build();
        let start_date = metadata.start().date();
        let last_date = metadata.end().map_or(start_date, |end| end.date());
        let end_date = last_date.next_day().unwrap_or(last_date);
        let mapping = |(number, symbol): (&u32, &String)| SymbolMapping {
            raw_symbol: symbol.clone(),
            intervals: vec![MappingInterval { start_date, end_date, symbol: number.to_string() }],
        };
        metadata.mappings = self.instruments.iter().map(mapping).collect();
        metadata
    }

    /// How many instruments there are.
    pub(super) fn symbol_count(&self) -> u32 {
        self.instruments.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// Books that have room for the whole session.
    pub(super) fn books(&self) -> Result<Books, ConvertError> {
        let count = |count: usize, limit: u32| u32::try_from(count).unwrap_or(u32::MAX).clamp(1, limit);
        // A side never has more levels at once than orders.
        let level_count = self.peaks.sides.values().fold(0_usize, |sum, side| sum.saturating_add(side.peak));
        let config = BookConfig::new(
            self.symbol_count().clamp(1, BookConfig::SYMBOL_COUNT_LIMIT),
            count(self.peaks.order_peak, BookConfig::ORDER_COUNT_LIMIT),
            count(level_count, BookConfig::LEVEL_COUNT_LIMIT),
        );
        Books::new(config).map_err(|_| ConvertError::Fault("books of an impossible size"))
    }
}

/// The most orders that stood at once: all together, and on each side of each instrument.
#[derive(Default)]
struct Peaks {
    orders: HashMap<u64, Standing>,
    order_peak: usize,
    sides: HashMap<(SymbolId, Side), SideCount>,
}

#[derive(Clone, Copy)]
struct Standing {
    symbol: SymbolId,
    side: Side,
    qty: u64,
}

#[derive(Default)]
struct SideCount {
    now: usize,
    peak: usize,
}

impl Peaks {
    fn follow(&mut self, event: &MarketEvent) {
        match event.kind {
            EventKind::AddOrder => {
                self.add(event.id_a, Standing { symbol: event.symbol, side: event.side, qty: event.qty.0 });
            }
            EventKind::ExecuteOrder | EventKind::ExecuteOrderAtPrice | EventKind::CancelOrder => {
                let Some(order) = self.orders.get_mut(&event.id_a) else { return };
                order.qty = order.qty.saturating_sub(event.qty.0);
                if order.qty == 0 {
                    self.remove(event.id_a);
                }
            }
            EventKind::DeleteOrder => drop(self.remove(event.id_a)),
            EventKind::ReplaceOrder => {
                if let Some(old) = self.remove(event.id_a) {
                    self.add(event.id_b, Standing { qty: event.qty.0, ..old });
                }
            }
            EventKind::SessionStart | EventKind::SnapshotStart => {
                self.orders.clear();
                self.sides.values_mut().for_each(|side| side.now = 0);
            }
            EventKind::Trade
            | EventKind::CrossTrade
            | EventKind::BrokenTrade
            | EventKind::SystemEvent
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
            | EventKind::SessionEnd => {}
        }
    }

    fn add(&mut self, order: u64, standing: Standing) {
        if self.orders.contains_key(&order) {
            return;
        }
        self.orders.insert(order, standing);
        self.order_peak = self.order_peak.max(self.orders.len());
        let side = self.sides.entry((standing.symbol, standing.side)).or_default();
        side.now = side.now.saturating_add(1);
        side.peak = side.peak.max(side.now);
    }

    fn remove(&mut self, order: u64) -> Option<Standing> {
        let standing = self.orders.remove(&order)?;
        if let Some(side) = self.sides.get_mut(&(standing.symbol, standing.side)) {
            side.now = side.now.saturating_sub(1);
        }
        Some(standing)
    }
}

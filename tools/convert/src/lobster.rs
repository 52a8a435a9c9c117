//! LOBSTER message files: `time,type,order,size,price,direction`, one row per event, for one symbol and one day.
//!
//! Time is seconds since midnight with up to nine decimals, price is in 10⁻⁴ dollars, direction 1 for buy and −1 for sell
//! orders. Types: 1 new order, 2 partial cancel, 3 deletion, 4 execution of a displayed order, 5 execution of a hidden one,
//! 6 cross trade, 7 trading state (price −1 halted, 0 quotations, 1 trading).
//!
//! The file does not tell the orders that stood before it begins. One that a later row reduces is added with what the file
//! takes from it in all: at the beginning if its number is below that of the first new order, else in front of the first
//! new order with a higher number, because Nasdaq gives numbers in the order of entry.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::Path;

use jiff::civil::Date;
use peregrine_source::session::date_in_name;
use peregrine_types::{EpochNanos, Nanos, Side, Symbol};

use crate::desk::Desk;
use crate::findings::Findings;
use crate::scale::Lot;
use crate::session::{Day, Instrument, NO_REASON, NewOrder, Phase, Print};
use crate::text::Lines;
use crate::time::Times;
use crate::{ConvertError, Finding, Place, Plan, SymbolEntry};

/// 10⁻⁹ dollars in 10⁻⁴ dollars.
const PRICE_STEP: i64 = 100_000;
const DAY_SECONDS: u64 = 86_400;
/// Shares in a round lot of a US equity, where nothing else is known.
const ROUND_LOT: u32 = 100;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Nanoseconds since midnight.
    time: i64,
    /// Whether the file's time is finer than that.
    is_finer: bool,
    kind: u8,
    order: u64,
    size: u32,
    /// In 10⁻⁴ dollars.
    price: i64,
    side: Side,
}

impl Row {
    /// Reads a row.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, &'static str> {
        let text = core::str::from_utf8(line).map_err(|_| "not text")?;
        let mut fields = text.split(',');
        let mut field = || fields.next().map(str::trim).ok_or("fewer than six columns");
        let (time, is_finer) = parse_time(field()?).ok_or("the time is not seconds since midnight")?;
        let kind = match field()?.as_bytes() {
            [kind @ b'1'..=b'7'] => kind - b'0',
            _ => return Err("the type is none of 1 to 7"),
        };
        let order: i64 = field()?.parse().map_err(|_| "the order is not a number")?;
        let size = field()?.parse().map_err(|_| "the size is not a number of shares")?;
        let price = field()?.parse().map_err(|_| "the price is not a number of 10^-4 dollars")?;
        let side = match field()? {
            "1" => Side::Buy,
            "-1" => Side::Sell,
            _ => return Err("the direction is neither 1 nor -1"),
        };
        // Some files have a seventh column for the participant, which is mostly `null`.
        if fields.nth(1).is_some() {
            return Err("more than seven columns");
        }
        let is_of_order = matches!(kind, 1..=4);
        let order = u64::try_from(order).ok().filter(|order| *order > 0 || !is_of_order);
        let order = if is_of_order { order.ok_or("the order's number is not above zero")? } else { 0 };
        Ok(Self { time, is_finer, kind, order, size, price, side })
    }

    fn nanos_price(self) -> i64 {
        self.price.saturating_mul(PRICE_STEP)
    }
}

/// Seconds since midnight as nanoseconds, and whether the text says more than that.
fn parse_time(text: &str) -> Option<(i64, bool)> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !is_digits(seconds) || !is_digits(fraction) {
        return None;
    }
    let seconds: u64 = seconds.parse().ok().filter(|seconds| *seconds < DAY_SECONDS)?;
    let (fraction, finer) = fraction.split_at(fraction.len().min(9));
    let nanos: u64 = format!("{fraction:0<9}").parse().ok()?;
    let time = i64::try_from(seconds * 1_000_000_000 + nanos).ok()?;
    Some((time, finer.bytes().any(|digit| digit != b'0')))
}

/// An order whose entry the file does not hold.
#[derive(Clone, Copy, Debug)]
struct Earlier {
    qty: u64,
    price: i64,
    side: Side,
}

/// What is known of a file before it is converted.
#[derive(Debug, Default)]
struct Scan {
    earlier: BTreeMap<u64, Earlier>,
    first_new: Option<u64>,
}

impl Scan {
    fn of(path: &Path) -> Result<Self, ConvertError> {
        let (mut scan, mut entered) = (Self::default(), HashSet::new());
        let mut lines = Lines::open(path)?;
        while let Some((_, line)) = lines.next()? {
            let Ok(row) = Row::parse(line) else { continue };
            match row.kind {
                1 => {
                    entered.insert(row.order);
                    scan.first_new = scan.first_new.or(Some(row.order));
                }
                2..=4 if !entered.contains(&row.order) => {
                    let fresh = Earlier { qty: 0, price: row.price, side: row.side };
                    let order = scan.earlier.entry(row.order).or_insert(fresh);
                    order.qty = order.qty.saturating_add(u64::from(row.size));
                }
                _ => {}
            }
        }
        Ok(scan)
    }
}

/// The day of a file: as given, else as its name tells.
fn date_of(plan: &Plan) -> Result<Date, ConvertError> {
    plan.date.or_else(|| date_in_name(&plan.input)).ok_or_else(|| ConvertError::NoDate(plan.input.clone()))
}

/// The symbol of a file: as given, else its name up to the first underscore.
fn symbol_of(plan: &Plan) -> Result<(Symbol, String), ConvertError> {
    let name = plan.input.file_name().unwrap_or_default().to_string_lossy();
    if plan.symbols.len() > 1 {
        let reason = format!("{} symbols for a file of one: name it", plan.symbols.len());
        return Err(ConvertError::Setting { setting: "--symbols", reason });
    }
    let given = plan.symbols.first().cloned();
    let text = given.unwrap_or_else(|| name.split('_').next().unwrap_or_default().to_owned());
    let symbol = Symbol::new(&text).ok_or_else(|| ConvertError::Setting {
        setting: "--symbols",
        reason: format!("{text:?} is no symbol of one to eight characters: name the file's symbol"),
    })?;
    Ok((symbol, text))
}

/// Writes a LOBSTER file as a session.
pub(crate) fn convert<W: Write>(plan: &Plan, out: W) -> Result<(Desk<W>, Vec<SymbolEntry>), ConvertError> {
    let day = Day::new(date_of(plan)?, &plan.zone)?;
    let (symbol, source) = symbol_of(plan)?;
    let scan = Scan::of(&plan.input)?;
    let instrument = Instrument { symbol, round_lot: ROUND_LOT, state: b'T' };
    let desk = Desk::new(plan, day, (vec![instrument], Lot::ONE), Findings::new(plan.is_strict), out)?;
    let mut converter = Converter { desk, pending: scan.earlier, first_new: scan.first_new.unwrap_or(u64::MAX) };
    let mut lines = Lines::open(&plan.input)?;
    while let Some((place, line)) = lines.next()? {
        match Row::parse(line) {
            Ok(row) => converter.on_row(row, place)?,
            Err(reason) => converter.desk.find(Finding::Malformed, place, || reason.to_owned())?,
        }
    }
    if lines.is_cut() {
        converter.desk.find(Finding::Truncated, lines.place(), || "the gzip stream is cut".to_owned())?;
    }
    Ok((converter.desk, vec![SymbolEntry { locate: 1, symbol: symbol.to_string(), source }]))
}

struct Converter<W: Write> {
    desk: Desk<W>,
    /// Orders whose entry the file does not hold, not yet added.
    pending: BTreeMap<u64, Earlier>,
    first_new: u64,
}

impl<W: Write> Converter<W> {
    fn on_row(&mut self, row: Row, place: Place) -> Result<(), ConvertError> {
        self.desk.count(NAMES.get(usize::from(row.kind)).copied().unwrap_or("other"));
        let time = self.desk.session.day().midnight.plus(Nanos(row.time));
        let times = Times { recv: Some(EpochNanos(time.0)), exch: None };
        if self.desk.at(times, place)? != Some(Phase::Within) {
            return Ok(());
        }
        if row.is_finer {
            self.desk.find(Finding::TimeFiner, place, || format!("taken as {} ns", row.time))?;
        }
        if row.size == 0 && row.kind != 7 {
            return self.desk.find(Finding::NoQuantity, place, || format!("order {}", row.order));
        }
        match row.kind {
            1 => self.on_new(row, place),
            2 => self.on_cancel(row, place),
            3 => self.on_delete(row, place),
            4 => self.on_execution(row, place),
            5 | 6 => {
                let price = self.desk.scale.price4(row.nanos_price(), place)?;
                let print = Print { locate: 1, side: row.side, qty: row.size, price };
                if row.kind == 5 {
                    self.desk.session.trade(print).map(|_| ())
                } else {
                    self.desk.session.cross(print, cross_type(row.time))
                }
            }
            _ => match row.price {
                -1 => self.desk.session.trading_state(1, b'H', NO_REASON),
                0 => self.desk.session.trading_state(1, b'Q', NO_REASON),
                1 => self.desk.session.trading_state(1, b'T', NO_REASON),
                other => self.desk.find(Finding::Malformed, place, || format!("trading state {other}")),
            },
        }
    }

    fn on_new(&mut self, row: Row, place: Place) -> Result<(), ConvertError> {
        while let Some((order, _)) = self.pending.first_key_value().filter(|(order, _)| **order < row.order) {
            self.add_earlier(*order, place)?;
        }
        if self.desk.session.live(row.order).is_some() {
            self.desk.find(Finding::DuplicateOrder, place, || format!("order {}", row.order))?;
            self.desk.session.delete(row.order)?;
        }
        let price = self.desk.scale.price4(row.nanos_price(), place)?;
        self.desk.session.add(row.order, NewOrder { locate: 1, side: row.side, qty: row.size, price })
    }

    /// Adds an order whose entry the file does not hold.
    fn add_earlier(&mut self, order: u64, place: Place) -> Result<(), ConvertError> {
        let Some(Earlier { qty, price, side }) = self.pending.remove(&order) else { return Ok(()) };
        let finding = if order < self.first_new { Finding::StandingOrder } else { Finding::LateOrder };
        self.desk.find(finding, place, || format!("order {order}, {qty} shares"))?;
        let price = self.desk.scale.price4(price.saturating_mul(PRICE_STEP), place)?;
        let qty = u32::try_from(qty).map_err(|_| ConvertError::Quantity {
            place,
            quantity: qty.to_string(),
            lot: Lot::ONE.text(),
        })?;
        self.desk.session.add(order, NewOrder { locate: 1, side, qty, price })
    }

    /// The shares of a displayed order, which is added now if it must have stood before; `None` (and a finding) if there
    /// is none.
    fn shares(&mut self, row: Row, place: Place) -> Result<Option<u32>, ConvertError> {
        self.add_earlier(row.order, place)?;
        let live = self.desk.session.live(row.order);
        if live.is_none() {
            self.desk.find(Finding::UnknownOrder, place, || format!("order {}", row.order))?;
        }
        Ok(live.map(|order| order.qty))
    }

    /// What of `row` the order has; more is said.
    fn at_most(&mut self, row: Row, shares: u32, place: Place) -> Result<u32, ConvertError> {
        if row.size > shares {
            self.desk.find(Finding::Excess, place, || format!("order {}: {} of {shares}", row.order, row.size))?;
        }
        Ok(row.size.min(shares))
    }

    fn on_cancel(&mut self, row: Row, place: Place) -> Result<(), ConvertError> {
        let Some(shares) = self.shares(row, place)? else { return Ok(()) };
        let size = self.at_most(row, shares, place)?;
        self.desk.session.cancel(row.order, size)
    }

    fn on_delete(&mut self, row: Row, place: Place) -> Result<(), ConvertError> {
        let Some(shares) = self.shares(row, place)? else { return Ok(()) };
        if shares != row.size {
            self.desk.find(Finding::SizeDiffers, place, || format!("order {}: {} of {shares}", row.order, row.size))?;
        }
        self.desk.session.delete(row.order)
    }

    fn on_execution(&mut self, row: Row, place: Place) -> Result<(), ConvertError> {
        let Some(shares) = self.shares(row, place)? else { return Ok(()) };
        let size = self.at_most(row, shares, place)?;
        let price = self.desk.scale.price4(row.nanos_price(), place)?;
        match self.desk.session.live(row.order) {
            Some(order) if order.price != price => self.desk.session.execute_at(row.order, size, (price, true)),
            _ => self.desk.session.execute(row.order, size),
        }
    }
}

/// What the types are called in the manifest.
const NAMES: [&str; 8] = [
    "other",
    "1 new order",
    "2 partial cancel",
    "3 deletion",
    "4 execution",
    "5 hidden execution",
    "6 cross trade",
    "7 trading state",
];

/// ITCH's code of a cross that the file does not name: the opening one before ten, the closing one from a quarter to four,
/// else that of a halt.
const fn cross_type(time: i64) -> u8 {
    const MINUTE: i64 = 60_000_000_000;
    if time < 600 * MINUTE {
        b'O'
    } else if time >= 945 * MINUTE {
        b'C'
    } else {
        b'H'
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_read_as_lobster_writes_them() {
        let row = Row::parse(b"34200.004241176,1,16113575,18,5853300,1").unwrap();
        let (time, is_finer, kind, order, size) = (34_200_004_241_176, false, 1, 16_113_575, 18);
        assert_eq!(row, Row { time, is_finer, kind, order, size, price: 5_853_300, side: Side::Buy });
        let finer = Row::parse(b"35821.088778456004,3,44276101,100,5851500,1").unwrap();
        assert_eq!((finer.time, finer.is_finer), (35_821_088_778_456, true));
        assert_eq!(Row::parse(b"34200.5,7,0,0,-1,-1,null").unwrap().price, -1);
        assert_eq!(Row::parse(b"0,6,-1,5,10,-1").unwrap().side, Side::Sell);
        for line in [
            "",
            "time,type",
            "86400,1,1,1,1,1",
            "1.000x,1,1,1,1,1",
            "-1,1,1,1,1,1",
            "1,8,1,1,1,1",
            "1,0,1,1,1,1",
            "1,1,0,1,1,1",
            "1,1,-5,1,1,1",
            "1,1,1,-1,1,1",
            "1,1,1,4294967296,1,1",
            "1,1,1,1,x,1",
            "1,1,1,1,1,2",
            "1,1,1,1,1",
            "1,1,1,1,1,1,null,x",
        ] {
            assert!(Row::parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(line: Vec<u8>) {
            let _row: Result<Row, &str> = Row::parse(&line);
        }

        #[test]
        fn times_are_exact(nanos in 0..86_400_000_000_000_i64) {
            let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
            prop_assert_eq!(parse_time(&text), Some((nanos, false)));
        }
    }
}

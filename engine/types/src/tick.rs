//! Tick-size tables: the least price step by price, per instrument.

use crate::{Price, SymbolId};

/// Bands that a table may have. The longest table in force, that of MiFID II (Regulation (EU) 2017/588, annex), has 19.
pub const TICK_BAND_COUNT_MAX: usize = 20;
/// Tables that one session may use.
const TABLE_COUNT_MAX: usize = 255;

/// One band of a table: prices from `from` up to the next band are multiples of `tick`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickBand {
    /// Lowest price of the band; 0 in the first one.
    pub from: Price,
    /// Least price step within it, above 0.
    pub tick: Price,
}

/// The price steps of one instrument, by price. Where one band ends and the next begins the price is on the tick of both,
/// so that rounding never leaves the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickTable {
    /// Unused bands begin beyond every price.
    bands: [TickBand; TICK_BAND_COUNT_MAX],
    count: usize,
}

/// Why bands are no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TickTableError {
    /// There is no band, or there are more than [`TICK_BAND_COUNT_MAX`].
    Count(usize),
    /// The first band does not begin at 0, or another one not above the band before.
    Order(TickBand),
    /// A tick is zero or negative.
    Tick(TickBand),
    /// A band begins off its own tick or off that of the band before.
    Start(TickBand),
}

impl core::fmt::Display for TickTableError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count} bands, but 1 to {TICK_BAND_COUNT_MAX} are needed"),
            Self::Order(band) => write!(f, "the band from {}: bands begin at 0 and ascend", band.from),
            Self::Tick(band) => write!(f, "the tick {} of the band from {} is not above 0", band.tick, band.from),
            Self::Start(band) => {
                write!(f, "the band from {} does not begin on its own tick and on that of the band before", band.from)
            }
        }
    }
}

impl core::error::Error for TickTableError {}

impl TickTable {
    /// US-listed shares: a cent from one dollar up, a hundredth of a cent below (Regulation NMS, rule 612).
    pub const US_EQUITY: Self = {
        let mut table = Self::uniform_or_cent(Price(100_000));
        let [_, second, ..] = &mut table.bands;
        *second = TickBand { from: Price(1_000_000_000), tick: Price(10_000_000) };
        table.count = 2;
        table
    };

    /// One tick at every price; a cent where `tick` is not above 0.
    #[must_use]
    pub const fn uniform_or_cent(tick: Price) -> Self {
        let tick = if tick.0 > 0 { tick } else { Price(10_000_000) };
        let mut bands = [TickBand { from: Price(i64::MAX), tick }; TICK_BAND_COUNT_MAX];
        let [first, ..] = &mut bands;
        first.from = Price(0);
        Self { bands, count: 1 }
    }

    /// A table of these bands.
    ///
    /// # Errors
    /// [`TickTableError`] with the first band that is wrong.
    pub fn new(bands: &[TickBand]) -> Result<Self, TickTableError> {
        let first = bands.first().ok_or(TickTableError::Count(0))?;
        if bands.len() > TICK_BAND_COUNT_MAX {
            return Err(TickTableError::Count(bands.len()));
        }
        let mut table = Self { count: bands.len(), ..Self::uniform_or_cent(first.tick) };
        let mut last: Option<TickBand> = None;
        for (to, band) in table.bands.iter_mut().zip(bands) {
            if last.map_or(band.from.0 != 0, |last| band.from <= last.from) {
                return Err(TickTableError::Order(*band));
            }
            if band.tick.0 <= 0 {
                return Err(TickTableError::Tick(*band));
            }
            let is_on = |tick: Price| matches!(band.from.0.checked_rem(tick.0), Some(0));
            if !is_on(band.tick) || !last.is_none_or(|last| is_on(last.tick)) {
                return Err(TickTableError::Start(*band));
            }
            *to = *band;
            last = Some(*band);
        }
        Ok(table)
    }

    /// The bands, from the lowest prices up.
    #[must_use]
    pub fn bands(&self) -> &[TickBand] {
        self.bands.get(..self.count).unwrap_or_default()
    }

    /// The tick at `price`; that of the lowest band for what is no price.
    #[must_use]
    #[inline]
    pub fn tick(&self, price: Price) -> Price {
        self.band(|from| from <= price).tick
    }

    /// The band just below `price`, which is another one where a band begins.
    #[inline]
    fn band_below(&self, price: Price) -> TickBand {
        self.band(|from| from < price)
    }

    #[inline]
    fn band(&self, begins: impl Fn(Price) -> bool) -> TickBand {
        let [first, rest @ ..] = &self.bands;
        let mut found = *first;
        for band in rest {
            if !begins(band.from) {
                break;
            }
            found = *band;
        }
        found
    }

    /// Whether `price` is above zero and on the tick.
    #[must_use]
    #[inline]
    pub fn is_valid(&self, price: Price) -> bool {
        price.0 > 0 && matches!(price.0.checked_rem(self.tick(price).0), Some(0))
    }

    /// The price `steps` ticks below `price`, across bands, on the tick at or below where `price` itself is off it;
    /// `None` when nothing above zero is left.
    #[must_use]
    pub fn down(&self, price: Price, steps: u32) -> Option<Price> {
        if price.0 <= 0 {
            return None;
        }
        let mut at = price.0.checked_sub(price.0.checked_rem(self.tick(price).0)?)?;
        let mut left = i64::from(steps);
        for _ in 0..TICK_BAND_COUNT_MAX {
            let band = self.band_below(Price(at));
            let room = at.checked_sub(band.from.0)?.checked_div(band.tick.0)?;
            let taken = room.min(left);
            at = at.checked_sub(taken.checked_mul(band.tick.0)?)?;
            left = left.checked_sub(taken)?;
            if left == 0 {
                break;
            }
        }
        (at > 0 && left == 0).then_some(Price(at))
    }

    /// The price `steps` ticks above `price`, across bands, on the tick at or above where `price` itself is off it;
    /// `None` when `price` is zero or below, or the answer does not fit.
    #[must_use]
    pub fn up(&self, price: Price, steps: u32) -> Option<Price> {
        if price.0 <= 0 {
            return None;
        }
        let tick = self.tick(price).0;
        let rest = price.0.checked_rem(tick)?;
        let mut at = if rest > 0 { price.0.checked_add(tick.checked_sub(rest)?)? } else { price.0 };
        let mut left = i64::from(steps);
        for _ in 0..TICK_BAND_COUNT_MAX {
            let tick = self.tick(Price(at)).0;
            let end = self.bands().iter().map(|band| band.from.0).find(|from| *from > at).unwrap_or(i64::MAX);
            let taken = end.checked_sub(at)?.checked_div(tick)?.min(left);
            at = at.checked_add(taken.checked_mul(tick)?)?;
            left = left.checked_sub(taken)?;
            if left == 0 {
                break;
            }
        }
        (left == 0).then_some(Price(at))
    }
}

/// The tick tables of a session: one for most instruments, others for some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TickTables {
    tables: Vec<TickTable>,
    /// Index into `tables`, by symbol; symbols beyond the end have the first table.
    of_symbol: Vec<u8>,
}

impl TickTables {
    /// `table` for every instrument.
    #[must_use]
    pub fn new(table: TickTable) -> Self {
        Self { tables: vec![table], of_symbol: Vec::new() }
    }

    /// Gives one instrument another table; at start, because it may allocate. False when there are 255 tables already.
    #[must_use]
    pub fn assign(&mut self, symbol: SymbolId, table: TickTable) -> bool {
        let known = self.tables.iter().position(|known| *known == table);
        let place = known.unwrap_or(self.tables.len());
        let Some(index) = u8::try_from(place).ok().filter(|index| usize::from(*index) < TABLE_COUNT_MAX) else {
            return false;
        };
        if known.is_none() {
            self.tables.push(table);
        }
        if self.of_symbol.len() <= symbol.index() {
            self.of_symbol.resize(symbol.index().saturating_add(1), 0);
        }
        if let Some(slot) = self.of_symbol.get_mut(symbol.index()) {
            *slot = index;
        }
        true
    }

    /// The table of an instrument.
    #[must_use]
    #[inline]
    pub fn of(&self, symbol: SymbolId) -> &TickTable {
        const FALLBACK: &TickTable = &TickTable::US_EQUITY;
        let index = self.of_symbol.get(symbol.index()).copied().unwrap_or(0);
        self.tables.get(usize::from(index)).unwrap_or(FALLBACK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_decimal;

    fn price(text: &str) -> Price {
        Price(parse_decimal(text).unwrap())
    }

    fn table(bands: &[(&str, &str)]) -> Result<TickTable, TickTableError> {
        let bands: Vec<_> =
            bands.iter().map(|(from, tick)| TickBand { from: price(from), tick: price(tick) }).collect();
        TickTable::new(&bands)
    }

    /// Regulation (EU) 2017/588, annex: shares with 600 to 2,000 trades a day.
    const MIFID_600: [(&str, &str); 19] = [
        ("0", "0.0001"),
        ("0.1", "0.0001"),
        ("0.2", "0.0002"),
        ("0.5", "0.0005"),
        ("1", "0.001"),
        ("2", "0.002"),
        ("5", "0.005"),
        ("10", "0.01"),
        ("20", "0.02"),
        ("50", "0.05"),
        ("100", "0.1"),
        ("200", "0.2"),
        ("500", "0.5"),
        ("1000", "1"),
        ("2000", "2"),
        ("5000", "5"),
        ("10000", "10"),
        ("20000", "20"),
        ("50000", "50"),
    ];

    #[test]
    fn us_shares_have_a_cent_from_one_dollar_up() {
        let us = TickTable::US_EQUITY;
        assert_eq!(table(&[("0", "0.0001"), ("1", "0.01")]), Ok(us));
        for (text, is_valid) in [
            ("1", true),
            ("1.01", true),
            ("1.001", false),
            ("0.9999", true),
            ("0.99995", false),
            ("0", false),
            ("-0.01", false),
        ] {
            assert_eq!(us.is_valid(price(text)), is_valid, "{text}");
        }
        assert_eq!((us.tick(price("0.9999")), us.tick(price("1"))), (price("0.0001"), price("0.01")));
    }

    #[test]
    fn steps_cross_bands() {
        let us = TickTable::US_EQUITY;
        assert_eq!(us.down(price("1.02"), 2), Some(price("1")));
        assert_eq!(us.down(price("1.02"), 3), Some(price("0.9999")), "below one dollar the step is finer");
        assert_eq!(us.up(price("0.9998"), 3), Some(price("1.01")));
        assert_eq!((us.down(price("1.015"), 0), us.up(price("1.015"), 0)), (Some(price("1.01")), Some(price("1.02"))));
        assert_eq!((us.down(price("0.0002"), 2), us.down(price("0.0002"), 1)), (None, Some(price("0.0001"))));
        assert_eq!((us.up(Price(i64::MAX), 1), us.down(Price(i64::MIN), 1)), (None, None));
        assert_eq!(us.down(price("1"), u32::MAX), None);
    }

    #[test]
    fn every_step_up_is_undone_by_a_step_down() {
        let mifid = table(&MIFID_600).unwrap();
        assert_eq!(mifid.bands().len(), 19);
        let mut at = price("0.0001");
        let mut seen = 0;
        while at < price("60000") {
            let next = mifid.up(at, 1).unwrap();
            assert_eq!((mifid.down(next, 1), next.0 - at.0), (Some(at), mifid.tick(at).0), "{at}");
            assert!(mifid.is_valid(next));
            at = next;
            seen += 1;
        }
        assert_eq!((mifid.up(price("0.0001"), seen), mifid.down(at, seen)), (Some(at), Some(price("0.0001"))));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let at = |from: &str, tick: &str| TickBand { from: price(from), tick: price(tick) };
        assert_eq!(table(&[]), Err(TickTableError::Count(0)));
        assert_eq!(table(&[("0", "1"); 21]), Err(TickTableError::Count(21)));
        assert_eq!(table(&[("1", "0.01")]), Err(TickTableError::Order(at("1", "0.01"))));
        assert_eq!(table(&[("0", "1"), ("0", "2")]), Err(TickTableError::Order(at("0", "2"))));
        assert_eq!(table(&[("0", "0")]), Err(TickTableError::Tick(at("0", "0"))));
        assert_eq!(table(&[("0", "0.3"), ("1", "0.5")]), Err(TickTableError::Start(at("1", "0.5"))));
        assert_eq!(table(&[("0", "0.1"), ("1", "0.3")]), Err(TickTableError::Start(at("1", "0.3"))));
        let text = TickTableError::Start(at("1", "0.3")).to_string();
        assert_eq!(text, "the band from 1 does not begin on its own tick and on that of the band before");
    }

    #[test]
    fn symbols_have_tables_of_their_own() {
        let mut tables = TickTables::new(TickTable::US_EQUITY);
        let coarse = TickTable::uniform_or_cent(price("0.05"));
        assert!(tables.assign(SymbolId(3), coarse) && tables.assign(SymbolId(5), coarse));
        assert_eq!((tables.of(SymbolId(3)), tables.of(SymbolId(5))), (&coarse, &coarse));
        for other in [0, 4, 6, u32::MAX] {
            assert_eq!(tables.of(SymbolId(other)), &TickTable::US_EQUITY);
        }
        let mut full = TickTables::new(TickTable::US_EQUITY);
        let taken = (1..400).take_while(|tick| full.assign(SymbolId(0), TickTable::uniform_or_cent(Price(*tick))));
        assert_eq!(taken.count(), 254);
    }
}

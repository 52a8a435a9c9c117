//! Units: from the source's prices and quantities to ITCH 5.0's fields, exactly or not at all.

use peregrine_types::{Decimal, PRICE_SCALE, parse_decimal};

use crate::{ConvertError, Finding, Place, findings::Findings};

/// Units of a price in 10⁻⁹ in one step of ITCH's `Price (4)`.
const PRICE4_STEP: i128 = 100_000;
/// The largest power of ten that prices can be multiplied with or divided by.
const EXPONENT_MAX: i32 = 6;

/// By which power of ten prices are multiplied when they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PriceScale {
    exponent: i32,
}

impl PriceScale {
    /// The scale written as a power of ten, 0.000001 to 1000000.
    ///
    /// # Errors
    /// [`ConvertError::Setting`] for anything else.
    pub fn parse(text: &str) -> Result<Self, ConvertError> {
        let nanos = parse_decimal(text).unwrap_or(0);
        (-EXPONENT_MAX..=EXPONENT_MAX)
            .map(|exponent| Self { exponent })
            .find(|scale| i128::from(nanos) == scale.apply(i128::from(PRICE_SCALE)).unwrap_or(0))
            .ok_or_else(|| ConvertError::Setting {
                setting: "--price-scale",
                reason: format!("{text} is not a power of ten from 0.000001 to 1000000"),
            })
    }

    /// `value` multiplied, `None` where that is no whole number.
    fn apply(self, value: i128) -> Option<i128> {
        let factor = 10_i128.pow(self.exponent.unsigned_abs());
        if self.exponent >= 0 {
            return value.checked_mul(factor);
        }
        (value % factor == 0).then_some(value / factor)
    }

    /// The factor as text.
    #[must_use]
    pub fn text(self) -> String {
        Decimal::new(self.apply(i128::from(PRICE_SCALE)).unwrap_or(0)).to_string()
    }

    /// A price in 10⁻⁹ of the source's unit as ITCH's `Price (4)`.
    ///
    /// # Errors
    /// [`ConvertError::Price`] where the field cannot hold it: zero or below, finer than a ten-thousandth, above
    /// 429,496.7295 (all after scaling).
    pub(crate) fn price4(self, nanos: i64, place: Place) -> Result<u32, ConvertError> {
        let refuse = |reason| {
            let price = Decimal::new(i128::from(nanos)).to_string();
            Err(ConvertError::Price { place, price, reason })
        };
        if nanos <= 0 {
            return refuse("ITCH 5.0 has no price of zero or below");
        }
        let Some(scaled) = self.apply(i128::from(nanos)).filter(|scaled| scaled % PRICE4_STEP == 0) else {
            return refuse("ITCH 5.0 has four decimals");
        };
        match u32::try_from(scaled / PRICE4_STEP) {
            Ok(price) => Ok(price),
            Err(_) => refuse("ITCH 5.0 has prices up to 429,496.7295"),
        }
    }
}

/// How much of the source's unit one share of the session stands for, in 10⁻⁹.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lot(i64);

impl Lot {
    /// One of the source's unit.
    pub const ONE: Self = Self(PRICE_SCALE);

    /// The lot written as a decimal, such as 0.001.
    ///
    /// # Errors
    /// [`ConvertError::Setting`] for what is no positive decimal of at most nine places.
    pub fn parse(text: &str) -> Result<Self, ConvertError> {
        match parse_decimal(text) {
            Ok(nanos) if nanos > 0 => Ok(Self(nanos)),
            Ok(_) => Err(ConvertError::Setting { setting: "--lot", reason: format!("{text} is not above zero") }),
            Err(error) => Err(ConvertError::Setting { setting: "--lot", reason: format!("{text}: {error}") }),
        }
    }

    /// As text.
    #[must_use]
    pub fn text(self) -> String {
        Decimal::new(i128::from(self.0)).to_string()
    }

    /// A quantity in 10⁻⁹ (zero or above) in lots, rounded down to whole ones.
    ///
    /// # Errors
    /// [`ConvertError::Quantity`] above what ITCH 5.0 holds; [`ConvertError::Strict`].
    pub(crate) fn lots(self, nanos: i64, place: Place, findings: &mut Findings) -> Result<u32, ConvertError> {
        if nanos % self.0 != 0 {
            let shown = || format!("{} in lots of {}", Decimal::new(i128::from(nanos)), self.text());
            findings.add(Finding::QuantityRounded, place, shown)?;
        }
        u32::try_from(nanos / self.0).map_err(|_| {
            let quantity = Decimal::new(i128::from(nanos)).to_string();
            ConvertError::Quantity { place, quantity, lot: self.text() }
        })
    }
}

/// The finest decimal step of the quantities of a file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FinestStep {
    step: Option<i64>,
}

impl FinestStep {
    /// Takes one quantity in 10⁻⁹.
    pub(crate) fn see(&mut self, nanos: i64) {
        if nanos == 0 {
            return;
        }
        let mut step = self.step.unwrap_or(PRICE_SCALE);
        while nanos % step != 0 {
            step /= 10;
        }
        self.step = Some(step);
    }

    /// The lot that every quantity is a multiple of: a power of ten, at most one.
    pub(crate) fn lot(self) -> Lot {
        self.step.map_or(Lot::ONE, Lot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: Place = Place::Line(7);

    #[test]
    fn prices_are_written_exactly_or_refused_with_their_row() {
        let plain = PriceScale::default();
        assert_eq!(plain.price4(4_801_250_000_000, HERE).unwrap(), 48_012_500);
        assert_eq!(plain.price4(429_496_729_500_000, HERE).unwrap(), u32::MAX);
        for (nanos, reason) in
            [(429_496_729_600_000, "429,496"), (10_000, "four decimals"), (0, "zero or below"), (-5, "zero or below")]
        {
            let error = plain.price4(nanos, HERE).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("line 7") && error.contains("--price-scale"), "{error}");
        }
        let fine = PriceScale::parse("10000").unwrap();
        assert_eq!(fine.price4(12_340, HERE).unwrap(), 1_234);
        let coarse = PriceScale::parse("0.1").unwrap();
        assert_eq!(coarse.price4(1_000_000_000_000_000, HERE).unwrap(), 1_000_000_000);
        assert_eq!((fine.text(), coarse.text(), plain.text()), ("10000".into(), "0.1".into(), "1".into()));
        for refused in ["2", "0", "-10", "10000000", "0.0000001", "ten"] {
            assert!(PriceScale::parse(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn quantities_are_whole_lots() {
        let mut findings = Findings::new(false);
        let lot = Lot::parse("0.001").unwrap();
        assert_eq!(lot.lots(2_909_000_000, HERE, &mut findings).unwrap(), 2_909);
        assert_eq!(lot.lots(2_909_500_000, HERE, &mut findings).unwrap(), 2_909);
        assert_eq!(findings.into_entries()["quantity_rounded"].count, 1);
        let mut findings = Findings::new(false);
        let error = lot.lots(4_294_967_296_000_000, HERE, &mut findings).unwrap_err().to_string();
        assert!(error.contains("line 7") && error.contains("--lot"), "{error}");
        assert!(Lot::parse("0").is_err() && Lot::parse("x").is_err());
    }

    proptest! {
        #[test]
        fn the_finest_step_divides_every_quantity(quantities: Vec<u32>) {
            let mut finest = FinestStep::default();
            for quantity in &quantities {
                finest.see(i64::from(*quantity));
            }
            let Lot(step) = finest.lot();
            prop_assert!(quantities.iter().all(|quantity| i64::from(*quantity) % step == 0));
            let coarser = step.saturating_mul(10);
            let is_finest = step == PRICE_SCALE || quantities.iter().any(|quantity| i64::from(*quantity) % coarser != 0);
            prop_assert!(is_finest);
        }
    }
}

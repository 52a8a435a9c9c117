//! The instruments of a channel: the exchange's numbers to dense indices and to the engine's symbols. Every table has its
//! full size from construction.

use core::str::FromStr;

use peregrine_types::{Price, Symbol, SymbolId, parse_decimal};

use super::messages::DefinitionRoot;
use crate::itch50::{DirectoryFull, SymbolDirectory};

/// Marks an empty slot.
const NONE: u32 = u32::MAX;
/// Prices are sent in 10⁻⁹: a display factor of one.
const ONE: i64 = 1_000_000_000;

/// An instrument by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Index(pub(super) u32);

/// An instrument as the user knows it, where no definition comes: `ID=NAME` or `ID=NAME*FACTOR`, as `170506=ESU8*0.01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownInstrument {
    /// The exchange's number (`SecurityID`).
    pub security_id: i32,
    /// Its name.
    pub symbol: Symbol,
    /// By which prices are multiplied, in 10⁻⁹; above zero.
    pub display_factor: i64,
}

/// Text that names no instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write ID=NAME or ID=NAME*FACTOR, as 170506=ESU8*0.01: a name of 1 to 8 characters, a factor above 0")]
pub struct NoInstrument;

impl FromStr for KnownInstrument {
    type Err = NoInstrument;

    fn from_str(text: &str) -> Result<Self, NoInstrument> {
        let (id, name) = text.split_once('=').ok_or(NoInstrument)?;
        let (name, factor) = name.split_once('*').unwrap_or((name, "1"));
        let factor = parse_decimal(factor).ok().filter(|factor| *factor > 0);
        Ok(Self {
            security_id: id.parse().map_err(|_| NoInstrument)?,
            symbol: Symbol::new(name).filter(|_| !name.is_empty()).ok_or(NoInstrument)?,
            display_factor: factor.ok_or(NoInstrument)?,
        })
    }
}

/// What is known of an instrument.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instrument {
    pub(super) security_id: i32,
    pub(super) symbol: SymbolId,
    /// By which prices are multiplied, in 10⁻⁹; one while no definition came.
    display_factor: i64,
    pub(super) is_defined: bool,
    /// Levels that the exchange tells of the real and of the implied book, as far as a definition said it.
    pub(super) depths: Depths,
    pub(super) group: [u8; 6],
    pub(super) asset: [u8; 6],
}

impl Instrument {
    /// The price that a mantissa stands for; `None` where it cannot be said in 10⁻⁹ exactly.
    #[inline]
    pub(super) fn price(&self, mantissa: i64) -> Option<Price> {
        if self.display_factor == ONE {
            return Some(Price(mantissa));
        }
        let product = i128::from(mantissa).checked_mul(i128::from(self.display_factor))?;
        let (price, rest) = (product.checked_div(i128::from(ONE))?, product.checked_rem(i128::from(ONE))?);
        if rest == 0 { i64::try_from(price).ok().map(Price) } else { None }
    }
}

/// How many levels the exchange tells of the real and of the implied book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Depths {
    pub(super) real: u8,
    pub(super) implied: u8,
}

impl Depths {
    /// Nothing was said: as many as there can be.
    pub(super) const UNKNOWN: Self = Self { real: u8::MAX, implied: u8::MAX };
}

/// The instruments, and the names of their symbols.
#[derive(Clone, Debug)]
pub(super) struct Instruments {
    list: Box<[Instrument]>,
    count: usize,
    /// Open addressing by the exchange's number; twice as many slots as instruments at least, so that probing ends.
    slots: Box<[u32]>,
    pub(super) symbols: SymbolDirectory,
}

/// What a definition changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defined {
    /// The instrument has its name and its factor.
    Named(Index),
    /// It came too late: there are orders of the instrument under another name, factor or depth. Its group was taken.
    Late(Index),
}

impl Instruments {
    pub(super) fn new(count_max: u32) -> Self {
        let symbols = SymbolDirectory::new(count_max);
        let empty = Instrument {
            security_id: 0,
            symbol: SymbolId::MARKET,
            display_factor: ONE,
            is_defined: false,
            depths: Depths::UNKNOWN,
            group: [0; 6],
            asset: [0; 6],
        };
        let slot_count = symbols.capacity().max(1).saturating_mul(2).next_power_of_two();
        let list = vec![empty; symbols.capacity()].into_boxed_slice();
        Self { list, count: 0, slots: vec![NONE; slot_count].into_boxed_slice(), symbols }
    }

    pub(super) fn get(&self, index: Index) -> Option<&Instrument> {
        self.list.get(..self.count)?.get(usize::try_from(index.0).ok()?)
    }

    /// Every instrument in the order of its first appearance.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Index, &Instrument)> {
        (0_u32..).map(Index).zip(self.list.iter().take(self.count))
    }

    /// The instrument with this number; given its place now when it has none, and the number for a name.
    ///
    /// # Errors
    /// [`DirectoryFull`].
    #[inline]
    pub(super) fn resolve(&mut self, security_id: i32) -> Result<(Index, Instrument), DirectoryFull> {
        match self.find(security_id) {
            Ok(found) => Ok(found),
            Err(slot) => self.append(security_id, slot),
        }
    }

    /// The instrument with this number, or the slot that it would have.
    #[inline]
    fn find(&self, security_id: i32) -> Result<(Index, Instrument), usize> {
        let mask = self.slots.len().wrapping_sub(1);
        let hash = u64::from(security_id.cast_unsigned()).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let start = usize::try_from(hash).unwrap_or(0);
        for step in 0..self.slots.len() {
            let slot = start.wrapping_add(step) & mask;
            let index = Index(self.slots.get(slot).copied().unwrap_or(NONE));
            match self.get(index) {
                Some(instrument) if instrument.security_id == security_id => return Ok((index, *instrument)),
                Some(_) => {}
                None => return Err(slot),
            }
        }
        Err(usize::MAX)
    }

    #[cold]
    fn append(&mut self, security_id: i32, slot: usize) -> Result<(Index, Instrument), DirectoryFull> {
        let symbol = self.symbols.insert(numbered(security_id))?;
        self.push(security_id, slot, symbol)
    }

    fn push(&mut self, security_id: i32, slot: usize, symbol: SymbolId) -> Result<(Index, Instrument), DirectoryFull> {
        let index = Index(u32::try_from(self.count).map_err(|_| DirectoryFull)?);
        let (place, entry) = (self.list.get_mut(self.count).ok_or(DirectoryFull)?, self.slots.get_mut(slot));
        *place = Instrument { security_id, symbol, ..*place };
        *entry.ok_or(DirectoryFull)? = index.0;
        self.count = self.count.saturating_add(1);
        Ok((index, *place))
    }

    /// Takes what the user knows of an instrument.
    ///
    /// # Errors
    /// [`DirectoryFull`].
    pub(super) fn know(&mut self, known: &KnownInstrument) -> Result<SymbolId, DirectoryFull> {
        let symbol = self.symbols.insert(known.symbol)?;
        let index = match self.find(known.security_id) {
            Ok((index, _)) => index,
            Err(slot) => self.push(known.security_id, slot, symbol)?.0,
        };
        if let Some(place) = self.list.get_mut(usize::try_from(index.0).unwrap_or(usize::MAX)) {
            (place.symbol, place.display_factor) = (symbol, known.display_factor);
        }
        Ok(symbol)
    }

    /// Takes a definition: name, display factor, group and product. A name of more than eight characters is not taken, its
    /// number stays. Where the instrument `has_orders` already, only what contradicts nothing is taken.
    ///
    /// # Errors
    /// [`DirectoryFull`].
    #[cold]
    pub(super) fn define(
        &mut self,
        definition: &DefinitionRoot,
        depths: Depths,
        has_orders: impl FnOnce(Index) -> bool,
    ) -> Result<Defined, DirectoryFull> {
        let security_id = definition.security_id.get();
        let name = core::str::from_utf8(&definition.symbol).ok().map(|name| name.trim_end_matches(['\0', ' ']));
        let name = name.and_then(Symbol::new).unwrap_or_else(|| numbered(security_id));
        let factor = definition.display_factor.get();
        let factor = if factor > 0 && factor != i64::MAX { factor } else { ONE };
        let index = match self.find(security_id) {
            Err(slot) => {
                let symbol = self.symbols.insert(name)?;
                self.push(security_id, slot, symbol)?.0
            }
            Ok((index, known)) => {
                let is_renamed = self.symbols.name(known.symbol) != Some(name);
                let is_contradicted = is_renamed || known.display_factor != factor || known.depths != depths;
                if is_contradicted && has_orders(index) {
                    self.tell_group(index, definition);
                    return Ok(Defined::Late(index));
                }
                if is_renamed && let Some(place) = self.list.get_mut(usize::try_from(index.0).unwrap_or(usize::MAX)) {
                    place.symbol = self.symbols.insert(name)?;
                }
                index
            }
        };
        if let Some(place) = self.list.get_mut(usize::try_from(index.0).unwrap_or(usize::MAX)) {
            (place.display_factor, place.depths) = (factor, depths);
        }
        self.tell_group(index, definition);
        Ok(Defined::Named(index))
    }

    /// Group and product of a definition, which contradict nothing.
    fn tell_group(&mut self, index: Index, definition: &DefinitionRoot) {
        if let Some(place) = self.list.get_mut(usize::try_from(index.0).unwrap_or(usize::MAX)) {
            (place.group, place.asset) = (definition.security_group, definition.asset);
            place.is_defined = true;
        }
    }
}

/// The name of an instrument of which only the number is known: its digits; where those are more than eight, `?` and the
/// number in base 36.
fn numbered(security_id: i32) -> Symbol {
    let (base, len, mut name) = match u32::try_from(security_id) {
        Ok(id) if id < 100_000_000 => (10, 8_usize, [b' '; 8]),
        _ => (36, 7, *b"?       "),
    };
    let first = 8_usize.saturating_sub(len);
    let mut digits = [b' '; 8];
    let (mut rest, mut count) = (security_id.cast_unsigned(), 0_usize);
    for place in digits.iter_mut().rev() {
        let digit = u8::try_from(rest.checked_rem(base).unwrap_or(0)).unwrap_or(0);
        *place = if digit < 10 { b'0'.saturating_add(digit) } else { b'A'.saturating_add(digit.saturating_sub(10)) };
        count = count.saturating_add(1);
        rest = rest.checked_div(base).unwrap_or(0);
        if rest == 0 {
            break;
        }
    }
    let shown = digits.iter().skip(8_usize.saturating_sub(count));
    name.iter_mut().skip(first).zip(shown).for_each(|(place, digit)| *place = *digit);
    Symbol(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn definition(security_id: i32, name: &str, factor: i64) -> DefinitionRoot {
        let mut root = DefinitionRoot::new_zeroed();
        (root.security_id, root.display_factor) = (security_id.into(), factor.into());
        root.symbol[..name.len()].copy_from_slice(name.as_bytes());
        root
    }

    #[test]
    fn what_the_user_knows_stands_until_a_definition_comes() {
        for wrong in ["", "170506", "170506=", "x=ESU8", "1=TOOLONGNAME", "1=A*0", "1=A*-1", "1=A*x"] {
            assert_eq!(wrong.parse::<KnownInstrument>(), Err(NoInstrument), "{wrong}");
        }
        let mut instruments = Instruments::new(2);
        assert_eq!(instruments.know(&"170506=ESU8*0.01".parse().unwrap()), Ok(SymbolId(0)));
        assert_eq!(instruments.know(&"7=NQU8".parse().unwrap()), Ok(SymbolId(1)));
        let (_, instrument) = instruments.resolve(170_506).unwrap();
        assert_eq!(
            (instrument.symbol, instrument.price(290_025_000_000_000)),
            (SymbolId(0), Some(Price(2_900_250_000_000)))
        );
        assert_eq!(instruments.resolve(7).unwrap().1.price(5), Some(Price(5)));
        assert!(instruments.know(&"8=YMU8".parse().unwrap()).is_err(), "two symbols");
        instruments.define(&definition(170_506, "ESU8", ONE), Depths::UNKNOWN, |_| false).unwrap();
        assert_eq!(instruments.resolve(170_506).unwrap().1.price(5), Some(Price(5)));
    }

    #[test]
    fn an_instrument_is_called_by_its_number_until_it_has_a_name() {
        let mut instruments = Instruments::new(3);
        assert_eq!(numbered(170_506), Symbol::new("170506").unwrap());
        assert_eq!(numbered(0), Symbol::new("0").unwrap());
        assert_eq!(numbered(99_999_999), Symbol::new("99999999").unwrap());
        assert_eq!(numbered(100_000_000), Symbol::new("?1NJCHS").unwrap());
        assert_eq!(numbered(-1), Symbol::new("?1Z141Z3").unwrap());
        let (index, instrument) = instruments.resolve(170_506).unwrap();
        assert_eq!((index, instrument.symbol), (Index(0), SymbolId(0)));
        assert_eq!(instruments.resolve(170_506).unwrap().0, Index(0));
        let named = definition(170_506, "ESU8", 10_000_000);
        assert_eq!(
            instruments.define(&named, Depths::UNKNOWN, |_| true),
            Ok(Defined::Late(Index(0))),
            "orders stand under the number"
        );
        assert_eq!(instruments.define(&named, Depths::UNKNOWN, |_| false), Ok(Defined::Named(Index(0))));
        let instrument = *instruments.get(Index(0)).unwrap();
        assert_eq!(instruments.symbols.name(instrument.symbol), Symbol::new("ESU8"));
        assert_eq!(instrument.price(290_025_000_000_000), Some(Price(2_900_250_000_000)));
        assert_eq!(instrument.price(50), None, "finer than 10⁻⁹");
        assert_eq!(
            instruments.define(&definition(7, "ES:BF U8-Z8-H9", ONE), Depths::UNKNOWN, |_| false),
            Ok(Defined::Named(Index(1)))
        );
        assert_eq!(instruments.symbols.name(instruments.get(Index(1)).unwrap().symbol), Symbol::new("7"));
        assert!(instruments.resolve(9).is_err(), "three symbols: number, name, number");
    }
}

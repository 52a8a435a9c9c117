//! The symbol directory of a session: names to dense identifiers and back, and the venue's locate codes to
//! identifiers. Every table has its full size from construction.

use peregrine_types::{Symbol, SymbolId};

/// Locate codes that ITCH can express.
const LOCATE_COUNT: usize = 1 << 16;
/// Marks an empty slot or a locate without symbol; never an identifier, because it is [`SymbolId::MARKET`]'s number.
const NONE: u32 = SymbolId::MARKET.0;
/// Most symbols that a directory can be made for.
pub const SYMBOL_COUNT_MAX: u32 = 1 << 20;

/// The names of a session's symbols, numbered densely from 0 by first appearance.
#[derive(Clone, Debug)]
pub struct SymbolDirectory {
    symbols: Box<[Symbol]>,
    count: u32,
    /// Open addressing by [`Symbol::key`]; at least twice as many slots as symbols, so that probing ends.
    slots: Box<[u32]>,
    locates: Box<[u32; LOCATE_COUNT]>,
}

/// The directory has no room for another symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the symbol directory is full: raise symbol_count_max")]
pub struct DirectoryFull;

impl SymbolDirectory {
    /// An empty directory with room for `symbol_count_max` symbols, at most [`SYMBOL_COUNT_MAX`].
    #[must_use]
    pub fn new(symbol_count_max: u32) -> Self {
        let capacity = symbol_count_max.min(SYMBOL_COUNT_MAX) as usize;
        let slot_count = capacity.max(1).saturating_mul(2).next_power_of_two();
        Self {
            symbols: vec![Symbol([b' '; 8]); capacity].into_boxed_slice(),
            count: 0,
            slots: vec![NONE; slot_count].into_boxed_slice(),
            locates: Box::new([NONE; LOCATE_COUNT]),
        }
    }

    /// How many symbols have an identifier.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// How many symbols there is room for.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.symbols.len()
    }

    /// The name of `id`, `None` when no symbol has it. A symbol of which only the locate is known so far is called
    /// `?` and the locate.
    #[must_use]
    pub fn name(&self, id: SymbolId) -> Option<Symbol> {
        if id.0 < self.count { self.symbols.get(id.index()).copied() } else { None }
    }

    /// Whether `id` is the symbol of this name.
    #[inline]
    pub(crate) fn is_called(&self, id: SymbolId, symbol: Symbol) -> bool {
        let known = self.symbols.get(id.index()).copied().unwrap_or(symbol);
        u64::from_ne_bytes(known.0) == u64::from_ne_bytes(symbol.0)
    }

    /// The identifier of `symbol`, `None` when it has not appeared.
    #[must_use]
    pub fn id(&self, symbol: Symbol) -> Option<SymbolId> {
        self.slots_from(symbol)
            .map(|(_, id)| id)
            .take_while(|id| id.0 != NONE)
            .find(|id| self.name(*id) == Some(symbol))
    }

    /// Every symbol in the order of its identifier.
    pub fn iter(&self) -> impl Iterator<Item = (SymbolId, Symbol)> + '_ {
        (0..self.count).zip(&self.symbols).map(|(id, symbol)| (SymbolId(id), *symbol))
    }

    /// The identifier that `locate` stands for, [`SymbolId::MARKET`] when none was announced.
    #[inline]
    #[must_use]
    pub fn by_locate(&self, locate: u16) -> SymbolId {
        SymbolId(self.locates.get(usize::from(locate)).copied().unwrap_or(NONE))
    }

    /// The identifier of `symbol`, given now when it has none.
    ///
    /// # Errors
    /// [`DirectoryFull`] when it needs one and there is no room.
    pub fn insert(&mut self, symbol: Symbol) -> Result<SymbolId, DirectoryFull> {
        match self.id(symbol) {
            Some(id) => Ok(id),
            None => self.append(symbol),
        }
    }

    /// Lets `locate` stand for `symbol`. When the locate already stood for a nameless symbol (see
    /// [`SymbolDirectory::insert_nameless`]) and `symbol` is new, that symbol gets the name and keeps its identifier.
    ///
    /// # Errors
    /// [`DirectoryFull`] when the symbol needs an identifier and there is no room.
    pub fn announce(&mut self, locate: u16, symbol: Symbol) -> Result<SymbolId, DirectoryFull> {
        let before = self.by_locate(locate);
        let is_nameless = self.is_nameless(locate);
        let id = match self.id(symbol) {
            Some(id) => id,
            None if is_nameless => {
                if let Some(name) = self.symbols.get_mut(before.index()) {
                    *name = symbol;
                }
                self.link(symbol, before);
                before
            }
            None => self.append(symbol)?,
        };
        if let Some(entry) = self.locates.get_mut(usize::from(locate)) {
            *entry = id.0;
        }
        Ok(id)
    }

    /// Whether `locate` stands for a symbol whose name is not known yet.
    #[must_use]
    pub(crate) fn is_nameless(&self, locate: u16) -> bool {
        self.name(self.by_locate(locate)) == Some(nameless(locate))
    }

    /// Lets `locate` stand for a symbol whose name is not known yet.
    ///
    /// # Errors
    /// [`DirectoryFull`] when there is no room.
    pub fn insert_nameless(&mut self, locate: u16) -> Result<SymbolId, DirectoryFull> {
        self.announce(locate, nameless(locate))
    }

    /// Forgets what the locates stand for; identifiers and names stay. To be called when a session begins.
    pub fn forget_locates(&mut self) {
        self.locates.fill(NONE);
    }

    fn append(&mut self, symbol: Symbol) -> Result<SymbolId, DirectoryFull> {
        let id = SymbolId(self.count);
        let name = self.symbols.get_mut(id.index()).ok_or(DirectoryFull)?;
        *name = symbol;
        self.count = self.count.saturating_add(1);
        self.link(symbol, id);
        Ok(id)
    }

    /// Puts `id` into the first empty slot of `symbol`'s probe sequence. Each identifier takes two slots at most (a
    /// nameless one that is renamed leaves one behind), and there are two for each.
    fn link(&mut self, symbol: Symbol, id: SymbolId) {
        let free = self.slots_from(symbol).find(|(_, taken)| taken.0 == NONE).map(|(slot, _)| slot);
        if let Some(slot) = free.and_then(|slot| self.slots.get_mut(slot)) {
            *slot = id.0;
        }
    }

    /// The probe sequence of `symbol`: each slot once, with what it holds.
    fn slots_from(&self, symbol: Symbol) -> impl Iterator<Item = (usize, SymbolId)> + '_ {
        let mask = self.slots.len().wrapping_sub(1);
        let start = (symbol.key().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize;
        (0..self.slots.len()).map_while(move |step| {
            let slot = start.wrapping_add(step) & mask;
            self.slots.get(slot).map(|id| (slot, SymbolId(*id)))
        })
    }
}

/// The name of a symbol of which only the locate is known: `?` and the locate's digits.
fn nameless(locate: u16) -> Symbol {
    let mut name = *b"?       ";
    let mut rest = locate;
    for digit in name.iter_mut().skip(1).take(5).rev() {
        *digit = b'0'.saturating_add(u8::try_from(rest % 10).unwrap_or(0));
        rest /= 10;
    }
    Symbol(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn symbol(text: &str) -> Symbol {
        Symbol::new(text).unwrap()
    }

    #[test]
    fn identifiers_are_dense_by_first_appearance_and_bounded() {
        let mut directory = SymbolDirectory::new(2);
        assert_eq!(directory.announce(7, symbol("A")), Ok(SymbolId(0)));
        assert_eq!(directory.insert(symbol("B")), Ok(SymbolId(1)));
        assert_eq!(directory.announce(8, symbol("A")), Ok(SymbolId(0)));
        assert_eq!(directory.insert(symbol("C")), Err(DirectoryFull));
        assert_eq!(directory.insert_nameless(9), Err(DirectoryFull));
        assert_eq!((directory.by_locate(7), directory.by_locate(8)), (SymbolId(0), SymbolId(0)));
        assert_eq!(directory.by_locate(9), SymbolId::MARKET);
        assert_eq!(directory.iter().collect::<Vec<_>>(), [(SymbolId(0), symbol("A")), (SymbolId(1), symbol("B"))]);
        directory.forget_locates();
        assert_eq!(directory.by_locate(7), SymbolId::MARKET);
        assert_eq!(directory.id(symbol("B")), Some(SymbolId(1)));
    }

    #[test]
    fn a_nameless_symbol_gets_its_name_later() {
        let mut directory = SymbolDirectory::new(3);
        assert_eq!(directory.insert_nameless(13), Ok(SymbolId(0)));
        assert_eq!(directory.name(SymbolId(0)), Some(symbol("?00013")));
        assert_eq!(directory.announce(13, symbol("AAPL")), Ok(SymbolId(0)));
        assert_eq!(
            (directory.name(SymbolId(0)), directory.id(symbol("AAPL"))),
            (Some(symbol("AAPL")), Some(SymbolId(0)))
        );
        assert_eq!(directory.id(symbol("?00013")), None);
        assert_eq!(directory.insert(symbol("IPO")), Ok(SymbolId(1)));
        assert_eq!(directory.insert_nameless(14), Ok(SymbolId(2)));
        assert_eq!(directory.announce(14, symbol("IPO")), Ok(SymbolId(1)), "the name decides");
    }

    proptest! {
        #[test]
        fn the_directory_equals_a_list(names in prop::collection::vec(0_u64..40, 0..80)) {
            let mut directory = SymbolDirectory::new(30);
            let mut list: Vec<u64> = Vec::new();
            for name in names {
                let wanted = match list.iter().position(|known| *known == name) {
                    Some(at) => Ok(at),
                    None if list.len() < 30 => {
                        list.push(name);
                        Ok(list.len().saturating_sub(1))
                    }
                    None => Err(DirectoryFull),
                };
                prop_assert_eq!(directory.insert(Symbol::from_key(name)).map(SymbolId::index), wanted);
            }
            prop_assert_eq!(directory.count() as usize, list.len());
        }
    }
}

//! Identifiers. Each is a type of its own, so that a venue's order reference never meets our own order id.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id! {
    /// An instrument of this session: dense from 0 in order of first appearance, never the venue's own locate code.
    SymbolId(u32)
}
id! {
    /// The venue's reference of an order on its public book (ITCH `Order Reference Number`): unique per day and
    /// market, neither increasing nor dense.
    OrderRef(u64)
}
id! {
    /// The venue's number of an execution (ITCH `Match Number`): unique per day and market.
    MatchNumber(u64)
}
id! {
    /// One of our own orders: dense from 1 in the order in which the risk gate approved them. 0 is no order.
    OrderId(u64)
}
id! {
    /// The position of a market event in the input of the decide role, from 0: the name by which the log refers to it.
    EventSeq(u64)
}

impl SymbolId {
    /// The whole market: the id that events carry when they are about no single symbol (ITCH locate 0).
    pub const MARKET: Self = Self(u32::MAX);

    /// This id as an index into a per-symbol table.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A venue symbol: eight bytes, ASCII, left-justified and padded with spaces (ITCH 5.0, `Stock`).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct Symbol(pub [u8; 8]);

impl Symbol {
    /// The symbol written as `text`, or `None` when it is empty, longer than eight bytes or not printable ASCII.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.is_empty() || bytes.len() > 8 || !bytes.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let mut padded = [b' '; 8];
        for (to, from) in padded.iter_mut().zip(bytes) {
            *to = *from;
        }
        Some(Self(padded))
    }

    /// The eight bytes as one integer, first byte most significant: a cheap key that sorts like the text.
    #[must_use]
    pub const fn key(self) -> u64 {
        u64::from_be_bytes(self.0)
    }

    /// The symbol of a [`Symbol::key`].
    #[must_use]
    pub const fn from_key(key: u64) -> Self {
        Self(key.to_be_bytes())
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trimmed = self.0.trim_ascii_end();
        let mut text = [b'?'; 8];
        for (to, from) in text.iter_mut().zip(trimmed) {
            *to = if from.is_ascii_graphic() { *from } else { b'?' };
        }
        let shown = text.get(..trimmed.len()).unwrap_or_default();
        f.pad(core::str::from_utf8(shown).unwrap_or("?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_pad_with_spaces_and_show_without() {
        let aapl = Symbol::new("AAPL").unwrap();
        assert_eq!(aapl.0, *b"AAPL    ");
        assert_eq!(aapl.to_string(), "AAPL");
        assert_eq!(Symbol::from_key(aapl.key()), aapl);
        assert_eq!(Symbol::new(""), None);
        assert_eq!(Symbol::new("TOOLONGXX"), None);
        assert_eq!(Symbol::new("A B"), None);
        assert_eq!(Symbol(*b"\0A\xff     ").to_string(), "?A?");
    }
}

//! The sheet's rules, once more and for the eye: reads numbers at the offsets that the sheet gives, keeps orders by price and
//! priority, and levels as a list. Trades change no book.

use std::collections::BTreeMap;

/// Price and priority; number and quantity.
type Queue = BTreeMap<(u64, u64), (u64, u32)>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Twin {
    /// Instrument and `MDEntryType`.
    pub(crate) orders: BTreeMap<(u32, u8), Queue>,
    /// Instrument and `MDEntryType`; price and quantity from the first rank on.
    pub(crate) levels: BTreeMap<(u32, u8), Vec<(u64, u64)>>,
}

fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn int(bytes: &[u8], at: usize) -> u32 {
    u32::try_from(number(bytes, at, 4)).unwrap()
}

/// The entries of a group whose count stands at `count_at` of a dimension of `len` bytes, and what follows.
fn entries(bytes: &[u8], len: usize, count_at: usize) -> (Vec<&[u8]>, &[u8]) {
    let size = usize::try_from(number(bytes, 0, 2)).unwrap();
    let (list, rest) = bytes[len..].split_at(size * usize::from(bytes[count_at]));
    (list.chunks(size.max(1)).collect(), rest)
}

impl Twin {
    pub(crate) fn packet(&mut self, payload: &[u8]) {
        let mut rest = &payload[12..];
        while !rest.is_empty() {
            let size = usize::try_from(number(rest, 0, 2)).unwrap();
            let (message, tail) = rest.split_at(size);
            rest = tail;
            let groups = &message[10 + usize::try_from(number(message, 2, 2)).unwrap()..];
            match number(message, 4, 2) {
                4 => *self = Self::default(),
                46 => self.book(groups, |entry| (int(entry, 12), entry[24], entry[25], entry[26], number(entry, 8, 4))),
                64 => self.book(groups, |entry| (int(entry, 16), entry[28], entry[29], entry[30], number(entry, 8, 8))),
                47 => {
                    for entry in entries(groups, 3, 2).0 {
                        let key = (int(entry, 28), entry[33]);
                        self.order(
                            key,
                            entry[32],
                            number(entry, 16, 8),
                            (number(entry, 0, 8), number(entry, 8, 8), int(entry, 24)),
                        );
                    }
                }
                _ => {}
            }
        }
    }

    fn book(&mut self, groups: &[u8], read: impl Fn(&[u8]) -> (u32, u8, u8, u8, u64)) {
        let (levels, rest) = entries(groups, 3, 2);
        for entry in &levels {
            let (instrument, rank, action, entry_type, qty) = read(entry);
            self.level((instrument, entry_type), usize::from(rank), action, (number(entry, 0, 8), qty));
        }
        for order in entries(rest, 8, 7).0 {
            let level = levels[usize::from(order[20]) - 1];
            let (instrument, _, _, entry_type, _) = read(level);
            let told = (number(order, 0, 8), number(order, 8, 8), int(order, 16));
            self.order((instrument, entry_type), order[21], number(level, 0, 8), told);
        }
    }

    fn clear(&mut self, instrument: u32) {
        self.orders.retain(|key, _| key.0 != instrument);
        self.levels.retain(|key, _| key.0 != instrument);
    }

    fn order(&mut self, key: (u32, u8), action: u8, price: u64, (id, priority, qty): (u64, u64, u32)) {
        if key.1 == b'J' {
            return self.clear(key.0);
        }
        let side = self.orders.entry(key).or_default();
        side.retain(|_, order| order.0 != id);
        if action != 2 {
            side.insert((price, priority), (id, qty));
        }
    }

    fn level(&mut self, key: (u32, u8), rank: usize, action: u8, level: (u64, u64)) {
        if key.1 == b'J' {
            return self.clear(key.0);
        }
        let depth = if matches!(key.1, b'0' | b'1') { 10 } else { 2 };
        let side = self.levels.entry(key).or_default();
        match action {
            0 => side.insert(rank - 1, level),
            1 | 5 => side[rank - 1] = level,
            2 => drop(side.remove(rank - 1)),
            3 => side.clear(),
            4 => drop(side.drain(..rank)),
            other => unreachable!("action {other}"),
        }
        side.truncate(depth);
    }
}

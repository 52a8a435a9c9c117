//! From numbers that outside parties give (order ids, match numbers) to slots of a table. Fixed capacity.

/// No slot.
const NONE: u32 = u32::MAX;

/// A map from numbers other than 0 to slots with linear probing, at most half full, without tombstones. All memory is
/// taken at construction.
#[derive(Debug)]
pub struct NumberMap {
    entries: Box<[(u64, u32)]>,
    mask: usize,
}

impl NumberMap {
    /// An empty map with room for `capacity` numbers.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let len = capacity.max(4).saturating_mul(2).next_power_of_two();
        Self { entries: vec![(0, NONE); len].into_boxed_slice(), mask: len.saturating_sub(1) }
    }

    /// Where probing for `number` begins. Multiplication by 2⁶⁴/φ (Knuth, The Art of Computer Programming 3, 6.4).
    fn home(&self, number: u64) -> usize {
        let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        usize::try_from(mixed).unwrap_or(0) & self.mask
    }

    /// Reads whatever putting in, finding or removing `number` would read: from where probing for it begins to the next free
    /// place, which is in another line more often than not. The result means nothing.
    #[inline]
    #[must_use]
    pub fn touch(&self, number: u64) -> u64 {
        let (mut at, mut read) = (self.home(number), 0);
        for _ in 0..self.entries.len() {
            match self.entries.get(at) {
                Some((0, _)) | None => break,
                Some((found, _)) => read ^= *found,
            }
            at = at.wrapping_add(1) & self.mask;
        }
        read
    }

    /// The slot of `number`.
    #[must_use]
    #[inline]
    pub fn get(&self, number: u64) -> Option<u32> {
        if number == 0 { None } else { self.find(number).1 }
    }

    /// The place of `number`, or the free place where it belongs.
    fn find(&self, number: u64) -> (usize, Option<u32>) {
        let mut at = self.home(number);
        for _ in 0..self.entries.len() {
            match self.entries.get(at) {
                Some((found, slot)) if *found == number => return (at, Some(*slot)),
                Some((0, _)) | None => return (at, None),
                Some(_) => at = at.wrapping_add(1) & self.mask,
            }
        }
        (at, None)
    }

    /// Gives `number` a slot, in place of the one that it had. The caller keeps to the capacity; 0 is left out.
    pub fn insert(&mut self, number: u64, slot: u32) {
        if number == 0 {
            return;
        }
        let (at, _) = self.find(number);
        if let Some(entry) = self.entries.get_mut(at) {
            *entry = (number, slot);
        }
    }

    /// Removes `number` and moves back what probing would no longer find.
    pub fn remove(&mut self, number: u64) {
        if number == 0 {
            return;
        }
        let (mut hole, Some(_)) = self.find(number) else {
            return;
        };
        let mut at = hole;
        for _ in 0..self.entries.len() {
            at = at.wrapping_add(1) & self.mask;
            let Some((found, slot)) = self.entries.get(at).copied().filter(|entry| entry.0 != 0) else {
                break;
            };
            let (from_home, from_hole) =
                (at.wrapping_sub(self.home(found)) & self.mask, at.wrapping_sub(hole) & self.mask);
            if from_home >= from_hole {
                if let Some(entry) = self.entries.get_mut(hole) {
                    *entry = (found, slot);
                }
                hole = at;
            }
        }
        if let Some(entry) = self.entries.get_mut(hole) {
            *entry = (0, NONE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn the_map_is_a_map(steps in prop::collection::vec((1_u64..40, any::<bool>()), 1..200)) {
            let mut map = NumberMap::new(20);
            let mut naive = BTreeMap::new();
            for (index, (number, is_insert)) in steps.into_iter().enumerate() {
                if is_insert && naive.len() < 20 {
                    naive.insert(number, u32::try_from(index).unwrap());
                    map.insert(number, u32::try_from(index).unwrap());
                } else {
                    naive.remove(&number);
                    map.remove(number);
                }
                for number in 0..40 {
                    prop_assert_eq!(map.get(number), naive.get(&number).copied());
                }
            }
        }
    }
}

//! The calendar of what is due: a binary heap for the slice of time at hand and unsorted lists for the slices to
//! come, so that the heap stays small however many orders wait for their end. Ties are broken by the payload, so the
//! order of events does not depend on how they got here.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Payloads by time, in nanoseconds since midnight.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    near: BinaryHeap<Reverse<u128>>,
    far: Vec<Vec<u128>>,
    spare: Vec<Vec<u128>>,
    slice: usize,
    slice_len: u64,
    start: u64,
}

impl Calendar {
    /// A calendar from `start` to `end` in about `slice_count` slices; what is later than `end` shares the last one.
    pub(crate) fn new(start: u64, end: u64, slice_count: u64) -> Self {
        let slice_count = slice_count.clamp(16, 1 << 20);
        let slice_len = ((end - start) / slice_count).max(1);
        let far = vec![Vec::new(); usize::try_from(slice_count).unwrap_or(16)];
        Self { near: BinaryHeap::new(), far, spare: Vec::new(), slice: 0, slice_len, start }
    }

    /// Notes `payload` for `time`.
    #[inline]
    pub(crate) fn push(&mut self, time: u64, payload: u64) {
        let entry = (u128::from(time) << 64) | u128::from(payload);
        let slice = usize::try_from(time.saturating_sub(self.start) / self.slice_len).unwrap_or(usize::MAX);
        let slice = slice.min(self.far.len() - 1);
        if slice <= self.slice {
            self.near.push(Reverse(entry));
            return;
        }
        let list = &mut self.far[slice];
        if list.capacity() == 0
            && let Some(spare) = self.spare.pop()
        {
            *list = spare;
        }
        list.push(entry);
    }

    /// The earliest entry, or `None` when nothing is left.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(u64, u64)> {
        loop {
            if let Some(Reverse(entry)) = self.near.pop() {
                return Some(unpack(entry));
            }
            self.slice += 1;
            let list = self.far.get_mut(self.slice)?;
            if list.capacity() > 0 {
                let mut list = core::mem::take(list);
                self.near.extend(list.drain(..).map(Reverse));
                self.spare.push(list);
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "takes the two halves apart")]
const fn unpack(entry: u128) -> (u64, u64) {
    ((entry >> 64) as u64, entry as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn entries_come_out_in_order_whatever_the_slices(
            times in proptest::collection::vec((0_u64..2_000, 0_u64..9), 1..200), slices in 1_u64..100,
        ) {
            let mut calendar = Calendar::new(100, 1_000, slices);
            let mut expected = Vec::new();
            for &(time, payload) in &times {
                calendar.push(time, payload);
                expected.push((time, payload));
            }
            expected.sort_unstable();
            let mut got = Vec::new();
            while let Some(entry) = calendar.pop() {
                got.push(entry);
            }
            prop_assert_eq!(got, expected);
            prop_assert_eq!(calendar.pop(), None);
        }

        #[test]
        fn entries_pushed_while_popping_keep_the_order(delays in proptest::collection::vec(0_u64..400, 1..100)) {
            let mut calendar = Calendar::new(0, 1_000, 37);
            calendar.push(0, 0);
            let (mut last, mut left) = (0, delays.as_slice());
            while let Some((time, _)) = calendar.pop() {
                prop_assert!(time >= last);
                last = time;
                for _ in 0..2 {
                    if let Some((delay, rest)) = left.split_first() {
                        left = rest;
                        calendar.push(time + delay, 1);
                    }
                }
            }
            prop_assert!(left.is_empty());
        }
    }
}

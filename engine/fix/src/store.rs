//! What was sent, kept to be sent again: bounded, the oldest goes first.

use std::collections::VecDeque;

use peregrine_types::EpochNanos;

/// One message that was sent or waits to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) msg_type: &'a str,
    pub(crate) is_session: bool,
    pub(crate) is_poss_resend: bool,
    /// When it went out first; until then, when it was kept.
    pub(crate) time: EpochNanos,
    pub(crate) body: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    msg_type: [u8; 2],
    is_session: bool,
    is_poss_resend: bool,
    time: EpochNanos,
    begin: usize,
    end: usize,
}

/// Messages with consecutive numbers in a ring of bytes.
#[derive(Debug)]
pub(crate) struct SentStore {
    entries: VecDeque<Entry>,
    /// Number of the first entry.
    first: u64,
    bytes: Box<[u8]>,
    head: usize,
    count_max: usize,
}

impl SentStore {
    pub(crate) fn new(count_max: usize, byte_count_max: usize) -> Self {
        let count_max = count_max.max(1);
        let bytes = vec![0; byte_count_max].into_boxed_slice();
        Self { entries: VecDeque::with_capacity(count_max), first: 1, bytes, head: 0, count_max }
    }

    /// Forgets everything; the next message has this number.
    pub(crate) fn begin_at(&mut self, number: u64) {
        self.entries.clear();
        (self.first, self.head) = (number, 0);
    }

    /// Forgets what is below a number; what is left has numbers from `first` on.
    pub(crate) fn renumber(&mut self, from: u64, first: u64) {
        let gone = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.entries.drain(..gone.min(self.entries.len()));
        self.first = first;
    }

    /// Number of the message that comes next.
    pub(crate) fn next_number(&self) -> u64 {
        self.first.saturating_add(u64::try_from(self.entries.len()).unwrap_or(u64::MAX))
    }

    /// The oldest number that is kept.
    pub(crate) const fn first_number(&self) -> u64 {
        self.first
    }

    pub(crate) fn get(&self, number: u64) -> Option<Sent<'_>> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let entry = self.entries.get(index)?;
        let len = if entry.msg_type[1] == 0 { 1 } else { 2 };
        let msg_type = core::str::from_utf8(entry.msg_type.get(..len)?).ok()?;
        let Entry { is_session, is_poss_resend, time, .. } = *entry;
        Some(Sent { msg_type, is_session, is_poss_resend, time, body: self.bytes.get(entry.begin..entry.end)? })
    }

    /// Says when a message went out for the first time.
    pub(crate) fn set_time(&mut self, number: u64, time: EpochNanos) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) {
            entry.time = time;
        }
    }

    /// Keeps a message under the next number. The oldest go for it, but none from `keep_from` on: then, and when it is
    /// larger than the store, it is not kept and `None` is returned.
    pub(crate) fn push(&mut self, sent: &Sent<'_>, keep_from: u64) -> Option<u64> {
        let len = sent.body.len();
        let msg_type = match sent.msg_type.as_bytes() {
            [one] => [*one, 0],
            [one, two] => [*one, *two],
            _ => return None,
        };
        if len > self.bytes.len() {
            return None;
        }
        let is_wrapping = self.head.saturating_add(len) > self.bytes.len();
        let begin = if is_wrapping { 0 } else { self.head };
        let end = begin.saturating_add(len);
        let old_head = self.head;
        let is_in_the_way = |entry: &Entry| {
            let is_old = is_wrapping && entry.begin >= old_head;
            let is_overlapping = entry.begin < end && entry.end > begin;
            (is_old || is_overlapping) && entry.begin < entry.end
        };
        // What is in the way is the oldest: see how much of it may go before anything does.
        let mut gone = self.entries.iter().rposition(is_in_the_way).map_or(0, |last| last.saturating_add(1));
        if self.entries.len() >= self.count_max {
            gone = gone.max(1);
        }
        let first = self.first.saturating_add(u64::try_from(gone).unwrap_or(u64::MAX));
        if first > keep_from {
            return None;
        }
        self.entries.drain(..gone);
        self.first = first;
        self.bytes.get_mut(begin..end)?.copy_from_slice(sent.body);
        self.head = end;
        let number = self.next_number();
        let Sent { is_session, is_poss_resend, time, .. } = *sent;
        self.entries.push_back(Entry { msg_type, is_session, is_poss_resend, time, begin, end });
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sent(body: &[u8]) -> Sent<'_> {
        Sent { msg_type: "D", is_session: false, is_poss_resend: false, time: EpochNanos(1), body }
    }

    #[test]
    fn what_was_not_sent_yet_is_not_given_up() {
        let mut store = SentStore::new(2, 100);
        assert_eq!(
            (store.push(&sent(b"a"), 1), store.push(&sent(b"b"), 1), store.push(&sent(b"c"), 1)),
            (Some(1), Some(2), None)
        );
        assert_eq!((store.push(&sent(b"c"), 2), store.get(1).is_none()), (Some(3), true));
        assert_eq!(store.push(&sent(&[0; 101]), 9), None);
        store.begin_at(7);
        assert_eq!((store.next_number(), store.push(&sent(b"x"), 7)), (7, Some(7)));
        assert_eq!(store.push(&sent(b"y"), 7), Some(8));
        store.renumber(8, 2);
        assert_eq!((store.first_number(), store.next_number(), store.get(2).unwrap().body), (2, 3, &b"y"[..]));
        store.renumber(99, 5);
        assert_eq!((store.first_number(), store.next_number()), (5, 5));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_was_pushed(lens in prop::collection::vec(0_usize..30, 1..200), count_max in 1_usize..20) {
            let mut store = SentStore::new(count_max, 64);
            let mut all: Vec<Vec<u8>> = Vec::new();
            for (index, len) in lens.into_iter().enumerate() {
                let body = vec![u8::try_from(index).unwrap(); len];
                prop_assert_eq!(store.push(&sent(&body), u64::MAX), Some(all.len() as u64 + 1));
                all.push(body);
                for number in store.first_number()..store.next_number() {
                    prop_assert_eq!(store.get(number).unwrap().body, &all[usize::try_from(number - 1).unwrap()][..]);
                }
                prop_assert!(store.next_number() - store.first_number() <= count_max as u64);
                prop_assert!(store.get(store.next_number()).is_none());
            }
        }
    }
}

//! The numbered messages of a session, kept for whoever asks again.

/// Messages numbered from 1, in memory of fixed size.
#[derive(Debug)]
pub struct MessageStore {
    bytes: Box<[u8]>,
    /// Where each message ends.
    ends: Box<[usize]>,
    count: usize,
}

/// The store has no room for another message: it was made too small for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of sequenced messages is full: make it larger for such a session")]
pub struct StoreFull;

impl MessageStore {
    /// An empty store for `message_count_max` messages of `byte_count_max` bytes together.
    #[must_use]
    pub fn new(message_count_max: usize, byte_count_max: usize) -> Self {
        Self {
            bytes: vec![0; byte_count_max].into_boxed_slice(),
            ends: vec![0; message_count_max].into_boxed_slice(),
            count: 0,
        }
    }

    /// How many messages there are: the number of the last one, 0 for none.
    #[must_use]
    pub fn last_sequence_number(&self) -> u64 {
        u64::try_from(self.count).unwrap_or(u64::MAX)
    }

    /// The number that the next message gets.
    #[must_use]
    pub fn next_sequence_number(&self) -> u64 {
        self.last_sequence_number().saturating_add(1)
    }

    /// Keeps a message and gives it the next number.
    ///
    /// # Errors
    /// [`StoreFull`] when there is no room; nothing changed then.
    pub fn push(&mut self, message: &[u8]) -> Result<u64, StoreFull> {
        let start = self.end_of(self.count);
        let end = start.checked_add(message.len()).ok_or(StoreFull)?;
        let slot = self.ends.get_mut(self.count).ok_or(StoreFull)?;
        self.bytes.get_mut(start..end).ok_or(StoreFull)?.copy_from_slice(message);
        *slot = end;
        self.count = self.count.saturating_add(1);
        Ok(self.last_sequence_number())
    }

    /// The message with a number, `None` when there is none.
    #[must_use]
    pub fn get(&self, sequence_number: u64) -> Option<&[u8]> {
        let number = usize::try_from(sequence_number).ok()?;
        if number > self.count {
            return None;
        }
        self.bytes.get(self.end_of(number.checked_sub(1)?)..self.end_of(number))
    }

    /// Begins another session: the store is empty.
    pub const fn clear(&mut self) {
        self.count = 0;
    }

    /// Where the first `count` messages end.
    fn end_of(&self, count: usize) -> usize {
        count.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_numbered_from_one_and_kept() {
        let mut store = MessageStore::new(3, 10);
        assert_eq!((store.next_sequence_number(), store.get(0), store.get(1)), (1, None, None));
        assert_eq!((store.push(b"abc"), store.push(b""), store.push(b"12345678")), (Ok(1), Ok(2), Err(StoreFull)));
        assert_eq!((store.push(b"1234567"), store.push(b"")), (Ok(3), Err(StoreFull)));
        let all: Vec<_> = (0..6).map(|number| store.get(number)).collect();
        assert_eq!(all, [None, Some(&b"abc"[..]), Some(b""), Some(b"1234567"), None, None]);
        store.clear();
        assert_eq!((store.last_sequence_number(), store.get(1)), (0, None));
    }
}

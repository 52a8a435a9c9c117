//! Messages that came before others that are missing, kept until their turn comes.

use std::collections::BTreeMap;

/// One message that came too early.
#[derive(Debug)]
pub(super) struct EarlyMessage {
    /// All its bytes; none when it was answered.
    pub(super) bytes: Vec<u8>,
    /// Whether it was answered when it came: only its number is left to be used up.
    pub(super) is_answered: bool,
}

/// Such messages by their numbers, at most so many bytes.
#[derive(Debug)]
pub(super) struct Early {
    messages: BTreeMap<u64, EarlyMessage>,
    len: usize,
    len_max: usize,
}

/// What an entry takes beside the message's bytes, rounded up: it bounds how many short ones there are.
const ENTRY_LEN: usize = 64;

impl Early {
    pub(super) const fn new(len_max: usize) -> Self {
        Self { messages: BTreeMap::new(), len: 0, len_max }
    }

    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.len = 0;
    }

    /// Keeps a message if there is room and its number is not there.
    pub(super) fn insert(&mut self, number: u64, bytes: &[u8], is_answered: bool) {
        let len = self.len.saturating_add(bytes.len()).saturating_add(ENTRY_LEN);
        if len <= self.len_max && !self.messages.contains_key(&number) {
            self.messages.insert(number, EarlyMessage { bytes: bytes.to_vec(), is_answered });
            self.len = len;
        }
    }

    /// The message with this number, if it is there; those below it are forgotten.
    pub(super) fn take(&mut self, number: u64) -> Option<EarlyMessage> {
        while let Some(first) = self.messages.first_entry().filter(|first| *first.key() <= number) {
            let (key, message) = first.remove_entry();
            self.len = self.len.saturating_sub(message.bytes.len().saturating_add(ENTRY_LEN));
            if key == number {
                return Some(message);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_comes_in_order() {
        let mut early = Early::new(3 * (ENTRY_LEN + 10));
        for number in [7_u64, 5, 9, 8, 7] {
            early.insert(number, &[u8::try_from(number).unwrap(); 10], false);
        }
        assert!(early.take(4).is_none());
        assert_eq!(early.take(5).unwrap().bytes, [5; 10]);
        early.insert(6, &[6; 11], false);
        assert!(early.take(6).is_none(), "one byte too many");
        assert_eq!(early.take(9).unwrap().bytes, [9; 10]);
        assert_eq!((early.len, early.messages.len()), (0, 0), "7 was passed over");
        early.insert(1, &[], true);
        early.clear();
        assert!(early.take(1).is_none());
    }
}

//! The four streams of a log, as values and as types.

use core::fmt;

/// One stream of the log: one role writes it, everybody may read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Stream {
    /// What came in: checkpoints over the input, symbols, sessions, gaps, halts.
    Feed = 0,
    /// What was decided, and from what.
    Decide = 1,
    /// What became of every order.
    Send = 2,
    /// Measured durations and facts about the run: outside the determinism hash.
    Measure = 3,
}

impl Stream {
    /// Every stream, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Feed, Self::Decide, Self::Send, Self::Measure];

    /// The name, which is also the first part of the segment files' names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Decide => "decide",
            Self::Send => "send",
            Self::Measure => "measure",
        }
    }

    /// Bytes of one record, its header of 16 bytes included: a multiple of 64.
    #[must_use]
    pub const fn record_len(self) -> usize {
        match self {
            Self::Feed | Self::Measure => 64,
            Self::Decide => 320,
            Self::Send => 128,
        }
    }

    /// Whether the stream counts for the log hash that two runs over one input must share.
    #[must_use]
    pub const fn is_hashed(self) -> bool {
        match self {
            Self::Feed | Self::Decide | Self::Send => true,
            Self::Measure => false,
        }
    }

    /// The stream's place in [`Stream::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The number that files hold.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The stream of a number from a file, `None` where no stream has it.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Feed),
            1 => Some(Self::Decide),
            2 => Some(Self::Send),
            3 => Some(Self::Measure),
            _ => None,
        }
    }

    /// Bytes of a full block: its records and the block end of 64 bytes.
    #[must_use]
    pub(crate) const fn block_len(self) -> usize {
        self.record_len() * crate::format::BLOCK_RECORDS + crate::format::BLOCK_END_LEN
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A stream as a type, so that a record can only be appended to the stream that it belongs to.
pub trait StreamTag: sealed::Sealed + 'static {
    /// The stream.
    const STREAM: Stream;
}

macro_rules! tags {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}
        impl sealed::Sealed for $name {}
        impl StreamTag for $name {
            const STREAM: Stream = Stream::$name;
        }
    )*};
}

tags! {
    /// [`Stream::Feed`] as a type.
    Feed;
    /// [`Stream::Decide`] as a type.
    Decide;
    /// [`Stream::Send`] as a type.
    Send;
    /// [`Stream::Measure`] as a type.
    Measure;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lengths_are_what_the_format_says() {
        for (number, stream) in Stream::ALL.into_iter().enumerate() {
            assert_eq!(stream.index(), number);
            assert_eq!(Stream::from_number(stream.number()), Some(stream));
            assert_eq!(stream.record_len() % 64, 0);
            assert_eq!(stream.block_len() % 64, 0);
        }
        assert_eq!(Stream::from_number(4), None);
    }
}

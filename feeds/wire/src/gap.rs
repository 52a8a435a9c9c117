//! What is said about missing messages, and which ones were lost for good.

use crate::moldudp64::Session;

/// A run of missing messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// Number of the first missing message.
    pub first_missing: u64,
    /// Number of the first message behind the run.
    pub next_received: u64,
}

impl Gap {
    /// How many messages the run holds.
    #[must_use]
    pub const fn message_count(self) -> u64 {
        self.next_received.saturating_sub(self.first_missing)
    }
}

/// What the arbiter says between messages, in order with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A session began; its first message here will have this number.
    SessionStarted {
        /// Name of the session.
        session: Session,
        /// Number of the first message to come: 1, or where a late joiner starts.
        next_sequence_number: u64,
    },
    /// Every message of the session was delivered or lost.
    SessionEnded {
        /// Name of the session.
        session: Session,
        /// Number after the last message.
        next_sequence_number: u64,
    },
    /// A message beyond the next one is known to exist. Until [`Notice::GapRecovered`] no message is delivered out of
    /// order: those beyond wait. Further gaps that open meanwhile are counted, not announced.
    GapDetected(Gap),
    /// The window is over and these messages will not be delivered any more. No recovery is announced after this
    /// until a session begins.
    GapLost(Gap),
    /// Every message missing since [`Notice::GapDetected`] was delivered, and so was what waited behind them.
    GapRecovered {
        /// From the first missing message to the one behind the last run of missing ones.
        gap: Gap,
        /// How many messages had been missing.
        recovered_count: u64,
    },
    /// Copies of messages in this run differ, and one of them was taken: what was built from it is not to be trusted
    /// until [`Notice::CopiesSettled`].
    CopiesDiffer(Gap),
    /// The copies taken of this run proved right, or a snapshot took their place.
    CopiesSettled(Gap),
}

/// How many runs of lost messages are remembered by number; older ones only in the counts.
pub const LOST_RANGE_COUNT_MAX: usize = 64;

/// The messages of a session that were given up.
#[derive(Clone, Debug)]
pub struct LostRanges {
    ranges: [Gap; LOST_RANGE_COUNT_MAX],
    range_count: usize,
    message_count: u64,
}

impl LostRanges {
    pub(crate) const NONE: Self = Self {
        ranges: [Gap { first_missing: 0, next_received: 0 }; LOST_RANGE_COUNT_MAX],
        range_count: 0,
        message_count: 0,
    };

    /// How many runs were lost.
    #[must_use]
    pub const fn range_count(&self) -> usize {
        self.range_count
    }

    /// How many messages were lost.
    #[must_use]
    pub const fn message_count(&self) -> u64 {
        self.message_count
    }

    /// The runs remembered, at most [`LOST_RANGE_COUNT_MAX`], in no particular order once there were more.
    pub fn iter(&self) -> impl Iterator<Item = Gap> + '_ {
        self.ranges.iter().take(self.range_count).copied()
    }

    pub(crate) fn add(&mut self, gap: Gap) {
        if let Some(place) = self.ranges.get_mut(self.range_count % LOST_RANGE_COUNT_MAX) {
            *place = gap;
        }
        self.range_count = self.range_count.saturating_add(1);
        self.message_count = self.message_count.saturating_add(gap.message_count());
    }

    /// How many messages of `from..to` are among the remembered runs.
    pub(crate) fn overlap(&self, from: u64, to: u64) -> u64 {
        let one = |gap: Gap| gap.next_received.min(to).saturating_sub(gap.first_missing.max(from));
        self.iter().map(one).fold(0, u64::saturating_add)
    }
}

//! What a recording of a live session says about itself, so that a replay arbitrates as the session did.
//!
//! The comment of the section header holds one line: `peregrine-capture 1` and pairs `key=value`, all of them mandatory.
//! Interface *n* is line *n*; behind the lines come what a retransmission server sent and what the snapshot service sent,
//! where the recording has them.

use core::fmt;

use peregrine_types::Nanos;
use peregrine_wire::arbiter::ArbiterConfig;
use peregrine_wire::{JoinPolicy, LineId, RecoveryConfig};

const MAGIC: &str = "peregrine-capture 1";
/// Bytes that may wait in a replay, at most: a recording that asks for more is not believed.
const HELD_LEN_MAX: u64 = 1 << 30;

/// What was recorded of recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedRecovery {
    /// Whether there was a retransmission server.
    pub has_retransmission: bool,
    /// Whether there was a snapshot service.
    pub has_snapshot: bool,
}

/// How the recorded session arbitrated its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedFeed {
    /// Lines of the feed; what recovery brought lies behind them.
    pub line_count: u8,
    /// How long a packet could wait for missing messages.
    pub reorder_window: Nanos,
    /// How many packets could wait.
    pub held_packet_count_max: u16,
    /// Longest payload that could wait, in bytes.
    pub packet_len_max: u16,
    /// Whether the session began at message 1, whatever came first.
    pub is_from_start: bool,
    /// Recovery, as far as there was one.
    pub recovery: RecordedRecovery,
}

impl RecordedFeed {
    /// Reads the comment of a section header; `None` when it is none of ours.
    pub(crate) fn parse(comment: &str) -> Option<Self> {
        let pairs = comment.strip_prefix(MAGIC)?;
        let value = |key: &str| -> Option<i64> {
            let mut values = pairs.split_ascii_whitespace().filter_map(|pair| pair.split_once('='));
            values.find(|(name, _)| *name == key)?.1.parse().ok()
        };
        let feed = Self {
            line_count: u8::try_from(value("lines")?).ok()?,
            reorder_window: Nanos(value("reorder_window_ns")?),
            held_packet_count_max: u16::try_from(value("held_packets")?).ok()?,
            packet_len_max: u16::try_from(value("packet_len")?).ok()?,
            is_from_start: value("from_start")? != 0,
            recovery: RecordedRecovery {
                has_retransmission: value("retransmission")? != 0,
                has_snapshot: value("snapshot")? != 0,
            },
        };
        let held_len = u64::from(feed.held_packet_count_max).saturating_mul(u64::from(feed.packet_len_max));
        (held_len <= HELD_LEN_MAX).then_some(feed)
    }

    /// The line of retransmitted packets.
    #[must_use]
    pub const fn retransmission_line(&self) -> LineId {
        LineId(self.line_count)
    }

    /// The line of the snapshot service's packets.
    #[must_use]
    pub const fn snapshot_line(&self) -> LineId {
        LineId(self.line_count.saturating_add(1))
    }

    /// Names of the interfaces of a recording: those of the lines, of retransmission, and of snapshots.
    #[must_use]
    pub fn interface_names(&self) -> Vec<String> {
        let lines = (0..self.line_count).map(|line| format!("line {}", char::from(b'A'.saturating_add(line))));
        lines.chain(["retransmission".to_owned(), "snapshot".to_owned()]).collect()
    }

    /// The recovery as the arbiter must know it.
    #[must_use]
    pub fn recovery_config(&self) -> RecoveryConfig {
        RecoveryConfig {
            server_count: u8::from(self.recovery.has_retransmission),
            has_snapshot: self.recovery.has_snapshot,
            ..RecoveryConfig::default()
        }
    }

    /// The arbiter of the recorded session.
    #[must_use]
    pub fn arbiter_config(&self) -> ArbiterConfig {
        self.recovery_config().arbiter(ArbiterConfig {
            line_count: self.line_count,
            reorder_window_ns: self.reorder_window,
            held_packet_count_max: self.held_packet_count_max,
            packet_len_max: self.packet_len_max,
            join: if self.is_from_start { JoinPolicy::FromStart } else { JoinPolicy::AtFirstPacket },
            ..ArbiterConfig::default()
        })
    }
}

impl fmt::Display for RecordedFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{MAGIC} lines={} reorder_window_ns={} held_packets={} packet_len={} from_start={} retransmission={} snapshot={}",
            self.line_count,
            self.reorder_window.0,
            self.held_packet_count_max,
            self.packet_len_max,
            u8::from(self.is_from_start),
            u8::from(self.recovery.has_retransmission),
            u8::from(self.recovery.has_snapshot),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_lacks_a_key_is_not() {
        let feed = RecordedFeed {
            line_count: 2,
            reorder_window: Nanos(5),
            held_packet_count_max: 6,
            packet_len_max: 7,
            is_from_start: true,
            recovery: RecordedRecovery { has_retransmission: true, has_snapshot: false },
        };
        let text = feed.to_string();
        assert_eq!(RecordedFeed::parse(&text), Some(feed));
        assert_eq!(RecordedFeed::parse(&text.replace("packet_len", "len")), None);
        assert_eq!(RecordedFeed::parse("made by hand"), None);
        let greedy = RecordedFeed { held_packet_count_max: u16::MAX, packet_len_max: u16::MAX, ..feed };
        assert_eq!(RecordedFeed::parse(&greedy.to_string()), None);
        assert_eq!(feed.arbiter_config().line_count, 3);
        assert_eq!(feed.interface_names(), ["line A", "line B", "retransmission", "snapshot"]);
    }
}

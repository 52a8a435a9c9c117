//! The configuration as it is written.

use std::net::Ipv4Addr;

use serde::Deserialize;

use super::rules::{RawBands, RawCalendar, RawImbalance, RawInstruments};
use crate::agents::AgentsConfig;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) venue: RawVenue,
    pub(super) hours: RawHours,
    pub(super) capacity: RawCapacity,
    pub(super) feed: RawFeed,
    pub(super) retransmission: RawRetransmission,
    pub(super) snapshot: RawSnapshot,
    pub(super) port: Vec<RawPort>,
    pub(super) drop_copy: Option<super::copies::RawDropCopy>,
    pub(super) control: Option<RawControl>,
    pub(super) flow: RawFlow,
    #[serde(default)]
    pub(super) symbol: Vec<RawSymbol>,
    #[serde(default)]
    pub(super) faults: RawFaults,
    pub(super) bands: Option<RawBands>,
    pub(super) imbalance: Option<RawImbalance>,
    pub(super) instruments: Option<RawInstruments>,
    pub(super) calendar: Option<RawCalendar>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVenue {
    pub(super) date: Option<String>,
    pub(super) session: String,
    pub(super) start: String,
    pub(super) speed: u32,
    pub(super) is_spinning: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHours {
    pub(super) start_messages: String,
    pub(super) start_system: String,
    pub(super) open: String,
    pub(super) close: String,
    pub(super) end_system: String,
    pub(super) end_messages: String,
    pub(super) late_s: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCapacity {
    pub(super) order_count_max: u64,
    pub(super) reference_count_max: u64,
    pub(super) level_count_max: u64,
    pub(super) side_level_count_max: u64,
    pub(super) feed_message_count_max: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFeed {
    pub(super) line_a: String,
    pub(super) line_b: String,
    pub(super) interface: Ipv4Addr,
    pub(super) ttl: u32,
    pub(super) payload_len_max: u64,
    pub(super) heartbeat_ms: u64,
    pub(super) end_of_session_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRetransmission {
    pub(super) address: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSnapshot {
    pub(super) address: String,
    pub(super) username: String,
    pub(super) password: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawControl {
    pub(super) socket: Option<String>,
    pub(super) journal: Option<String>,
    pub(super) script: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPort {
    pub(super) address: String,
    pub(super) username: String,
    pub(super) password: String,
    pub(super) firm: u32,
    pub(super) self_trade: RawSelfTrade,
    pub(super) is_cancel_on_disconnect: bool,
    pub(super) order_count_max: u64,
    pub(super) message_count_max: u64,
    #[serde(default)]
    pub(super) protocol: RawProtocol,
    #[serde(default)]
    pub(super) faults: RawPortFaults,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawProtocol {
    #[default]
    Ouch50,
    Ouch42,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawSelfTrade {
    Allow,
    DecrementBoth,
    CancelOldest,
    CancelNewest,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum RawFlow {
    None {},
    Generator { seed: u64, symbol_count: u32, message_count: u64, halt_count: u32 },
    File { path: String },
    Agents(Box<AgentsConfig>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSymbol {
    pub(super) name: String,
    pub(super) reference_price: String,
    pub(super) round_lot: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawFaults {
    pub(super) seed: u64,
    pub(super) line_a: RawLineFaults,
    pub(super) line_b: RawLineFaults,
    pub(super) retransmission: RawLineFaults,
    pub(super) retransmission_lie_ppm: u32,
    pub(super) session_rolls: Vec<String>,
    pub(super) sequence_resets: Vec<String>,
    pub(super) session_message_count_max: u64,
    pub(super) halts: Vec<(String, String, String)>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLineFaults {
    pub(super) loss_ppm: u32,
    pub(super) duplicate_ppm: u32,
    pub(super) reorder_ppm: u32,
    pub(super) reorder_delay_us: u64,
    pub(super) delay_us: u64,
    pub(super) jitter_us: u64,
    pub(super) outage_us: u64,
    pub(super) outage_every_us: u64,
    pub(super) outage_after_us: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPortFaults {
    pub(super) reject_storms: Vec<(String, String)>,
    pub(super) lost_order_ppm: u32,
    pub(super) lost_answer_ppm: u32,
    pub(super) duplicate_fill_ppm: u32,
    pub(super) late_fill_ppm: u32,
    pub(super) late_fill_delay_us: u64,
    pub(super) bust_ppm: u32,
    pub(super) bust_delay_us: u64,
    pub(super) cut_sent_bytes: Vec<u64>,
    pub(super) cut_received_bytes: Vec<u64>,
    pub(super) session_rolls: Vec<String>,
}

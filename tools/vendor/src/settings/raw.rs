//! The configuration as it is written.

use std::net::Ipv4Addr;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) vendor: RawVendor,
    pub(super) alpaca: Option<RawAlpaca>,
    pub(super) ib: Option<RawIb>,
    pub(super) credentials: RawCredentials,
    pub(super) connection: RawConnection,
    pub(super) quality: RawQuality,
    pub(super) feed: RawFeed,
    pub(super) retransmission: RawRetransmission,
    pub(super) snapshot: RawSnapshot,
    pub(super) symbol: Vec<RawSymbol>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawKind {
    Alpaca,
    Massive,
    Ib,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawUnit {
    Shares,
    RoundLots,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVendor {
    pub(super) kind: RawKind,
    pub(super) address: String,
    pub(super) authority_file: String,
    pub(super) quote_size_unit: RawUnit,
    pub(super) trade_size_unit: RawUnit,
    pub(super) is_trading_at_start: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAlpaca {
    pub(super) statuses: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIb {
    pub(super) client_id: u64,
    pub(super) exchange: String,
    pub(super) primary_exchange: String,
    pub(super) currency: String,
    pub(super) depth_row_count: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCredentials {
    pub(super) key_variable: String,
    pub(super) secret_variable: String,
    pub(super) file: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConnection {
    pub(super) connect_ms: u64,
    pub(super) ready_ms: u64,
    pub(super) silence_ms: u64,
    pub(super) backoff_first_ms: u64,
    pub(super) backoff_max_ms: u64,
    pub(super) backoff_seed: u64,
    pub(super) message_len_max: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawQuality {
    pub(super) stale_after_ms: u64,
    pub(super) latency_warn_ms: u64,
    pub(super) report_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFeed {
    pub(super) session: String,
    pub(super) zone: String,
    pub(super) line_a: String,
    pub(super) line_b: String,
    pub(super) interface: Ipv4Addr,
    pub(super) ttl: u64,
    pub(super) payload_len_max: u64,
    pub(super) heartbeat_ms: u64,
    pub(super) end_of_session_ms: u64,
    pub(super) message_count_max: u64,
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
pub(super) struct RawSymbol {
    pub(super) name: String,
    pub(super) round_lot: u64,
}

//! The drop copy as it is configured.

use std::net::SocketAddr;

use peregrine_fix::{Role, SessionConfig};
use peregrine_types::Nanos;
use serde::Deserialize;

use super::Reader;
use crate::drop_copy::{CopyFaults, DropCopyConfig};

/// Room of a report in the session's store.
const REPORT_LEN: usize = 320;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDropCopy {
    address: String,
    port: u64,
    sender_comp_id: String,
    target_comp_id: String,
    username: String,
    password: String,
    is_every_event: bool,
    report_count_max: u64,
    #[serde(default)]
    faults: RawCopyFaults,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawCopyFaults {
    lost_ppm: u32,
    twice_ppm: u32,
    wrong_qty_ppm: u32,
    wrong_price_ppm: u32,
    wrong_side_ppm: u32,
    phantom_fill_ppm: u32,
    phantom_bust_ppm: u32,
}

/// The drop copy of one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropCopySettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it is.
    pub config: DropCopyConfig,
}

impl Reader {
    pub(super) fn drop_copy(&mut self, raw: &RawDropCopy, port_count: usize, seed: u64) -> DropCopySettings {
        let names = [("sender_comp_id", &raw.sender_comp_id), ("target_comp_id", &raw.target_comp_id)];
        for (key, name) in names {
            if name.is_empty() || name.len() > 32 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                self.refuse(&format!("drop_copy.{key}"), &format!("`{name}`"), "1 to 32 printable characters");
            }
        }
        let last = u64::try_from(port_count.saturating_sub(1)).unwrap_or(0);
        let report_count_max = self.count("drop_copy.report_count_max", raw.report_count_max) as usize;
        let faults = &raw.faults;
        let mut ppm = |key: &str, value| self.ppm(&format!("drop_copy.faults.{key}"), value);
        let faults = CopyFaults {
            lost_ppm: ppm("lost_ppm", faults.lost_ppm),
            twice_ppm: ppm("twice_ppm", faults.twice_ppm),
            wrong_qty_ppm: ppm("wrong_qty_ppm", faults.wrong_qty_ppm),
            wrong_price_ppm: ppm("wrong_price_ppm", faults.wrong_price_ppm),
            wrong_side_ppm: ppm("wrong_side_ppm", faults.wrong_side_ppm),
            phantom_fill_ppm: ppm("phantom_fill_ppm", faults.phantom_fill_ppm),
            phantom_bust_ppm: ppm("phantom_bust_ppm", faults.phantom_bust_ppm),
        };
        let has_login = !raw.username.is_empty() || !raw.password.is_empty();
        let session = SessionConfig {
            login: has_login.then(|| (raw.username.clone(), raw.password.clone())),
            logout_time_max: Nanos::from_secs(2),
            // The day, told once and once again, and what the session says itself.
            store_count_max: report_count_max.saturating_mul(2).saturating_add(10_000),
            store_byte_count_max: report_count_max.saturating_mul(2 * REPORT_LEN).saturating_add(1 << 18),
            ..SessionConfig::new(Role::Acceptor, &raw.sender_comp_id, &raw.target_comp_id)
        };
        let port = self.size("drop_copy.port", raw.port, (0, last));
        let is_every_event = raw.is_every_event;
        DropCopySettings {
            address: self.address("drop_copy.address", &raw.address),
            config: DropCopyConfig { session, port, is_every_event, report_count_max, faults, seed },
        }
    }
}

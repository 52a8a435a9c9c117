//! Network cards: driver, queues, link, NUMA node, and which time stamps they can give.

use std::io;

use super::{Files, HostFact, HostVerdict};
use crate::settings::check_return;

pub(super) fn facts(files: &Files) -> Vec<HostFact> {
    let names = files.names("sys/class/net");
    if names.is_empty() {
        return vec![HostFact::unknown("nic", "no network card to be seen")];
    }
    names.iter().filter(|name| *name != "lo").map(|name| card(files, name)).collect()
}

fn card(files: &Files, name: &str) -> HostFact {
    let base = format!("sys/class/net/{name}");
    let queues = files.names(&format!("{base}/queues"));
    let count = |prefix: &str| queues.iter().filter(|queue| queue.starts_with(prefix)).count();
    let state = files.text(&format!("{base}/operstate")).unwrap_or_else(|| "unknown".to_owned());
    let uevent = files.text(&format!("{base}/device/uevent")).unwrap_or_default();
    let driver = uevent.lines().find_map(|line| line.strip_prefix("DRIVER=")).unwrap_or("none (virtual)");
    let node = files.text(&format!("{base}/device/numa_node")).filter(|node| node != "-1");
    let node = node.map_or_else(String::new, |node| format!(", NUMA node {node}"));
    let stamps = timestamping(name);
    let (stamp_text, verdict) = match &stamps {
        Ok(stamps) if stamps.has_hardware_receive() => (stamps.describe(), HostVerdict::Good),
        Ok(stamps) => (stamps.describe(), HostVerdict::Limits),
        Err(error) => (format!("not known ({error})"), HostVerdict::Unknown),
    };
    let value = format!(
        "{state}, driver {driver}, queues {} in {} out{node}, time stamps: {stamp_text}",
        count("rx-"),
        count("tx-")
    );
    let remedy = (verdict == HostVerdict::Limits).then(|| {
        format!("use a card with hardware receive time stamps (`ethtool -T {name}`); the engine stamps by TSC")
    });
    HostFact { key: format!("nic.{name}"), value, verdict, remedy }
}

/// `struct ethtool_ts_info` of `linux/ethtool.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct TsInfo {
    cmd: u32,
    so_timestamping: u32,
    phc_index: i32,
    tx_types: u32,
    tx_reserved: [u32; 3],
    rx_filters: u32,
    rx_reserved: [u32; 3],
}

const _: () = assert!(size_of::<TsInfo>() == 44, "the kernel writes 44 bytes");

/// `linux/ethtool.h`: ETHTOOL_GET_TS_INFO.
const ETHTOOL_GET_TS_INFO: u32 = 0x41;
/// `linux/sockios.h`: SIOCETHTOOL.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
/// `linux/net_tstamp.h`: SOF_TIMESTAMPING_TX_HARDWARE, _RX_HARDWARE, _RX_SOFTWARE, _RAW_HARDWARE.
const TX_HARDWARE: u32 = 1 << 0;
const RX_HARDWARE: u32 = 1 << 2;
const RX_SOFTWARE: u32 = 1 << 3;
const RAW_HARDWARE: u32 = 1 << 6;

impl TsInfo {
    const fn has(&self, claim: u32) -> bool {
        self.so_timestamping & claim == claim
    }

    const fn has_hardware_receive(&self) -> bool {
        self.has(RX_HARDWARE | RAW_HARDWARE)
    }

    fn describe(&self) -> String {
        let claims = [
            (TX_HARDWARE | RAW_HARDWARE, "hardware send"),
            (RX_HARDWARE | RAW_HARDWARE, "hardware receive"),
            (RX_SOFTWARE, "software receive"),
        ];
        let held: Vec<_> = claims.iter().filter(|claim| self.has(claim.0)).map(|claim| claim.1).collect();
        let clock = if self.phc_index >= 0 { format!(", clock /dev/ptp{}", self.phc_index) } else { String::new() };
        if held.is_empty() { "none".to_owned() } else { format!("{}{clock}", held.join(", ")) }
    }
}

/// Asks the kernel which time stamps the card can give.
#[expect(unsafe_code, reason = "cards are asked by a C call")]
fn timestamping(name: &str) -> io::Result<TsInfo> {
    let mut info = TsInfo { cmd: ETHTOOL_GET_TS_INFO, ..TsInfo::default() };
    // SAFETY: all zero bytes are a valid `ifreq`: an empty name and a null pointer.
    let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
    // One byte stays zero: the name's end.
    let room = request.ifr_name.len().saturating_sub(1);
    if name.len() > room {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    let socket = std::net::UdpSocket::bind(("127.0.0.1", 0))?;
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: the socket is open; the request is a live `ifreq` whose data pointer is to a live `TsInfo`, of which the
    // kernel writes 44 bytes, its size.
    check_return(unsafe { libc::ioctl(descriptor, SIOCETHTOOL, &raw mut request) })?;
    Ok(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_answers_and_a_card_that_is_not_there_does_not() {
        if let Ok(info) = timestamping("lo") {
            assert!(!info.has_hardware_receive());
        }
        assert!(timestamping("no_such_card").is_err());
        assert!(timestamping("a_name_longer_than_the_kernel_has_room_for").is_err());
    }

    #[test]
    fn claims_are_described() {
        let info =
            TsInfo { so_timestamping: RX_HARDWARE | RAW_HARDWARE | RX_SOFTWARE, phc_index: 2, ..TsInfo::default() };
        assert_eq!(info.describe(), "hardware receive, software receive, clock /dev/ptp2");
        assert!(info.has_hardware_receive());
        assert_eq!(TsInfo { phc_index: -1, ..TsInfo::default() }.describe(), "none");
    }
}

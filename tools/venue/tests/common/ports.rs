//! Ports for lines that are named before anybody listens on them.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// A UDP port of loopback that nobody has, and that the system gives to nobody: below those that it chooses from (32,768 on
/// Linux), another one each time, other processes elsewhere.
pub(crate) fn free_udp_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id() % 199 * 100).unwrap_or(0);
    let mut ports =
        std::iter::repeat_with(|| FIRST + offset.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT);
    let is_free = |port: &u16| UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.by_ref().take(usize::from(COUNT)).find(is_free).unwrap_or(0)
}

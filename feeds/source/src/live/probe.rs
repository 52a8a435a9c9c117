//! Which live sources are possible here: each is tried out.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::socket::{BusyPoll, LineAddress, ReceiveSocket, SocketOptions};
use super::{packet_ring, xdp};

/// What was found about one way to receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceProbe {
    /// What it is.
    pub name: &'static str,
    /// What was found, in words.
    pub found: String,
    /// What would make it possible, or better; `None` where nothing is to be done.
    pub remedy: Option<String>,
}

/// Tries every way to receive, with sockets of its own that are closed again.
#[must_use]
pub fn probe_sources() -> Vec<SourceProbe> {
    let loopback = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let address = LineAddress { destination: loopback, interface: Ipv4Addr::LOCALHOST };
    let options = SocketOptions { busy_poll_us: 50, ..SocketOptions::default() };
    let mut probes = match ReceiveSocket::open("doctor", address, &options) {
        Ok(socket) => of_socket(&socket, &options),
        Err(error) => vec![SourceProbe {
            name: "source udp",
            found: error.to_string(),
            remedy: Some("without UDP sockets nothing can be received".to_owned()),
        }],
    };
    probes.push(of_try(
        "source packet_ring",
        "AF_PACKET rings may be opened",
        packet_ring::probe(),
        "give CAP_NET_RAW: setcap cap_net_raw+ep on the program",
    ));
    probes.push(of_try(
        "source xdp",
        "AF_XDP sockets may be opened and programs loaded; drivers differ in what they can",
        xdp::probe(),
        "give CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF, on Linux 5.9 or newer with CONFIG_XDP_SOCKETS",
    ));
    probes.push(of_preload());
    probes
}

fn of_socket(socket: &ReceiveSocket, options: &SocketOptions) -> Vec<SourceProbe> {
    let facts = socket.facts();
    let limit = fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap_or_default();
    let buffer = SourceProbe {
        name: "source udp",
        found: format!(
            "kernel stamps, drop counts; receive buffer of {} bytes for {} asked",
            facts.receive_buffer_len, options.receive_buffer_len
        ),
        remedy: (!facts.is_buffer_granted)
            .then(|| format!("sysctl -w net.core.rmem_max={} (now {})", options.receive_buffer_len, limit.trim())),
    };
    let (found, remedy) = match facts.busy_poll {
        BusyPoll::Granted(_) | BusyPoll::Off => ("permitted".to_owned(), None),
        BusyPoll::Refused => ("refused".to_owned(), Some("give CAP_NET_ADMIN, or sysctl -w net.core.busy_read=50")),
    };
    vec![buffer, SourceProbe { name: "busy polling", found, remedy: remedy.map(str::to_owned) }]
}

fn of_try(name: &'static str, good: &str, tried: io::Result<()>, remedy: &str) -> SourceProbe {
    match tried {
        Ok(()) => SourceProbe { name, found: good.to_owned(), remedy: None },
        Err(error) => SourceProbe { name, found: format!("not possible: {error}"), remedy: Some(remedy.to_owned()) },
    }
}

/// Whether a library that takes sockets out of the kernel was loaded before the program.
fn of_preload() -> SourceProbe {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let is_in = |library: &str| maps.lines().any(|line| line.contains(library));
    let found = match (is_in("libonload"), is_in("libvma"), is_in("libxlio")) {
        (true, _, _) => "Onload is loaded: UDP sockets bypass the kernel",
        (_, true, _) => "VMA is loaded: UDP sockets bypass the kernel",
        (_, _, true) => "XLIO is loaded: UDP sockets bypass the kernel",
        (false, false, false) => "none is loaded; onload peregrine run …, or LD_PRELOAD=libvma.so peregrine run …",
    };
    SourceProbe { name: "kernel bypass", found: found.to_owned(), remedy: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_named_once_and_says_something() {
        let probes = probe_sources();
        let mut names: Vec<&str> = probes.iter().map(|probe| probe.name).collect();
        assert!(probes.iter().all(|probe| !probe.found.is_empty()));
        assert!(names.contains(&"source udp") && names.contains(&"source xdp"));
        names.dedup();
        assert_eq!(names.len(), probes.len());
    }
}

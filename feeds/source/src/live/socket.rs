//! One receiving socket: how it is opened, what was asked of the system and what it granted.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::xdp::XdpMode;
use crate::{SourceError, StampKind};

/// Where a line arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineAddress {
    /// The multicast group and port, or an address of this host for a line that is sent to it alone. Port 0: the system
    /// chooses one.
    pub destination: SocketAddrV4,
    /// An address of the interface on which the group is joined; 0.0.0.0 for the system's choice.
    pub interface: Ipv4Addr,
}

/// Whose time stamps are wished for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StampWish {
    /// The kernel's, taken when the packet leaves the driver (`SO_TIMESTAMPNS`).
    #[default]
    Kernel,
    /// The network card's, where it has them and they were switched on (`hwstamp_ctl`, `ethtool -T`); else the kernel's.
    /// Their clock is the card's own: it must follow the system's (`phc2sys`), or times of two lines cannot be compared.
    Hardware,
}

/// How sockets are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Datagrams of one receive call, 1 to [`super::BATCH_LEN_MAX`].
    pub batch_len: usize,
    /// Longest payload in bytes, up to [`super::PAYLOAD_LEN_LIMIT`]; longer datagrams are dropped and counted.
    pub payload_len_max: usize,
    /// Bytes that the kernel keeps for us while we do not read (`SO_RCVBUF`). More than `net.core.rmem_max` needs the
    /// capability to administer the network.
    pub receive_buffer_len: usize,
    /// How long the receive call polls the driver itself (`SO_BUSY_POLL`), in microseconds; 0: not at all.
    pub busy_poll_us: u32,
    /// Whose time stamps are wished for.
    pub stamp: StampWish,
}

impl Default for SocketOptions {
    /// 64 datagrams of 2,048 bytes, 8 MiB in the kernel, no busy polling, kernel stamps.
    fn default() -> Self {
        Self {
            batch_len: 64,
            payload_len_max: 2_048,
            receive_buffer_len: 8 << 20,
            busy_poll_us: 0,
            stamp: StampWish::Kernel,
        }
    }
}

/// What became of the wish for busy polling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusyPoll {
    /// None was wished for.
    Off,
    /// Granted, in microseconds.
    Granted(u32),
    /// Refused: it needs the capability to administer the network, or a kernel built with it.
    Refused,
}

/// By what a line is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A UDP socket.
    Udp,
    /// An AF_PACKET ring.
    PacketRing,
    /// An AF_XDP socket, in the mode that was granted.
    Xdp(XdpMode),
}

impl Way {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP socket",
            Self::PacketRing => "packet ring",
            Self::Xdp(XdpMode::Generic) => "AF_XDP through the general path",
            Self::Xdp(XdpMode::DriverCopy) => "AF_XDP in the driver, by a copy",
            Self::Xdp(XdpMode::DriverZeroCopy) => "AF_XDP in the driver, without a copy",
        }
    }
}

/// What the system granted to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketFacts {
    /// By what it receives.
    pub way: Way,
    /// Where it receives, with the port that the system chose.
    pub local: SocketAddrV4,
    /// Bytes of receive buffer, as the kernel accounts them: twice what can be used for payload (`socket(7)`).
    pub receive_buffer_len: usize,
    /// Whether that is at least what was asked for.
    pub is_buffer_granted: bool,
    /// Busy polling.
    pub busy_poll: BusyPoll,
    /// Whose stamps were switched on. A card that has none leaves the kernel's: each packet says whose it carries.
    pub stamp: StampKind,
}

/// A socket that never waits, with time stamps and drop counts switched on.
#[derive(Debug)]
pub(crate) struct ReceiveSocket {
    socket: Socket,
    facts: SocketFacts,
}

/// Sets an option whose value is one integer.
#[expect(unsafe_code, reason = "options that no safe interface has")]
fn set_option(socket: &Socket, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
    // SAFETY: the descriptor is open as long as `socket`, and the option is read from an integer of the length given.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, std::ptr::from_ref(&value).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `SO_MEMINFO` of `asm-generic/socket.h`.
const SO_MEMINFO: libc::c_int = 55;

/// How many datagrams a socket dropped since it was opened (`SO_MEMINFO`).
#[expect(unsafe_code, reason = "an option that no safe interface has")]
fn drop_count(socket: &Socket) -> Option<u32> {
    let mut words = [0_u32; 9];
    let mut len = libc::socklen_t::try_from(size_of_val(&words)).ok()?;
    let (value, len) = (std::ptr::from_mut(&mut words).cast(), &raw mut len);
    // SAFETY: the descriptor is open as long as `socket`, and the option is written into an array of the length given.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_MEMINFO, value, len) };
    let drops = usize::try_from(libc::SK_MEMINFO_DROPS).ok()?;
    if result == 0 { words.get(drops).copied() } else { None }
}

/// Asks for stamps; gives whose were switched on.
fn switch_stamps_on(socket: &Socket, wish: StampWish) -> io::Result<StampKind> {
    match wish {
        StampWish::Kernel => set_option(socket, libc::SO_TIMESTAMPNS, 1).map(|()| StampKind::Kernel),
        StampWish::Hardware => {
            let flags = libc::SOF_TIMESTAMPING_RX_HARDWARE
                | libc::SOF_TIMESTAMPING_RAW_HARDWARE
                | libc::SOF_TIMESTAMPING_RX_SOFTWARE
                | libc::SOF_TIMESTAMPING_SOFTWARE;
            let flags = libc::c_int::try_from(flags).map_err(io::Error::other)?;
            set_option(socket, libc::SO_TIMESTAMPING, flags).map(|()| StampKind::Hardware)
        }
    }
}

/// Asks for a receive buffer of `len` bytes; gives what the kernel accounts.
fn ask_buffer(socket: &Socket, len: usize) -> io::Result<usize> {
    let wish = libc::c_int::try_from(len).unwrap_or(libc::c_int::MAX);
    // The first needs a capability and knows no limit, the second is cut at net.core.rmem_max.
    if set_option(socket, libc::SO_RCVBUFFORCE, wish).is_err() {
        socket.set_recv_buffer_size(len)?;
    }
    socket.recv_buffer_size()
}

impl ReceiveSocket {
    /// Opens the socket of the line called `what`.
    ///
    /// # Errors
    /// [`SourceError::Socket`].
    pub(crate) fn open(what: &str, address: LineAddress, options: &SocketOptions) -> Result<Self, SourceError> {
        Self::try_open(address, options).map_err(|source| SourceError::Socket {
            what: what.to_owned(),
            address: address.destination,
            interface: address.interface,
            source,
        })
    }

    fn try_open(address: LineAddress, options: &SocketOptions) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        let group = *address.destination.ip();
        if group.is_multicast() {
            // Several programs may listen to one group; each gets only the groups that it joined itself.
            socket.set_reuse_address(true)?;
            socket.set_multicast_all_v4(false)?;
        }
        let buffer_len = ask_buffer(&socket, options.receive_buffer_len)?;
        let stamp = switch_stamps_on(&socket, options.stamp)?;
        set_option(&socket, libc::SO_RXQ_OVFL, 1)?;
        let busy_poll = match libc::c_int::try_from(options.busy_poll_us) {
            Ok(0) => BusyPoll::Off,
            Ok(wish) if set_option(&socket, libc::SO_BUSY_POLL, wish).is_ok() => {
                BusyPoll::Granted(options.busy_poll_us)
            }
            Ok(_) | Err(_) => BusyPoll::Refused,
        };
        socket.bind(&SockAddr::from(address.destination))?;
        if group.is_multicast() {
            socket.join_multicast_v4(&group, &address.interface)?;
        }
        let local = socket.local_addr()?.as_socket_ipv4().ok_or_else(|| io::Error::other("not an IPv4 socket"))?;
        let facts = SocketFacts {
            way: Way::Udp,
            local,
            receive_buffer_len: buffer_len,
            is_buffer_granted: buffer_len >= options.receive_buffer_len,
            busy_poll,
            stamp,
        };
        Ok(Self { socket, facts })
    }

    /// What the system granted.
    pub(crate) const fn facts(&self) -> &SocketFacts {
        &self.facts
    }

    /// For the receive call.
    #[inline]
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// How many datagrams it dropped since it was opened; `None` where the system does not tell.
    pub(crate) fn drop_count(&self) -> Option<u32> {
        drop_count(&self.socket)
    }

    /// Sends one datagram, without waiting; whether the system took it.
    pub(crate) fn send(&self, payload: &[u8], to: SocketAddrV4) -> bool {
        self.socket.send_to(payload, &SockAddr::from(to)).is_ok()
    }
}

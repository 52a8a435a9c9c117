//! Lines of a feed out of a ring that the kernel fills below the IP stack: AF_PACKET with TPACKET_V2 or TPACKET_V3
//! (`packet(7)`, `Documentation/networking/packet_mmap.rst`). Needs CAP_NET_RAW. Reading it takes no system call.
//!
//! TPACKET_V2 hands over every frame as it comes. TPACKET_V3 hands over blocks, when they are full or after at least a
//! millisecond: more frames for the same memory, for recordings, but far too late to trade on.

use std::cell::Cell;
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;

use peregrine_types::EpochNanos;
use socket2::{Domain, Protocol, Socket, Type};

use super::LineCounters;
use super::interface::interface_of;
use super::lanes::{Head, Lane, LaneSource, RING_LOOK_COUNT};
use super::mapping::{LINE_LEN, Mapping, PREFETCHED_LEN};
use super::socket::{BusyPoll, LineAddress, SocketFacts, StampWish, Way};
use crate::frame::{Checks, LinkType, UdpCheck, dissect};
use crate::{LineId, Session, SkipReason, SourceError, StampKind};

/// Constants of `linux/if_packet.h`.
pub(super) mod kernel {
    pub(in crate::live) const SOL_PACKET: libc::c_int = 263;
    pub(in crate::live) const PACKET_RX_RING: libc::c_int = 5;
    pub(in crate::live) const PACKET_STATISTICS: libc::c_int = 6;
    pub(in crate::live) const PACKET_VERSION: libc::c_int = 10;
    pub(in crate::live) const PACKET_TIMESTAMP: libc::c_int = 17;
    pub(in crate::live) const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
    pub(in crate::live) const TPACKET_V2: libc::c_int = 1;
    pub(in crate::live) const TPACKET_V3: libc::c_int = 2;
    pub(in crate::live) const TP_STATUS_USER: u32 = 1;
    pub(in crate::live) const TP_STATUS_CSUMNOTREADY: u32 = 1 << 3;
    pub(in crate::live) const TP_STATUS_CSUM_VALID: u32 = 1 << 7;
    pub(in crate::live) const TP_STATUS_TS_SOFTWARE: u32 = 1 << 29;
    pub(in crate::live) const TP_STATUS_TS_RAW_HARDWARE: u32 = 1 << 31;
}

/// How the kernel hands frames over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RingKind {
    /// One by one, as they come (TPACKET_V2).
    #[default]
    Frames,
    /// In blocks (TPACKET_V3).
    Blocks,
}

/// How rings are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingOptions {
    /// How the kernel hands frames over.
    pub kind: RingKind,
    /// Bytes of a block: a power of two, at least 4,096. Of frames one by one, a block holds as many as fit.
    pub block_len: u32,
    /// Blocks of each line's ring.
    pub block_count: u32,
    /// Bytes of a frame's slot, 2,048 or another power of two; longer frames are cut, dropped and counted.
    pub frame_len: u32,
    /// Milliseconds after which a block is handed over that is not full; at least 1.
    pub block_timeout_ms: u32,
    /// Whose time stamps are wished for.
    pub stamp: StampWish,
}

impl Default for RingOptions {
    /// 32 MiB for each line, frame by frame, kernel stamps.
    fn default() -> Self {
        Self {
            kind: RingKind::Frames,
            block_len: 1 << 20,
            block_count: 32,
            frame_len: 2_048,
            block_timeout_ms: 1,
            stamp: StampWish::Kernel,
        }
    }
}

/// A frame in the ring.
#[derive(Clone, Copy, Debug)]
struct Frame {
    head: Head,
    from: SocketAddrV4,
    /// Where its UDP payload lies in the mapping.
    start: usize,
    end: usize,
    /// Whether it was stamped when its copy was ready: see [`stamp_early`].
    is_stamped_late: bool,
}

/// A ring and its place in it.
pub struct RingLane {
    line: LineId,
    address: LineAddress,
    socket: Socket,
    /// Keeps the group joined on the interface.
    _membership: Option<Socket>,
    map: Mapping,
    options: RingOptions,
    /// The frame or block that is next.
    unit: u32,
    /// In a block: frames left, and where the next one begins.
    left: u32,
    at: usize,
    frame: Option<Frame>,
    counters: LineCounters,
    /// What the kernel dropped, as far as it was asked: it forgets its drops when it tells them.
    drop_count: Cell<u64>,
}

/// The lines of a feed, each with a ring of its own.
pub type PacketRingSource = LaneSource<RingLane>;

impl PacketRingSource {
    /// Makes a ring for each of `lines`, which become lines A, B, … Each must name the address of its interface.
    ///
    /// # Errors
    /// [`SourceError::Socket`] naming the line, its address and what the system said.
    pub fn open(lines: &[LineAddress], options: &RingOptions, session: Option<Session>) -> Result<Self, SourceError> {
        let open = |(index, address): (u8, &LineAddress)| {
            RingLane::open(LineId(index), *address, options).map_err(|source| SourceError::Socket {
                what: format!("line {} (packet ring)", char::from(b'A'.saturating_add(index))),
                address: address.destination,
                interface: address.interface,
                source,
            })
        };
        let lanes: Result<Vec<RingLane>, SourceError> = (0..).zip(lines).map(open).collect();
        Ok(Self::new(lanes?, session))
    }
}

/// Whether this process may open packet sockets.
///
/// # Errors
/// What the system says.
pub(super) fn probe() -> io::Result<()> {
    Socket::new(Domain::PACKET, Type::RAW, None).map(drop)
}

/// Sets an option to a value that is plain data.
#[expect(unsafe_code, reason = "options that no safe interface has")]
pub(super) fn set_option<T: Copy>(socket: &Socket, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    // SAFETY: the descriptor is open as long as `socket`; the option is read from a value of the length given.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A classic BPF program that lets UDP to `destination` through, whole and not in fragments (`linux/filter.h`).
fn program(destination: SocketAddrV4) -> [libc::sock_filter; 13] {
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let (address, port) = (u32::from(*destination.ip()), u32::from(destination.port()));
    [
        step(0x28, 0, 0, 12), // EtherType
        step(0x15, 0, 10, 0x0800),
        step(0x30, 0, 0, 23), // protocol
        step(0x15, 0, 8, 17),
        step(0x28, 0, 0, 20), // flags and fragment offset
        step(0x45, 6, 0, 0x3fff),
        step(0x20, 0, 0, 30), // destination address
        step(0x15, 0, 4, address),
        step(0xb1, 0, 0, 14), // X = length of the IP header
        step(0x48, 0, 0, 16), // destination port
        step(0x15, 0, 1, port),
        step(0x06, 0, 0, u32::MAX), // the whole frame
        step(0x06, 0, 0, 0),        // nothing
    ]
}

fn attach_filter(socket: &Socket, destination: SocketAddrV4) -> io::Result<()> {
    let mut steps = program(destination);
    let len = u16::try_from(steps.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len, filter: steps.as_mut_ptr() };
    set_option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Binds to one interface, for every protocol.
#[expect(unsafe_code, reason = "an address that no safe interface has")]
pub(super) fn bind_to(socket: &Socket, index: u32) -> io::Result<()> {
    // SAFETY: sockaddr_ll is a C struct of integers, for which zeros are values.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or(0);
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or(0).to_be();
    address.sll_ifindex = i32::try_from(index).map_err(io::Error::other)?;
    let len = libc::socklen_t::try_from(size_of_val(&address)).unwrap_or(0);
    // SAFETY: the descriptor is open, and the address is read from a value of the length given.
    let result = unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has frames stamped where the kernel takes them over from the driver (or gives them to it), not where a ring's copy of
/// them is ready: without the wish of any socket of the machine it would be the second, some 0.3 us later, and stamps
/// would depend on what other programs ask for (`net_timestamp_check` and `tpacket_rcv` of Linux).
pub(super) fn stamp_early(socket: &Socket) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1_i32)
}

/// Joins the group on the interface, so that card and switch let it through; the socket itself receives nothing.
pub(super) fn join(address: LineAddress) -> io::Result<Option<Socket>> {
    let group = *address.destination.ip();
    if !group.is_multicast() {
        return Ok(None);
    }
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.join_multicast_v4(&group, &address.interface)?;
    Ok(Some(socket))
}

impl RingLane {
    fn open(line: LineId, address: LineAddress, options: &RingOptions) -> io::Result<Self> {
        let (index, _) = interface_of(address.interface)?;
        // Protocol 0: nothing is received before filter and ring are there.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        attach_filter(&socket, address.destination)?;
        let version = match options.kind {
            RingKind::Frames => kernel::TPACKET_V2,
            RingKind::Blocks => kernel::TPACKET_V3,
        };
        set_option(&socket, kernel::SOL_PACKET, kernel::PACKET_VERSION, &version)?;
        set_option(&socket, kernel::SOL_PACKET, kernel::PACKET_IGNORE_OUTGOING, &1_i32)?;
        stamp_early(&socket)?;
        if options.stamp == StampWish::Hardware {
            let flags = libc::c_int::try_from(libc::SOF_TIMESTAMPING_RAW_HARDWARE).map_err(io::Error::other)?;
            set_option(&socket, kernel::SOL_PACKET, kernel::PACKET_TIMESTAMP, &flags)?;
        }
        let per_block = options.block_len.checked_div(options.frame_len).unwrap_or(0);
        let frame_count = per_block.saturating_mul(options.block_count);
        let request = [options.block_len, options.block_count, options.frame_len, frame_count];
        match options.kind {
            RingKind::Frames => set_option(&socket, kernel::SOL_PACKET, kernel::PACKET_RX_RING, &request)?,
            RingKind::Blocks => {
                let [a, b, c, d] = request;
                let request = [a, b, c, d, options.block_timeout_ms.max(1), 0, 0];
                set_option(&socket, kernel::SOL_PACKET, kernel::PACKET_RX_RING, &request)?;
            }
        }
        let len = u64::from(options.block_len).saturating_mul(u64::from(options.block_count));
        let map = Mapping::of_socket(socket.as_fd(), usize::try_from(len).map_err(io::Error::other)?, 0)?;
        let membership = join(address)?;
        bind_to(&socket, index)?;
        Ok(Self {
            line,
            address,
            socket,
            _membership: membership,
            map,
            options: *options,
            unit: 0,
            left: 0,
            at: 0,
            frame: None,
            counters: LineCounters::default(),
            drop_count: Cell::new(0),
        })
    }

    /// Where the unit begins that is next.
    fn unit_start(&self) -> usize {
        let len = match self.options.kind {
            RingKind::Frames => self.options.frame_len,
            RingKind::Blocks => self.options.block_len,
        };
        usize::try_from(u64::from(self.unit).saturating_mul(u64::from(len))).unwrap_or(usize::MAX)
    }

    fn unit_count(&self) -> u32 {
        match self.options.kind {
            RingKind::Frames => {
                let per_block = self.options.block_len.checked_div(self.options.frame_len).unwrap_or(0);
                per_block.saturating_mul(self.options.block_count)
            }
            RingKind::Blocks => self.options.block_count,
        }
    }

    /// Gives the unit back to the kernel.
    fn release(&mut self) {
        let status = match self.options.kind {
            RingKind::Frames => 0,
            RingKind::Blocks => 8,
        };
        self.map.set_u32_at(self.unit_start().saturating_add(status), 0, Ordering::Release);
        self.unit = self.unit.saturating_add(1).checked_rem(self.unit_count()).unwrap_or(0);
    }

    /// Whether a frame is there to be looked at, from `at` on.
    fn find(&mut self) -> bool {
        let start = self.unit_start();
        match self.options.kind {
            RingKind::Frames => {
                self.at = start;
                let is_there = self.map.u32_at(start, Ordering::Acquire) & kernel::TP_STATUS_USER != 0;
                if is_there {
                    self.map.prefetch(start.saturating_add(LINE_LEN)..start.saturating_add(PREFETCHED_LEN));
                }
                is_there
            }
            RingKind::Blocks if self.left > 0 => true,
            RingKind::Blocks => {
                if self.map.u32_at(start.saturating_add(8), Ordering::Acquire) & kernel::TP_STATUS_USER == 0 {
                    return false;
                }
                self.left = self.map.u32_at(start.saturating_add(12), Ordering::Relaxed);
                self.at = start.saturating_add(self.word(start.saturating_add(16)));
                if self.left == 0 {
                    self.release();
                }
                self.left > 0
            }
        }
    }

    fn word(&self, at: usize) -> usize {
        usize::try_from(self.map.u32_at(at, Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// Goes on behind the frame at `at`.
    fn skip(&mut self) {
        self.frame = None;
        match self.options.kind {
            RingKind::Frames => self.release(),
            RingKind::Blocks => {
                self.left = self.left.saturating_sub(1);
                if self.left == 0 { self.release() } else { self.at = self.at.saturating_add(self.word(self.at)) }
            }
        }
    }

    /// The frame at `at`, or why it is none for us: cut, damaged, or not what the filter should let through.
    ///
    /// | field | `tpacket2_hdr` | `tpacket3_hdr` |
    /// |---|---|---|
    /// | next offset | – | 0 |
    /// | status | 0 | 20 |
    /// | length on the wire | 4 | 16 |
    /// | length here | 8 | 12 |
    /// | link header, u16 | 12 | 24 |
    /// | seconds, nanoseconds | 16, 20 | 4, 8 |
    fn look(&self) -> Result<Frame, SkipReason> {
        let [status, wire, snap, mac, seconds, nanos] = match self.options.kind {
            RingKind::Frames => [0, 4, 8, 12, 16, 20],
            RingKind::Blocks => [20, 16, 12, 24, 4, 8],
        }
        .map(|field| self.word(self.at.saturating_add(field)));
        // The link header's offset is the lower half of its word on the byte orders that have such rings in use.
        let mac = if cfg!(target_endian = "little") { mac & 0xffff } else { mac >> 16 };
        let start = self.at.saturating_add(mac);
        let range: Range<usize> = start..start.saturating_add(snap);
        let status = u32::try_from(status).unwrap_or(0);
        // The kernel knows it to be right, or not to be filled in by a sender on this host; else nobody has looked at it.
        let is_settled = status & (kernel::TP_STATUS_CSUM_VALID | kernel::TP_STATUS_CSUMNOTREADY) != 0;
        let checks = Checks { udp: if is_settled { UdpCheck::Off } else { UdpCheck::Lenient }, ..Checks::default() };
        let datagram = dissect(LinkType::Ethernet, self.map.bytes(range), snap < wire, checks)?;
        let whole = |part: usize| i64::try_from(part).unwrap_or(0);
        let stamp = whole(seconds).saturating_mul(1_000_000_000).saturating_add(whole(nanos));
        let is_hardware = status & kernel::TP_STATUS_TS_RAW_HARDWARE != 0;
        let is_stamped_late = !is_hardware && status & kernel::TP_STATUS_TS_SOFTWARE == 0;
        let head = Head {
            line: self.line,
            time: EpochNanos(stamp),
            stamp: if is_hardware { StampKind::Hardware } else { StampKind::Kernel },
        };
        let SocketAddr::V4(from) = datagram.source else { return Err(SkipReason::OtherDestination) };
        if datagram.destination.ip() != IpAddr::V4(*self.address.destination.ip()) {
            return Err(SkipReason::OtherDestination);
        }
        let start = start.saturating_add(datagram.payload_start);
        Ok(Frame { head, from, start, end: start.saturating_add(datagram.payload.len()), is_stamped_late })
    }
}

/// What a packet socket received and dropped since it was asked last.
#[expect(unsafe_code, reason = "an option that no safe interface has")]
pub(super) fn statistics(socket: &Socket) -> Option<(u32, u32)> {
    let mut words = [0_u32; 3];
    let mut len = libc::socklen_t::try_from(size_of_val(&words)).ok()?;
    let (value, len) = (std::ptr::from_mut(&mut words).cast(), &raw mut len);
    let (level, name) = (kernel::SOL_PACKET, kernel::PACKET_STATISTICS);
    // SAFETY: the descriptor is open as long as `socket`, and the option is written into an array of the length given.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, value, len) };
    let [received, dropped, _] = words;
    if result == 0 { Some((received, dropped)) } else { None }
}

impl Lane for RingLane {
    const LOOK_COUNT: u32 = RING_LOOK_COUNT;

    /// Nothing to do: the kernel writes into the ring by itself.
    fn receive(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    /// Never: what waits in the ring is shown.
    fn is_behind(&self) -> bool {
        false
    }

    #[inline]
    fn head(&mut self) -> Option<Head> {
        while self.frame.is_none() {
            if !self.find() {
                return None;
            }
            let looked = self.look();
            let counter = match looked {
                Ok(_) => &mut self.counters.packet_count,
                Err(SkipReason::CutBySnaplen) => &mut self.counters.oversize_count,
                Err(_) => &mut self.counters.damaged_count,
            };
            *counter = counter.saturating_add(1);
            match looked {
                Ok(frame) => {
                    let late = &mut self.counters.late_stamp_count;
                    *late = late.saturating_add(u64::from(frame.is_stamped_late));
                    self.frame = Some(frame);
                }
                Err(_) => self.skip(),
            }
        }
        self.frame.map(|frame| frame.head)
    }

    #[inline]
    fn packet(&self) -> Option<(&[u8], SocketAddrV4)> {
        self.frame.map(|frame| (self.map.bytes(frame.start..frame.end), frame.from))
    }

    #[inline]
    fn pass(&mut self) {
        self.skip();
    }

    fn counters(&self) -> Vec<(LineId, LineCounters)> {
        let since = statistics(&self.socket).map_or(0, |(_, dropped)| u64::from(dropped));
        self.drop_count.set(self.drop_count.get().saturating_add(since));
        vec![(self.line, LineCounters { kernel_drop_count: self.drop_count.get(), ..self.counters })]
    }

    fn facts(&self) -> Vec<(LineId, SocketFacts)> {
        let facts = SocketFacts {
            way: Way::PacketRing,
            local: self.address.destination,
            receive_buffer_len: self.map.len(),
            is_buffer_granted: true,
            busy_poll: BusyPoll::Off,
            stamp: match self.options.stamp {
                StampWish::Kernel => StampKind::Kernel,
                StampWish::Hardware => StampKind::Hardware,
            },
        };
        vec![(self.line, facts)]
    }
}

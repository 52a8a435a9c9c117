//! Lines of a feed out of AF_XDP sockets: an XDP program hands the lines' datagrams to a ring of the process before the
//! kernel makes socket buffers of them, and lets everything else pass (`Documentation/networking/af_xdp.rst`). Needs
//! CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF, Linux 5.9 or newer.
//!
//! One socket for each interface and queue: the card must steer the lines to the queue that is named
//! (`ethtool -L IF combined 1`, or `ethtool -N`). The program is assembled here, so that nothing has to be compiled.
//! Frames carry no stamp of the kernel's: they are stamped when they are read. Nor does anything say whether the card found
//! their checksums right: they are looked at here.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::LineCounters;
use super::bpf::{self, Verdicts};
use super::interface::interface_of;
use super::lanes::{Head, Lane, LaneSource, RING_LOOK_COUNT, wall};
use super::mapping::{Mapping, PREFETCHED_LEN};
use super::packet_ring::{join, set_option};
use super::socket::{BusyPoll, LineAddress, SocketFacts, Way};
use crate::frame::{Checks, LinkType, UdpCheck, dissect};
use crate::{LineId, Session, SourceError, StampKind};

const SOL_XDP: libc::c_int = 283;
const AF_XDP: libc::c_int = 44;
/// Bytes of a frame's place in the shared memory.
const CHUNK_LEN: u32 = 2_048;
/// Bytes of a descriptor in the ring of received frames: address, length, options.
const DESCRIPTOR_LEN: usize = 16;

/// How often a busy queue is asked for, and the pause between.
const BIND_COUNT_MAX: usize = 100;
const BIND_PAUSE: Duration = Duration::from_millis(10);

/// How frames come from the card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XdpMode {
    /// Through the kernel's general path, by a copy: works with every driver.
    #[default]
    Generic,
    /// In the driver, by a copy.
    DriverCopy,
    /// In the driver, without a copy: for drivers that can.
    DriverZeroCopy,
}

impl XdpMode {
    /// All, the quickest first.
    const QUICKEST_FIRST: [Self; 3] = [Self::DriverZeroCopy, Self::DriverCopy, Self::Generic];
}

/// How AF_XDP sockets are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpOptions {
    /// How frames come from the card; `None`: without a copy, else by a copy in the driver, else through the general path,
    /// the first that driver and kernel grant. [`SocketFacts::way`] says which.
    pub mode: Option<XdpMode>,
    /// The queue of the card.
    pub queue: u32,
    /// Frames that can wait: a power of two.
    pub frame_count: u32,
}

impl Default for XdpOptions {
    /// 8,192 frames of queue 0, in the quickest mode that is granted.
    fn default() -> Self {
        Self { mode: None, queue: 0, frame_count: 8_192 }
    }
}

/// A ring between kernel and process: two counters and a power of two of entries.
struct Ring {
    map: Mapping,
    producer: usize,
    consumer: usize,
    entries: usize,
    mask: u32,
}

impl Ring {
    /// Sizes a ring of the socket and maps it.
    fn new(
        socket: &Socket,
        option: libc::c_int,
        count: u32,
        layout: (RingLayout, usize, libc::off_t),
    ) -> io::Result<Self> {
        let (layout, entry_len, offset) = layout;
        set_option(socket, SOL_XDP, option, &count)?;
        let entries = usize::try_from(layout.entries).map_err(io::Error::other)?;
        let len = usize::try_from(count).map_err(io::Error::other)?.saturating_mul(entry_len).saturating_add(entries);
        Ok(Self {
            map: Mapping::of_socket(socket.as_fd(), len, offset)?,
            producer: usize::try_from(layout.producer).map_err(io::Error::other)?,
            consumer: usize::try_from(layout.consumer).map_err(io::Error::other)?,
            entries,
            mask: count.saturating_sub(1),
        })
    }

    fn entry(&self, index: u32, entry_len: usize) -> usize {
        let index = usize::try_from(index & self.mask).unwrap_or(0);
        self.entries.saturating_add(index.saturating_mul(entry_len))
    }
}

/// Where the parts of a ring lie in its mapping (`struct xdp_ring_offset`).
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct RingLayout {
    producer: u64,
    consumer: u64,
    entries: u64,
    flags: u64,
}

/// `struct xdp_mmap_offsets`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Layouts {
    received: RingLayout,
    sent: RingLayout,
    fill: RingLayout,
    completion: RingLayout,
}

/// `struct xdp_umem_reg`, as kernels since 5.4 read it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct MemoryRegistration {
    address: u64,
    len: u64,
    chunk_len: u32,
    headroom: u32,
    flags: u32,
    padding: u32,
}

/// The frame that is shown.
#[derive(Clone, Copy, Debug)]
struct Frame {
    head: Head,
    from: SocketAddrV4,
    start: usize,
    end: usize,
}

/// The lines of one interface.
pub struct XdpLane {
    lines: Vec<(LineId, LineAddress, LineCounters)>,
    received: Ring,
    fill: Ring,
    memory: Mapping,
    socket: Socket,
    /// What was granted.
    mode: XdpMode,
    frame: Option<Frame>,
    /// Keeps the program on the interface, and what belongs to it.
    _program: bpf::Attached,
    _memberships: Vec<Socket>,
}

/// The lines of a feed by AF_XDP, one socket for each interface.
pub type XdpSource = LaneSource<XdpLane>;

impl XdpSource {
    /// Makes a socket for each interface of `lines`, which become lines A, B, … Each must name the address of its
    /// interface.
    ///
    /// # Errors
    /// [`SourceError::Socket`] naming the interface's first line, its address and what the system said.
    pub fn open(lines: &[LineAddress], options: &XdpOptions, session: Option<Session>) -> Result<Self, SourceError> {
        let mut interfaces: Vec<(LineAddress, Vec<(LineId, LineAddress)>)> = Vec::new();
        for (index, address) in (0..).zip(lines) {
            let entry = (LineId(index), *address);
            match interfaces.iter_mut().find(|(first, _)| first.interface == address.interface) {
                Some((_, of_interface)) => of_interface.push(entry),
                None => interfaces.push((*address, vec![entry])),
            }
        }
        let open = |(first, lines): &(LineAddress, Vec<(LineId, LineAddress)>)| {
            XdpLane::open(lines, options).map_err(|source| SourceError::Socket {
                what: "the lines of an interface (AF_XDP)".to_owned(),
                address: first.destination,
                interface: first.interface,
                source,
            })
        };
        let lanes: Result<Vec<XdpLane>, SourceError> = interfaces.iter().map(open).collect();
        Ok(Self::new(lanes?, session))
    }
}

/// Whether this process may open AF_XDP sockets.
///
/// # Errors
/// What the system says.
pub(super) fn probe() -> io::Result<()> {
    Socket::new(Domain::from(AF_XDP), Type::RAW, None)?;
    bpf::probe()
}

/// The layouts of a socket's rings.
#[expect(unsafe_code, reason = "an option that no safe interface has")]
fn layouts(socket: &Socket) -> io::Result<Layouts> {
    let mut layouts = Layouts::default();
    let mut len = libc::socklen_t::try_from(size_of::<Layouts>()).unwrap_or(0);
    let (value, len) = (std::ptr::from_mut(&mut layouts).cast(), &raw mut len);
    // SAFETY: the descriptor is open as long as `socket`, and the option is written into a struct of the length given,
    // all of whose bytes are integers.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), SOL_XDP, libc::XDP_MMAP_OFFSETS, value, len) };
    if result == 0 { Ok(layouts) } else { Err(io::Error::last_os_error()) }
}

/// Binds the socket to a queue of an interface.
#[expect(unsafe_code, reason = "an address that no safe interface has")]
fn bind_to(socket: &Socket, index: u32, (queue, mode): (u32, XdpMode)) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: u16::try_from(AF_XDP).unwrap_or(0),
        sxdp_flags: match mode {
            XdpMode::Generic | XdpMode::DriverCopy => libc::XDP_COPY,
            XdpMode::DriverZeroCopy => libc::XDP_ZEROCOPY,
        },
        sxdp_ifindex: index,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: 0,
    };
    let len = libc::socklen_t::try_from(size_of_val(&address)).unwrap_or(0);
    // SAFETY: the descriptor is open, and the address is read from a value of the length given.
    let result = unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Binds as [`bind_to`] does, and tries again for a while when the queue is busy: the kernel frees that of a socket that
/// was closed a little later.
fn bind_patiently(socket: &Socket, index: u32, how: (u32, XdpMode)) -> io::Result<()> {
    for _ in 0..BIND_COUNT_MAX {
        match bind_to(socket, index, how) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => std::thread::sleep(BIND_PAUSE),
            result => return result,
        }
    }
    bind_to(socket, index, how)
}

/// Whether an error says nothing about the mode: another one would fail as well.
fn is_of_any_mode(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied, ResourceBusy};
    matches!(error.kind(), NotFound | PermissionDenied | ResourceBusy)
}

impl XdpLane {
    /// In the mode that is wished for, or in the quickest one that is granted.
    fn open(lines: &[(LineId, LineAddress)], options: &XdpOptions) -> io::Result<Self> {
        let modes = options.mode.map_or(XdpMode::QUICKEST_FIRST.to_vec(), |mode| vec![mode]);
        let mut refused = None;
        for mode in modes {
            match Self::open_as(lines, options, mode) {
                Ok(lane) => return Ok(lane),
                Err(error) if is_of_any_mode(&error) => return Err(error),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| io::ErrorKind::Unsupported.into()))
    }

    fn open_as(lines: &[(LineId, LineAddress)], options: &XdpOptions, mode: XdpMode) -> io::Result<Self> {
        let interface = lines.first().map_or(std::net::Ipv4Addr::UNSPECIFIED, |(_, line)| line.interface);
        let (index, _) = interface_of(interface)?;
        let count = options.frame_count;
        if !count.is_power_of_two() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "frame_count is no power of two"));
        }
        let socket = Socket::new(Domain::from(AF_XDP), Type::RAW, None)?;
        let len = usize::try_from(u64::from(count).saturating_mul(u64::from(CHUNK_LEN))).map_err(io::Error::other)?;
        let memory = Mapping::anonymous(len)?;
        let registration = MemoryRegistration {
            address: memory.address(),
            len: u64::try_from(len).map_err(io::Error::other)?,
            chunk_len: CHUNK_LEN,
            headroom: 0,
            flags: 0,
            padding: 0,
        };
        set_option(&socket, SOL_XDP, libc::XDP_UMEM_REG, &registration)?;
        let layouts = layouts(&socket)?;
        let fill_offset = libc::off_t::try_from(libc::XDP_UMEM_PGOFF_FILL_RING).map_err(io::Error::other)?;
        let fill = Ring::new(&socket, libc::XDP_UMEM_FILL_RING, count, (layouts.fill, 8, fill_offset))?;
        // The kernel wants a completion ring even from those that never send.
        set_option(&socket, SOL_XDP, libc::XDP_UMEM_COMPLETION_RING, &64_u32)?;
        let layout = (layouts.received, DESCRIPTOR_LEN, libc::XDP_PGOFF_RX_RING);
        let received = Ring::new(&socket, libc::XDP_RX_RING, count, layout)?;
        for chunk in 0..count {
            let address = u64::from(chunk).saturating_mul(u64::from(CHUNK_LEN));
            fill.map.set_u64_at(fill.entry(chunk, 8), address);
        }
        fill.map.set_u32_at(fill.producer, count, Ordering::Release);
        bind_patiently(&socket, index, (options.queue, mode))?;
        let destinations: Vec<SocketAddrV4> = lines.iter().map(|(_, line)| line.destination).collect();
        let is_generic = mode == XdpMode::Generic;
        let program =
            bpf::attach(&Verdicts { destinations, socket: socket.as_fd(), queue: options.queue }, index, is_generic)?;
        let memberships: io::Result<Vec<Option<Socket>>> = lines.iter().map(|(_, line)| join(*line)).collect();
        Ok(Self {
            lines: lines.iter().map(|(line, address)| (*line, *address, LineCounters::default())).collect(),
            received,
            fill,
            memory,
            socket,
            mode,
            frame: None,
            _program: program,
            _memberships: memberships?.into_iter().flatten().collect(),
        })
    }

    /// The descriptor that is next: where its frame lies, and how long it is.
    fn next(&self) -> Option<(usize, usize)> {
        let ring = &self.received;
        let consumer = ring.map.u32_at(ring.consumer, Ordering::Relaxed);
        if ring.map.u32_at(ring.producer, Ordering::Acquire) == consumer {
            return None;
        }
        let at = ring.entry(consumer, DESCRIPTOR_LEN);
        let start = usize::try_from(ring.map.u64_at(at)).ok()?;
        let len = usize::try_from(ring.map.u32_at(at.saturating_add(8), Ordering::Relaxed)).ok()?;
        Some((start, len))
    }

    /// Gives the frame of the next descriptor back to the kernel.
    fn release(&mut self) {
        let Some((start, _)) = self.next() else { return };
        let chunk_len = usize::try_from(CHUNK_LEN).unwrap_or(usize::MAX);
        let chunk = start.checked_div(chunk_len).unwrap_or(0).saturating_mul(chunk_len);
        let fill = &self.fill;
        let producer = fill.map.u32_at(fill.producer, Ordering::Relaxed);
        fill.map.set_u64_at(fill.entry(producer, 8), u64::try_from(chunk).unwrap_or(0));
        fill.map.set_u32_at(fill.producer, producer.wrapping_add(1), Ordering::Release);
        let ring = &self.received;
        let consumer = ring.map.u32_at(ring.consumer, Ordering::Relaxed);
        ring.map.set_u32_at(ring.consumer, consumer.wrapping_add(1), Ordering::Release);
    }

    /// A frame that is none is told of the interface's first line: what it says of its line may be wrong, too.
    fn count_damaged(&mut self) {
        if let Some((_, _, counters)) = self.lines.first_mut() {
            counters.damaged_count = counters.damaged_count.saturating_add(1);
        }
    }

    /// The frame of the next descriptor as a datagram of a line.
    fn look(&mut self, (start, len): (usize, usize)) -> Option<Frame> {
        self.memory.prefetch(start..start.saturating_add(len.min(PREFETCHED_LEN)));
        let bytes = self.memory.bytes(start..start.saturating_add(len));
        let checks = Checks { udp: UdpCheck::Lenient, ..Checks::default() };
        let datagram = dissect(LinkType::Ethernet, bytes, false, checks).ok()?;
        let SocketAddr::V4(from) = datagram.source else { return None };
        let of_line = |address: &LineAddress| {
            datagram.destination.port() == address.destination.port()
                && datagram.destination.ip() == IpAddr::V4(*address.destination.ip())
        };
        let (line, _, counters) = self.lines.iter_mut().find(|(_, address, _)| of_line(address))?;
        counters.packet_count = counters.packet_count.saturating_add(1);
        counters.unstamped_count = counters.unstamped_count.saturating_add(1);
        let head = Head { line: *line, time: wall(), stamp: StampKind::Tsc };
        let start = start.saturating_add(datagram.payload_start);
        Some(Frame { head, from, start, end: start.saturating_add(datagram.payload.len()) })
    }
}

/// What the kernel could not hand over: `rx_dropped`, `rx_invalid_descs`, …, `rx_ring_full` (`struct xdp_statistics`).
///
/// `rx_fill_ring_empty_descs` is no count of frames: with a copy every such frame is in `rx_dropped` already, and a driver
/// without a copy raises it by looking for room. What the card drops then is in its own counters (`ethtool -S`).
#[expect(unsafe_code, reason = "an option that no safe interface has")]
fn drop_count(socket: &Socket) -> u64 {
    let mut words = [0_u64; 6];
    let mut len = libc::socklen_t::try_from(size_of_val(&words)).unwrap_or(0);
    let (value, len) = (std::ptr::from_mut(&mut words).cast(), &raw mut len);
    // SAFETY: the descriptor is open as long as `socket`, and the option is written into an array of the length given.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), SOL_XDP, libc::XDP_STATISTICS, value, len) };
    let [dropped, _, _, ring_full, _, _] = words;
    if result == 0 { dropped.saturating_add(ring_full) } else { 0 }
}

impl Lane for XdpLane {
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
            let next = self.next()?;
            self.frame = self.look(next);
            if self.frame.is_none() {
                self.count_damaged();
                self.release();
            }
        }
        self.frame.map(|frame| frame.head)
    }

    #[inline]
    fn packet(&self) -> Option<(&[u8], SocketAddrV4)> {
        self.frame.map(|frame| (self.memory.bytes(frame.start..frame.end), frame.from))
    }

    #[inline]
    fn pass(&mut self) {
        self.frame = None;
        self.release();
    }

    /// What the kernel dropped is told of the interface's first line.
    fn counters(&self) -> Vec<(LineId, LineCounters)> {
        let mut dropped = Some(drop_count(&self.socket));
        let of_line = |(line, _, counters): &(LineId, LineAddress, LineCounters)| {
            (*line, LineCounters { kernel_drop_count: dropped.take().unwrap_or(0), ..*counters })
        };
        self.lines.iter().map(of_line).collect()
    }

    fn facts(&self) -> Vec<(LineId, SocketFacts)> {
        let of_line = |(line, address, _): &(LineId, LineAddress, LineCounters)| {
            let facts = SocketFacts {
                way: Way::Xdp(self.mode),
                local: address.destination,
                receive_buffer_len: self.memory.len(),
                is_buffer_granted: true,
                busy_poll: BusyPoll::Off,
                stamp: StampKind::Tsc,
            };
            (*line, facts)
        };
        self.lines.iter().map(of_line).collect()
    }
}

/// Takes over a descriptor that a system call gave.
#[expect(unsafe_code, reason = "a descriptor comes as a number")]
pub(super) fn owned(descriptor: i64) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

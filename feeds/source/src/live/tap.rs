//! Everything that passes an interface, both ways, with the kernel's time stamps: a measurement from outside, with no part
//! in what is measured (AF_PACKET with TPACKET_V2, `packet(7)`). Needs CAP_NET_RAW.
//!
//! A frame that leaves is stamped when it is handed to the driver, one that arrives when the driver hands it over: on a
//! veth pair both ends count by the same clock. Reading takes no system call.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use peregrine_types::EpochNanos;
use socket2::{Domain, Socket, Type};

use super::interface::interface_of;
use super::mapping::Mapping;
use super::packet_ring::{bind_to, kernel, set_option, stamp_early, statistics};

/// Bytes of a frame's slot: headers, and the begin of what they carry.
const FRAME_LEN: u32 = 512;
const BLOCK_LEN: u32 = 1 << 20;
/// Where `struct sockaddr_ll` stands behind the header, and its packet type (`linux/if_packet.h`).
const PACKET_TYPE_AT: usize = 32 + 10;
/// The packet type of a frame that leaves.
const OUTGOING: u32 = 4;

/// A frame that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapFrame<'a> {
    /// When, by the kernel.
    pub time: EpochNanos,
    /// Whether that is when the kernel gave it to the driver or took it over; else, for the first frames after the tap was
    /// opened, it is some 0.3 us later, when its copy was ready.
    pub is_stamped_early: bool,
    /// Whether it left by the interface; else it arrived.
    pub is_outgoing: bool,
    /// From the link header on; what is longer than a slot is cut.
    pub bytes: &'a [u8],
}

/// See the module.
pub struct Tap {
    socket: Socket,
    map: Mapping,
    frame_count: u32,
    unit: u32,
    /// Whether the frame of `unit` was handed out and is to be given back.
    is_held: bool,
    dropped_count: u64,
}

impl Tap {
    /// A tap on the interface that has `address`, with room for `mib` MiB of frames, 2,048 each (1 to 1,024).
    ///
    /// # Errors
    /// What the system says; without CAP_NET_RAW that it is not permitted.
    pub fn open(address: Ipv4Addr, mib: u32) -> io::Result<Self> {
        let (index, _) = interface_of(address)?;
        let mib = mib.clamp(1, 1_024);
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        stamp_early(&socket)?;
        set_option(&socket, kernel::SOL_PACKET, kernel::PACKET_VERSION, &kernel::TPACKET_V2)?;
        let frame_count = (BLOCK_LEN / FRAME_LEN).saturating_mul(mib);
        set_option(&socket, kernel::SOL_PACKET, kernel::PACKET_RX_RING, &[BLOCK_LEN, mib, FRAME_LEN, frame_count])?;
        let len = u64::from(BLOCK_LEN).saturating_mul(u64::from(mib));
        let map = Mapping::of_socket(socket.as_fd(), usize::try_from(len).map_err(io::Error::other)?, 0)?;
        bind_to(&socket, index)?;
        Ok(Self { socket, map, frame_count, unit: 0, is_held: false, dropped_count: 0 })
    }

    fn start(&self) -> usize {
        usize::try_from(u64::from(self.unit).saturating_mul(u64::from(FRAME_LEN))).unwrap_or(usize::MAX)
    }

    /// The next frame, if one is there; the one before it goes back to the kernel.
    pub fn advance(&mut self) -> Option<TapFrame<'_>> {
        if self.is_held {
            self.map.set_u32_at(self.start(), 0, Ordering::Release);
            self.unit = self.unit.saturating_add(1).checked_rem(self.frame_count).unwrap_or(0);
            self.is_held = false;
        }
        let at = self.start();
        let status = self.map.u32_at(at, Ordering::Acquire);
        if status & kernel::TP_STATUS_USER == 0 {
            return None;
        }
        let is_stamped_early = status & kernel::TP_STATUS_TS_SOFTWARE != 0;
        self.is_held = true;
        // Length here, offset of the link header, seconds, nanoseconds: see `RingLane::look`.
        let word = |field: usize| self.map.u32_at(at.saturating_add(field), Ordering::Relaxed);
        let (snap, mac, seconds, nanos) = (word(8), word(12), word(16), word(20));
        let mac = if cfg!(target_endian = "little") { mac & 0xffff } else { mac >> 16 };
        // The packet type is the third byte of its word.
        let kind = word(PACKET_TYPE_AT - 2);
        let kind = if cfg!(target_endian = "little") { kind >> 16 & 0xff } else { kind >> 8 & 0xff };
        let begin = at.saturating_add(usize::try_from(mac).unwrap_or(0));
        let end = begin.saturating_add(usize::try_from(snap).unwrap_or(0));
        let time = i64::from(seconds).saturating_mul(1_000_000_000).saturating_add(i64::from(nanos));
        let (time, is_outgoing) = (EpochNanos(time), kind == OUTGOING);
        Some(TapFrame { time, is_stamped_early, is_outgoing, bytes: self.map.bytes(begin..end) })
    }

    /// Frames that found no room since the tap was opened.
    pub fn dropped_count(&mut self) -> u64 {
        // The kernel forgets them when it is asked.
        let dropped = statistics(&self.socket).map_or(0, |(_, dropped)| u64::from(dropped));
        self.dropped_count = self.dropped_count.saturating_add(dropped);
        self.dropped_count
    }
}

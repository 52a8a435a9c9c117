//! Writes pcapng sections of one interface or several: by default nanoseconds, little-endian, Ethernet.

use std::io::{self, Write};

use peregrine_types::EpochNanos;

use super::{
    BYTE_ORDER_MAGIC, ENHANCED_PACKET, INTERFACE_DESCRIPTION, OPTION_COMMENT, OPTION_NAME, OPTION_TIME_OFFSET,
    OPTION_TIME_RESOLUTION, Resolution, SECTION_HEADER,
};
use crate::ByteOrder;

/// How a section is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Byte order of the section.
    pub order: ByteOrder,
    /// Unit of the time stamps; what is finer is cut off.
    pub resolution: Resolution,
    /// Seconds that readers add to every time stamp (`if_tsoffset`).
    pub offset_secs: i64,
    /// Link type of every packet (1: Ethernet).
    pub link_type: u16,
    /// Longest packet stored whole, in bytes; longer ones are cut to it. 0: no limit.
    pub snap_len: u32,
}

impl Default for Layout {
    fn default() -> Self {
        let order = ByteOrder::Little;
        Self { order, resolution: Resolution::NANOS, offset_secs: 0, link_type: 1, snap_len: 262_144 }
    }
}

/// Writes one section.
pub struct Writer<W: Write> {
    output: W,
    layout: Layout,
    body: Vec<u8>,
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

impl<W: Write> Writer<W> {
    /// Begins a file with nanosecond stamps, little-endian, Ethernet. `output` should be buffered.
    ///
    /// # Errors
    /// What the output says.
    pub fn new(output: W) -> io::Result<Self> {
        Self::with_layout(output, Layout::default())
    }

    /// Begins a section of another layout: a file of its own, or a further section of one.
    ///
    /// # Errors
    /// What the output says.
    pub fn with_layout(output: W, layout: Layout) -> io::Result<Self> {
        let mut writer = Self { output, layout, body: Vec::new() };
        writer.write_section_header("")?;
        writer.write_interface("")?;
        Ok(writer)
    }

    /// Begins a file with one interface for each of `names`, in order, and a comment about the whole.
    ///
    /// # Errors
    /// What the output says.
    pub fn with_interfaces(output: W, comment: &str, names: &[&str]) -> io::Result<Self> {
        let mut writer = Self { output, layout: Layout::default(), body: Vec::with_capacity(4_096) };
        writer.write_section_header(comment)?;
        for name in names {
            writer.write_interface(name)?;
        }
        Ok(writer)
    }

    /// Appends one packet, received at `recv_time`, whose bytes on the wire are `frame`.
    ///
    /// # Errors
    /// What the output says; `InvalidInput` for a time before 1970 (or before the section's offset), one that its unit
    /// cannot hold in 64 bits, and for a frame of 4 GiB or more.
    pub fn write_packet(&mut self, recv_time: EpochNanos, frame: &[u8]) -> io::Result<()> {
        self.write_packet_of(0, recv_time, frame)
    }

    /// As [`Writer::write_packet`], of the interface with this number.
    ///
    /// # Errors
    /// As there.
    pub fn write_packet_of(&mut self, interface: u32, recv_time: EpochNanos, frame: &[u8]) -> io::Result<()> {
        let ticks = self.ticks(recv_time).ok_or_else(|| invalid("the time does not fit the section's unit"))?;
        let wire_len = u32::try_from(frame.len()).map_err(|_| invalid("a packet is shorter than 4 GiB"))?;
        let limit = if self.layout.snap_len == 0 { u32::MAX } else { self.layout.snap_len };
        let stored_len = wire_len.min(limit);
        let high = u32::try_from(ticks >> 32).unwrap_or(0);
        let low = u32::try_from(ticks & 0xffff_ffff).unwrap_or(0);
        self.body.clear();
        for field in [interface, high, low, stored_len, wire_len] {
            self.body.extend_from_slice(&self.layout.order.bytes_of_u32(field));
        }
        self.body.extend_from_slice(frame.get(..stored_len as usize).unwrap_or(frame));
        self.write_block(ENHANCED_PACKET)
    }

    /// The output, to be flushed or asked for its place.
    pub const fn output(&mut self) -> &mut W {
        &mut self.output
    }

    /// Flushes and gives the output back.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.flush()?;
        Ok(self.output)
    }

    fn ticks(&self, time: EpochNanos) -> Option<u64> {
        let nanos = time.0.checked_sub(self.layout.offset_secs.checked_mul(1_000_000_000)?)?;
        self.layout.resolution.ticks(u64::try_from(nanos).ok()?)
    }

    fn write_section_header(&mut self, comment: &str) -> io::Result<()> {
        let order = self.layout.order;
        self.body.clear();
        self.body.extend_from_slice(&order.bytes_of_u32(BYTE_ORDER_MAGIC));
        self.body.extend_from_slice(&order.bytes_of_u16(1));
        self.body.extend_from_slice(&order.bytes_of_u16(0));
        // The section's length is left open.
        self.body.extend_from_slice(&[0xff; 8]);
        if !comment.is_empty() {
            self.push_option(OPTION_COMMENT, comment.as_bytes());
            self.push_option(0, &[]);
        }
        self.write_block(SECTION_HEADER)
    }

    fn write_interface(&mut self, name: &str) -> io::Result<()> {
        let Layout { order, resolution, offset_secs, link_type, snap_len } = self.layout;
        self.body.clear();
        self.body.extend_from_slice(&order.bytes_of_u16(link_type));
        self.body.extend_from_slice(&[0; 2]);
        self.body.extend_from_slice(&order.bytes_of_u32(snap_len));
        if !name.is_empty() {
            self.push_option(OPTION_NAME, name.as_bytes());
        }
        self.push_option(OPTION_TIME_RESOLUTION, &[resolution.0]);
        if offset_secs != 0 {
            self.push_option(OPTION_TIME_OFFSET, &order.bytes_of_i64(offset_secs));
        }
        self.push_option(0, &[]);
        self.write_block(INTERFACE_DESCRIPTION)
    }

    fn push_option(&mut self, code: u16, value: &[u8]) {
        let len = u16::try_from(value.len()).unwrap_or(0);
        self.body.extend_from_slice(&self.layout.order.bytes_of_u16(code));
        self.body.extend_from_slice(&self.layout.order.bytes_of_u16(len));
        self.body.extend_from_slice(value);
        self.pad();
    }

    fn pad(&mut self) {
        self.body.resize(self.body.len().next_multiple_of(4), 0);
    }

    fn write_block(&mut self, kind: u32) -> io::Result<()> {
        self.pad();
        let len = u32::try_from(self.body.len().saturating_add(12));
        let len = self.layout.order.bytes_of_u32(len.map_err(|_| invalid("a block is shorter than 4 GiB"))?);
        self.output.write_all(&self.layout.order.bytes_of_u32(kind))?;
        self.output.write_all(&len)?;
        self.output.write_all(&self.body)?;
        self.output.write_all(&len)
    }
}

//! Writes capture files: by default nanoseconds, little-endian, Ethernet.

use std::io::{self, Write};

use peregrine_types::EpochNanos;

use super::Fraction;
use crate::ByteOrder;

/// How a capture file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Byte order of all headers.
    pub order: ByteOrder,
    /// Unit of the time stamps' fraction; what is finer is cut off.
    pub fraction: Fraction,
    /// Link type of every packet (1: Ethernet).
    pub link_type: u16,
    /// Longest packet stored whole, in bytes; longer ones are cut to it.
    pub snap_len: u32,
}

impl Default for Layout {
    fn default() -> Self {
        Self { order: ByteOrder::Little, fraction: Fraction::Nanos, link_type: 1, snap_len: 262_144 }
    }
}

/// Writes one capture file.
pub struct Writer<W: Write> {
    output: W,
    layout: Layout,
}

impl<W: Write> Writer<W> {
    /// Begins a file with nanosecond stamps, little-endian, Ethernet. `output` should be buffered.
    ///
    /// # Errors
    /// What the output says.
    pub fn new(output: W) -> io::Result<Self> {
        Self::with_layout(output, Layout::default())
    }

    /// Begins a file of another layout.
    ///
    /// # Errors
    /// What the output says.
    pub fn with_layout(mut output: W, layout: Layout) -> io::Result<Self> {
        let order = layout.order;
        output.write_all(&order.bytes_of_u32(layout.fraction.magic()))?;
        output.write_all(&order.bytes_of_u16(2))?;
        output.write_all(&order.bytes_of_u16(4))?;
        output.write_all(&[0; 8])?;
        output.write_all(&order.bytes_of_u32(layout.snap_len))?;
        output.write_all(&order.bytes_of_u32(u32::from(layout.link_type)))?;
        Ok(Self { output, layout })
    }

    /// Appends one packet, received at `recv_time`, whose bytes on the wire are `frame`.
    ///
    /// # Errors
    /// What the output says; `InvalidInput` when the time lies outside the years 1970 to 2106 or the frame is longer
    /// than 4 GiB.
    pub fn write_packet(&mut self, recv_time: EpochNanos, frame: &[u8]) -> io::Result<()> {
        let invalid = |what: &'static str| io::Error::new(io::ErrorKind::InvalidInput, what);
        let seconds = u32::try_from(recv_time.0.div_euclid(1_000_000_000));
        let seconds = seconds.map_err(|_| invalid("a pcap time lies in the years 1970 to 2106"))?;
        let nanos = u32::try_from(recv_time.0.rem_euclid(1_000_000_000)).unwrap_or(0);
        let fraction = nanos.checked_div(self.layout.fraction.nanos()).unwrap_or(0);
        let wire_len = u32::try_from(frame.len()).map_err(|_| invalid("a packet is shorter than 4 GiB"))?;
        let stored_len = wire_len.min(self.layout.snap_len);
        for field in [seconds, fraction, stored_len, wire_len] {
            self.output.write_all(&self.layout.order.bytes_of_u32(field))?;
        }
        self.output.write_all(frame.get(..stored_len as usize).unwrap_or(frame))
    }

    /// Flushes and gives the output back.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.flush()?;
        Ok(self.output)
    }
}

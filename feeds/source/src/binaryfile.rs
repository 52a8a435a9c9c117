//! Nasdaq's BinaryFILE: each record is a big-endian u16 length and one ITCH 5.0 message; a length of zero ends the
//! session. Plain or gzip. The file has no receive times: the exchange's own stand in, marked synthetic.
//!
//! | offset | length | field |
//! |---|---|---|
//! | 0 | 2 | payload length, big-endian, the bytes that follow; 0 = end of session |
//! | 2 | length | one message, starting with its type byte |

use core::ops::Range;
use std::io::{self, Write};

use peregrine_types::{EpochNanos, Nanos};
use peregrine_wire::itch50::MessageType;

use crate::{
    Carrier, End, Hint, Input, LineId, Packet, Progress, Session, Source, SourceError, StampKind, Statistics,
    bytes::{array, be_u16},
    packet::MonotoneTime,
};

/// Bytes of the length in front of each message.
const PREFIX_LEN: usize = 2;

/// Reads the messages of a BinaryFILE.
pub struct BinaryFile {
    input: Input,
    line: LineId,
    session: Session,
    time: MonotoneTime,
    current: Option<Record>,
    is_done: bool,
    statistics: Statistics,
}

struct Record {
    offset: u64,
    recv_time: EpochNanos,
    message: Range<usize>,
}

impl BinaryFile {
    /// A reader of `input` whose messages' times count from the midnight of `session`.
    #[must_use]
    pub fn new(input: Input, line: LineId, session: Session) -> Self {
        Self {
            input,
            line,
            session,
            time: MonotoneTime::new(),
            current: None,
            is_done: false,
            statistics: Statistics::default(),
        }
    }

    /// Steps to the next record; `None` at the end, which is then described in the statistics.
    fn next_record(&mut self) -> Result<Option<Record>, SourceError> {
        let available = self.input.require(PREFIX_LEN)?;
        let start = self.input.offset();
        let Some(len) = be_u16(self.input.ready(), 0).map(usize::from) else {
            self.statistics.end = self.end_at(start, available, PREFIX_LEN);
            return Ok(None);
        };
        if len == 0 {
            self.input.take(PREFIX_LEN);
            self.statistics.end = self.end_of_session()?;
            return Ok(None);
        }
        let record_len = len.saturating_add(PREFIX_LEN);
        let available = self.input.require(record_len)?;
        if available < record_len {
            self.statistics.end = self.end_at(start, available, record_len);
            return Ok(None);
        }
        self.input.take(PREFIX_LEN);
        let offset = self.input.offset();
        let message = self.input.take(len);
        let recv_time = self.message_time(message.clone());
        Ok(Some(Record { offset, recv_time, message }))
    }

    /// The end at `offset`, where a record of `needed` bytes should be and `available` are.
    fn end_at(&self, offset: u64, available: usize, needed: usize) -> End {
        match End::short(&self.input, offset, available, needed) {
            End::Complete => End::Incomplete { offset },
            other @ (End::Open | End::Incomplete { .. } | End::Truncated { .. } | End::FollowedByData { .. }) => other,
        }
    }

    fn end_of_session(&mut self) -> Result<End, SourceError> {
        let following = self.input.require(1)?;
        let offset = self.input.offset();
        Ok(match (following, self.input.is_cut()) {
            (0, false) => End::Complete,
            (0, true) => End::Truncated { offset, missing_len: 0 },
            _ => End::FollowedByData { offset },
        })
    }

    /// Midnight plus the message's time stamp (ITCH 5.0: six bytes at offset 5 of every message); for a message too
    /// short to have one, the time of the message before.
    fn message_time(&mut self, message: Range<usize>) -> EpochNanos {
        let stamp: Option<[u8; 6]> = array(self.input.slice(message), 5);
        let own = stamp.map_or(EpochNanos::MIN, |[a, b, c, d, e, f]| {
            let nanos = i64::from_be_bytes([0, 0, a, b, c, d, e, f]);
            self.session.midnight.plus(Nanos(nanos))
        });
        if own == EpochNanos::MIN {
            self.time.last(self.session.midnight)
        } else {
            self.time.clamp(own, &mut self.statistics)
        }
    }
}

impl Source for BinaryFile {
    #[inline]
    fn advance(&mut self) -> Result<bool, SourceError> {
        self.current = None;
        if self.is_done {
            return Ok(false);
        }
        self.is_done = true;
        let Some(record) = self.next_record()? else { return Ok(false) };
        self.is_done = false;
        let len = u64::try_from(record.message.len()).unwrap_or(u64::MAX);
        self.statistics.record_count = self.statistics.record_count.saturating_add(1);
        self.statistics.packet_count = self.statistics.packet_count.saturating_add(1);
        self.statistics.payload_len = self.statistics.payload_len.saturating_add(len);
        self.current = Some(record);
        Ok(true)
    }

    #[inline]
    fn current(&self) -> Option<Packet<'_>> {
        let record = self.current.as_ref()?;
        Some(Packet {
            line: self.line,
            recv_time: record.recv_time,
            stamp: StampKind::Synthetic,
            bytes: self.input.slice(record.message.clone()),
            offset: record.offset,
        })
    }

    fn format(&self) -> Carrier {
        Carrier::Itch
    }

    fn session(&self) -> Option<Session> {
        Some(self.session)
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }

    fn progress(&self) -> Progress {
        self.input.progress()
    }
}

/// The length of an ITCH 5.0 message by its type code.
fn itch50_len(code: u8) -> Option<usize> {
    MessageType::from_code(code).map(MessageType::message_len)
}

/// Whether a file that begins with `head` (its first bytes, five or more where there are so many) can be a BinaryFILE
/// of ITCH 5.0.
///
/// # Errors
/// The [`Hint`] that says what it looks like instead.
pub fn probe(head: &[u8]) -> Result<(), Hint> {
    let (Some(len), kind) = (be_u16(head, 0), head.get(2).copied().unwrap_or(0)) else {
        return if head.is_empty() { Err(Hint::Empty) } else { Ok(()) };
    };
    let second = head.get(3).copied().unwrap_or(0);
    let is_end_record = len == 0 && head.len() == PREFIX_LEN;
    if is_end_record || head.len() == PREFIX_LEN || itch50_len(kind) == Some(usize::from(len)) {
        return Ok(());
    }
    let is_sequenced =
        kind == b'S' && itch50_len(second).is_some_and(|inner| inner.saturating_add(1) == usize::from(len));
    // SoupBinTCP: login accepted (31), debug, server heartbeat (1), end of session (1).
    let is_control = matches!((kind, len), (b'A', 31) | (b'H' | b'Z', 1)) || kind == b'+';
    if is_sequenced || is_control {
        return Err(Hint::SoupBinTcp);
    }
    // ITCH 4.1: seconds (5), system event (6), stock directory (20), add order (30).
    if matches!((kind, len), (b'T', 5) | (b'S', 6) | (b'R', 20) | (b'H', 16) | (b'A', 30)) {
        return Err(Hint::OlderItch);
    }
    Err(Hint::NotItch { len, kind })
}

/// Writes a BinaryFILE.
pub struct Writer<W: Write> {
    output: W,
}

impl<W: Write> Writer<W> {
    /// A writer to `output`, which should be buffered.
    #[must_use]
    pub const fn new(output: W) -> Self {
        Self { output }
    }

    /// Appends one message.
    ///
    /// # Errors
    /// What the output says; `InvalidInput` for an empty message (it would end the session) or one above 65,535 bytes.
    pub fn write_message(&mut self, message: &[u8]) -> io::Result<()> {
        match u16::try_from(message.len()) {
            Ok(len) if len > 0 => {
                self.output.write_all(&len.to_be_bytes())?;
                self.output.write_all(message)
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "a message has 1 to 65,535 bytes")),
        }
    }

    /// Writes the record that ends the session, flushes and gives the output back.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0, 0])?;
        self.output.flush()?;
        Ok(self.output)
    }

    /// Flushes and gives the output back without the end record: the form of an extract.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish_incomplete(mut self) -> io::Result<W> {
        self.output.flush()?;
        Ok(self.output)
    }
}

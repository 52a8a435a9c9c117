//! MoldUDP64 1.00: the carrier of ITCH over UDP multicast. Packets are checked once as a whole, then read in place.
//! All numbers are big-endian.

use zerocopy::byteorder::big_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of [`Header`] in bytes.
pub const HEADER_LEN: usize = 20;
/// Bytes in front of each message: its length.
pub const BLOCK_HEADER_LEN: usize = 2;
/// `message_count` of a heartbeat.
pub const COUNT_HEARTBEAT: u16 = 0;
/// `message_count` that says the session is over.
pub const COUNT_END_OF_SESSION: u16 = 0xFFFF;
/// Most messages that one packet can carry.
pub const MESSAGE_COUNT_MAX: u16 = 0xFFFE;

/// The name of a session: ten bytes of ASCII, padded with spaces on the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Session(pub [u8; 10]);

impl Session {
    /// The first eight bytes as a big-endian integer, as `SessionStart` and `SessionEnd` events carry them.
    #[must_use]
    pub const fn first_eight(self) -> u64 {
        let [a, b, c, d, e, f, g, h, _, _] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// The other two bytes as one number.
    #[must_use]
    pub const fn last_two(self) -> u16 {
        let [.., i, j] = self.0;
        u16::from_be_bytes([i, j])
    }
}

/// The header of every downstream packet.
///
/// | offset | length | field | meaning |
/// |---|---|---|---|
/// | 0 | 10 | `session` | name of the session |
/// | 10 | 8 | `sequence_number` | number of the first message; of the next one when there is none |
/// | 18 | 2 | `message_count` | 0 heartbeat, 0xFFFF end of session, else the number of blocks that follow |
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// Name of the session.
    pub session: Session,
    /// Number of the first message; of the next one when there is none. Sessions begin at 1.
    pub sequence_number: U64,
    /// 0 heartbeat, 0xFFFF end of session, else the number of blocks that follow.
    pub message_count: U16,
}

/// A request for retransmission; the answer is an ordinary packet, sent to the requester.
///
/// | offset | length | field | meaning |
/// |---|---|---|---|
/// | 0 | 10 | `session` | name of the session |
/// | 10 | 8 | `sequence_number` | first message wanted |
/// | 18 | 2 | `requested_count` | how many messages are wanted |
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Request {
    /// Name of the session.
    pub session: Session,
    /// First message wanted.
    pub sequence_number: U64,
    /// How many messages are wanted.
    pub requested_count: U16,
}

const _: () = assert!(size_of::<Header>() == HEADER_LEN && size_of::<Request>() == HEADER_LEN);

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// It carries messages.
    Data,
    /// It says which message comes next.
    Heartbeat,
    /// It says that no message comes any more.
    EndOfSession,
}

/// Why bytes are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("packet is malformed at byte {offset}: {kind}")]
pub struct PacketError {
    /// Where in the payload the trouble lies, in bytes from its begin.
    pub offset: usize,
    /// What is wrong.
    pub kind: PacketErrorKind,
}

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketErrorKind {
    /// Shorter than a header.
    #[error("shorter than a header")]
    HeaderTruncated,
    /// A block's length leads past the end of the payload, or the payload ends before the last block.
    #[error("block {0} does not fit the payload")]
    BlockTruncated(u16),
    /// Bytes are left behind the last block, or follow a header that announces none.
    #[error("{0} bytes behind the last block")]
    TrailingBytes(usize),
    /// The number of the last message does not fit 64 bits.
    #[error("sequence number overflows")]
    SequenceOverflow,
    /// A message of a packet whose messages say by which schema they were written (MDP 3.0) names another one.
    #[error("message {0} is of another schema")]
    ForeignSchema(u16),
}

/// A packet whose blocks were found to end exactly where the payload ends. Packets of other carriers take this form to be
/// arbitrated ([`crate::Framing`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    session: Session,
    sequence_number: u64,
    message_count: u16,
    blocks: Blocks<'a>,
}

impl<'a> Packet<'a> {
    /// Views the payload of one UDP datagram (its UDP length, not the captured frame's).
    ///
    /// # Errors
    /// [`PacketError`] with the offset; the packet is to be refused as a whole.
    pub fn parse(payload: &'a [u8]) -> Result<Self, PacketError> {
        let Ok((header, blocks)) = Header::ref_from_prefix(payload) else {
            return Err(PacketError { offset: payload.len(), kind: PacketErrorKind::HeaderTruncated });
        };
        let packet = Self {
            session: header.session,
            sequence_number: header.sequence_number.get(),
            message_count: header.message_count.get(),
            blocks: Blocks { rest: blocks, is_one: false },
        };
        if packet.sequence_number.checked_add(u64::from(packet.message_count())).is_none() {
            return Err(PacketError { offset: 10, kind: PacketErrorKind::SequenceOverflow });
        }
        let mut rest = packet.blocks();
        for index in 0..packet.message_count() {
            if rest.next().is_none() {
                let offset = payload.len().saturating_sub(rest.rest.len());
                return Err(PacketError { offset, kind: PacketErrorKind::BlockTruncated(index) });
            }
        }
        if rest.rest.is_empty() {
            return Ok(packet);
        }
        let offset = payload.len().saturating_sub(rest.rest.len());
        Err(PacketError { offset, kind: PacketErrorKind::TrailingBytes(rest.rest.len()) })
    }

    /// A packet of a carrier that numbers packets: all of `message` is the one message with this number.
    pub(crate) const fn of_one(session: Session, sequence_number: u64, message: &'a [u8]) -> Self {
        Self { session, sequence_number, message_count: 1, blocks: Blocks { rest: message, is_one: true } }
    }

    /// Name of the session.
    #[must_use]
    pub const fn session(&self) -> Session {
        self.session
    }

    /// What the packet is.
    #[must_use]
    pub const fn kind(&self) -> PacketKind {
        match self.message_count {
            COUNT_HEARTBEAT => PacketKind::Heartbeat,
            COUNT_END_OF_SESSION => PacketKind::EndOfSession,
            _ => PacketKind::Data,
        }
    }

    /// Number of the first message, or of the next one when the packet carries none.
    #[must_use]
    pub const fn sequence_number(&self) -> u64 {
        self.sequence_number
    }

    /// How many messages the packet carries.
    #[must_use]
    pub const fn message_count(&self) -> u16 {
        match self.message_count {
            COUNT_END_OF_SESSION => 0,
            count => count,
        }
    }

    /// Number of the message after the last of this packet.
    #[must_use]
    pub const fn next_sequence_number(&self) -> u64 {
        self.sequence_number().saturating_add(self.message_count() as u64)
    }

    /// The messages in order; a message may be empty and still has a number.
    #[must_use]
    pub const fn blocks(&self) -> Blocks<'a> {
        self.blocks
    }
}

/// The messages of a packet, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks<'a> {
    rest: &'a [u8],
    /// All of it is one message, whose length stands nowhere.
    is_one: bool,
}

impl<'a> Iterator for Blocks<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.is_one {
            return (!self.rest.is_empty()).then(|| core::mem::take(&mut self.rest));
        }
        let (len, rest) = self.rest.split_first_chunk::<BLOCK_HEADER_LEN>()?;
        let (message, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        self.rest = rest;
        Some(message)
    }
}

/// A packet under construction in a buffer of the caller.
#[derive(Debug)]
pub struct PacketBuilder<'b> {
    buffer: &'b mut [u8],
    len: usize,
    header: Header,
}

/// The message does not fit the packet any more: send the packet and begin another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet has no room for the message")]
pub struct PacketFull;

impl<'b> PacketBuilder<'b> {
    /// A packet of `session` whose first message has the number `sequence_number`, at most as long as `buffer`.
    ///
    /// # Errors
    /// [`PacketFull`] when the buffer does not hold a header.
    pub fn new(buffer: &'b mut [u8], session: Session, sequence_number: u64) -> Result<Self, PacketFull> {
        if buffer.len() < HEADER_LEN {
            return Err(PacketFull);
        }
        let header = Header { session, sequence_number: sequence_number.into(), message_count: U16::ZERO };
        Ok(Self { buffer, len: HEADER_LEN, header })
    }

    /// Appends one message.
    ///
    /// # Errors
    /// [`PacketFull`] when buffer or message count have no room for it; the packet is unchanged.
    pub fn push(&mut self, message: &[u8]) -> Result<(), PacketFull> {
        let count = self.header.message_count.get();
        let len = u16::try_from(message.len()).map_err(|_| PacketFull)?;
        let free = self.buffer.get_mut(self.len..).unwrap_or_default();
        let (block_header, free) = free.split_first_chunk_mut::<BLOCK_HEADER_LEN>().ok_or(PacketFull)?;
        let (block, _) = free.split_at_mut_checked(message.len()).ok_or(PacketFull)?;
        if count >= MESSAGE_COUNT_MAX {
            return Err(PacketFull);
        }
        *block_header = len.to_be_bytes();
        block.copy_from_slice(message);
        self.len = self.len.saturating_add(BLOCK_HEADER_LEN).saturating_add(message.len());
        self.header.message_count = count.saturating_add(1).into();
        Ok(())
    }

    /// How many messages the packet carries so far.
    #[must_use]
    pub const fn message_count(&self) -> u16 {
        self.header.message_count.get()
    }

    /// The finished packet; one without messages is a heartbeat.
    #[must_use]
    pub fn finish(self) -> &'b [u8] {
        if let Some(room) = self.buffer.first_chunk_mut::<HEADER_LEN>() {
            room.copy_from_slice(self.header.as_bytes());
        }
        self.buffer.get(..self.len).unwrap_or_default()
    }
}

impl Header {
    /// A heartbeat: the next message of `session` will have the number `next_sequence_number`.
    #[must_use]
    pub const fn heartbeat(session: Session, next_sequence_number: u64) -> Self {
        Self { session, sequence_number: U64::new(next_sequence_number), message_count: U16::new(COUNT_HEARTBEAT) }
    }

    /// The end of `session`: its last message had the number before `next_sequence_number`.
    #[must_use]
    pub const fn end_of_session(session: Session, next_sequence_number: u64) -> Self {
        Self { session, sequence_number: U64::new(next_sequence_number), message_count: U16::new(COUNT_END_OF_SESSION) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SESSION: Session = Session(*b"000010059B");

    fn build(buffer: &mut [u8], messages: &[Vec<u8>]) -> Vec<u8> {
        let mut builder = PacketBuilder::new(buffer, SESSION, 19_009_117).expect("room for a header");
        for message in messages {
            builder.push(message).expect("room for the message");
        }
        builder.finish().to_vec()
    }

    #[test]
    fn the_header_has_the_bytes_of_the_real_packet() {
        let bytes = build(&mut [0; 100], &[vec![b'A'; 36]]);
        assert_eq!(bytes[..10], *b"000010059B");
        assert_eq!(bytes[10..18], [0, 0, 0, 0, 0x01, 0x22, 0x0E, 0x5D]);
        assert_eq!(bytes[18..22], [0, 1, 0, 0x24]);
        assert_eq!(SESSION.first_eight().to_be_bytes(), *b"00001005");
        assert_eq!(SESSION.last_two().to_be_bytes(), *b"9B");
    }

    #[test]
    fn heartbeat_and_end_of_session_carry_no_block() {
        let beat = Header::heartbeat(SESSION, 7);
        let packet = Packet::parse(beat.as_bytes()).unwrap();
        assert_eq!((packet.kind(), packet.sequence_number(), packet.message_count()), (PacketKind::Heartbeat, 7, 0));
        let end = Header::end_of_session(SESSION, 7);
        let packet = Packet::parse(end.as_bytes()).unwrap();
        assert_eq!((packet.kind(), packet.next_sequence_number()), (PacketKind::EndOfSession, 7));
        let extra = [end.as_bytes(), &[0]].concat();
        assert_eq!(
            Packet::parse(&extra),
            Err(PacketError { offset: 20, kind: PacketErrorKind::TrailingBytes(1) }),
            "0xFFFF is no count"
        );
    }

    #[test]
    fn lying_packets_are_refused_with_the_offset() {
        let good = build(&mut [0; 100], &[vec![1; 3], vec![], vec![2; 5]]);
        for len in 0..good.len() {
            let error = Packet::parse(&good[..len]).unwrap_err();
            assert!(error.offset <= len, "{error}");
        }
        let mut more = good.clone();
        more[19] = 4;
        let error = Packet::parse(&more).unwrap_err();
        assert_eq!((error.offset, error.kind), (good.len(), PacketErrorKind::BlockTruncated(3)));
        let mut fewer = good.clone();
        fewer[19] = 2;
        let error = Packet::parse(&fewer).unwrap_err();
        assert_eq!((error.offset, error.kind), (27, PacketErrorKind::TrailingBytes(7)));
        let mut last = good;
        last[10..18].fill(0xFF);
        assert_eq!(Packet::parse(&last).unwrap_err().kind, PacketErrorKind::SequenceOverflow);
    }

    #[test]
    fn the_builder_stops_at_the_end_of_its_buffer() {
        assert!(PacketBuilder::new(&mut [0; 19], SESSION, 1).is_err());
        let mut buffer = [0; 25];
        let mut builder = PacketBuilder::new(&mut buffer, SESSION, 1).unwrap();
        assert_eq!(builder.push(&[1; 4]), Err(PacketFull));
        assert_eq!(builder.push(&[1; 3]), Ok(()));
        assert_eq!(builder.push(&[]), Err(PacketFull));
        assert_eq!(builder.message_count(), 1);
        assert_eq!(builder.finish().len(), 25);
    }

    proptest! {
        #[test]
        fn what_is_built_reads_back(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20)) {
            let bytes = build(&mut [0; 1500], &messages);
            let packet = Packet::parse(&bytes).unwrap();
            let read: Vec<&[u8]> = packet.blocks().collect();
            prop_assert_eq!(read, messages);
        }
    }
}

//! Packets and messages of MDP 3.0, and the repeating groups inside a message. All numbers are little-endian, nothing is
//! aligned. Every step follows the lengths that were received, so that blocks which a later schema made longer are read
//! as far as they are known.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::moldudp64::{self, PacketError, PacketErrorKind, PacketFull, Session};

/// Length of [`PacketHeader`] in bytes.
pub const PACKET_HEADER_LEN: usize = 12;
/// Length of [`MessageHeader`] in bytes.
pub const MESSAGE_HEADER_LEN: usize = 10;
/// The schema of market data (`mktdata`).
pub const SCHEMA_ID: u16 = 1;
/// The first schema version whose templates are read here; older ones have other template numbers.
pub const SCHEMA_VERSION_MIN: u16 = 9;
/// Nanoseconds of a week.
const WEEK_NS: u64 = 7 * 86_400_000_000_000;
/// From Thursday, 1970-01-01 00:00 UTC, to the first Saturday noon: between two weeks of trading at any clock change.
const WEEK_START_NS: u64 = 216_000_000_000_000;

/// In front of every packet.
///
/// | offset | length | field | meaning |
/// |---|---|---|---|
/// | 0 | 4 | `msg_seq_num` | number of the packet on its feed, from 1, anew each week |
/// | 4 | 8 | `sending_time` | when it was sent, UTC nanoseconds since 1970 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct PacketHeader {
    /// Number of the packet on its feed, from 1, anew each week.
    pub msg_seq_num: U32,
    /// When it was sent, UTC nanoseconds since 1970.
    pub sending_time: U64,
}

/// In front of every message.
///
/// | offset | length | field | meaning |
/// |---|---|---|---|
/// | 0 | 2 | `msg_size` | length of the message, this field included |
/// | 2 | 2 | `block_length` | length of the root block behind this header |
/// | 4 | 2 | `template_id` | which message it is |
/// | 6 | 2 | `schema_id` | 1 |
/// | 8 | 2 | `version` | schema version of the sender |
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct MessageHeader {
    /// Length of the message, this field included.
    pub msg_size: U16,
    /// Length of the root block behind this header.
    pub block_length: U16,
    /// Which message it is.
    pub template_id: U16,
    /// 1.
    pub schema_id: U16,
    /// Schema version of the sender.
    pub version: U16,
}

/// In front of the entries of most groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct GroupSize {
    /// Bytes of one entry.
    pub block_length: U16,
    /// Number of entries.
    pub num_in_group: u8,
}

/// In front of the entries of the groups of orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct GroupSize8Byte {
    /// Bytes of one entry.
    pub block_length: U16,
    /// Unused.
    pub pad: [u8; 5],
    /// Number of entries.
    pub num_in_group: u8,
}

const _: () =
    assert!(size_of::<PacketHeader>() == PACKET_HEADER_LEN && size_of::<MessageHeader>() == MESSAGE_HEADER_LEN);
const _: () = assert!(size_of::<GroupSize>() == 3 && size_of::<GroupSize8Byte>() == 8);

/// The session of packets sent at `sending_time`: numbers begin anew each week, so a week is one. `MDP3` and the number of
/// the week, which begins on Saturday noon UTC.
#[must_use]
pub fn session_at(sending_time: u64) -> Session {
    let mut week = sending_time.saturating_sub(WEEK_START_NS).checked_div(WEEK_NS).unwrap_or(0);
    let mut name = *b"MDP3000000";
    for digit in name.iter_mut().skip(4).rev() {
        *digit = b'0'.saturating_add(u8::try_from(week % 10).unwrap_or(0));
        week /= 10;
    }
    Session(name)
}

/// Views a packet as the arbiter takes it: one message with the packet's number, which is everything behind the packet's
/// header.
///
/// # Errors
/// [`PacketError`] with the offset: shorter than its headers, a message that does not fit, bytes behind the last message,
/// another schema. The packet is to be refused as a whole.
pub fn parse(payload: &[u8]) -> Result<moldudp64::Packet<'_>, PacketError> {
    let Ok((header, body)) = PacketHeader::ref_from_prefix(payload) else {
        return Err(PacketError { offset: payload.len(), kind: PacketErrorKind::HeaderTruncated });
    };
    let (mut rest, mut index) = (Messages(body), 0_u16);
    loop {
        let offset = payload.len().saturating_sub(rest.0.len());
        match rest.next() {
            Some(message) if message.header.schema_id.get() != SCHEMA_ID => {
                return Err(PacketError { offset, kind: PacketErrorKind::ForeignSchema(index) });
            }
            Some(_) => index = index.saturating_add(1),
            None if rest.0.is_empty() && index > 0 => break,
            None => return Err(PacketError { offset, kind: PacketErrorKind::BlockTruncated(index) }),
        }
    }
    let session = session_at(header.sending_time.get());
    Ok(moldudp64::Packet::of_one(session, u64::from(header.msg_seq_num.get()), body))
}

/// The messages of a packet, in order; ends early where a length cannot be.
#[derive(Clone, Copy, Debug)]
pub struct Messages<'a>(pub &'a [u8]);

/// A message in a packet.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its header.
    pub header: &'a MessageHeader,
    /// Its root block, as long as received.
    pub root: &'a [u8],
    /// The groups behind it.
    pub groups: Groups<'a>,
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    #[inline]
    fn next(&mut self) -> Option<Message<'a>> {
        let (header, _) = MessageHeader::ref_from_prefix(self.0).ok()?;
        let (message, rest) = self.0.split_at_checked(usize::from(header.msg_size.get()))?;
        let body = message.get(MESSAGE_HEADER_LEN..)?;
        let (root, groups) = body.split_at_checked(usize::from(header.block_length.get()))?;
        self.0 = rest;
        Some(Message { header, root, groups: Groups(groups) })
    }
}

/// What of the groups of a message is not read yet.
#[derive(Clone, Copy, Debug)]
pub struct Groups<'a>(&'a [u8]);

/// The entries of one group.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a> {
    bytes: &'a [u8],
    entry_len: usize,
}

impl<'a> Groups<'a> {
    /// The next group, with a [`GroupSize`] in front; `None` where it does not fit. A message that ends before it (an older
    /// schema) has none of its entries.
    #[inline]
    pub fn group(&mut self) -> Option<Entries<'a>> {
        if self.0.is_empty() {
            return Some(Entries { bytes: &[], entry_len: 0 });
        }
        let (size, rest) = GroupSize::ref_from_prefix(self.0).ok()?;
        self.entries(size.block_length.get(), size.num_in_group, rest)
    }

    /// The next group, with a [`GroupSize8Byte`] in front; as [`Groups::group`].
    #[inline]
    pub fn group_8byte(&mut self) -> Option<Entries<'a>> {
        if self.0.is_empty() {
            return Some(Entries { bytes: &[], entry_len: 0 });
        }
        let (size, rest) = GroupSize8Byte::ref_from_prefix(self.0).ok()?;
        self.entries(size.block_length.get(), size.num_in_group, rest)
    }

    #[inline]
    fn entries(&mut self, entry_len: u16, count: u8, rest: &'a [u8]) -> Option<Entries<'a>> {
        let entry_len = usize::from(entry_len);
        let (bytes, rest) = rest.split_at_checked(entry_len.saturating_mul(usize::from(count)))?;
        self.0 = rest;
        // Entries without a byte say nothing.
        Some(Entries { bytes, entry_len })
    }
}

impl<'a> Entries<'a> {
    /// How many entries there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        match self.bytes.len().checked_div(self.entry_len) {
            Some(count) => count,
            None => 0,
        }
    }

    /// The entry with this index, from 0, as the first bytes of it that `T` knows; `None` beyond the last, and where entries
    /// are shorter.
    #[inline]
    #[must_use]
    pub fn get<T: FromBytes + KnownLayout + Immutable + Unaligned>(&self, index: usize) -> Option<&'a T> {
        let start = index.checked_mul(self.entry_len)?;
        let entry = self.bytes.get(start..start.checked_add(self.entry_len)?)?;
        T::ref_from_prefix(entry).ok().map(|(entry, _)| entry)
    }

    /// Whether each entry is as long as `T` at least.
    #[inline]
    #[must_use]
    pub const fn fits<T>(&self) -> bool {
        self.bytes.is_empty() || self.entry_len >= size_of::<T>()
    }
}

/// A packet under construction in a buffer of the caller.
#[derive(Debug)]
pub struct PacketBuilder<'b> {
    buffer: &'b mut [u8],
    len: usize,
}

impl<'b> PacketBuilder<'b> {
    /// A packet with this number and time (UTC nanoseconds since 1970), at most as long as `buffer`.
    ///
    /// # Errors
    /// [`PacketFull`] when the buffer does not hold a header.
    pub fn new(buffer: &'b mut [u8], msg_seq_num: u32, sending_time: u64) -> Result<Self, PacketFull> {
        let header = PacketHeader { msg_seq_num: msg_seq_num.into(), sending_time: sending_time.into() };
        let room = buffer.first_chunk_mut::<PACKET_HEADER_LEN>().ok_or(PacketFull)?;
        room.copy_from_slice(header.as_bytes());
        Ok(Self { buffer, len: PACKET_HEADER_LEN })
    }

    /// Appends a message: its root block, and its groups with their sizes in front.
    ///
    /// # Errors
    /// [`PacketFull`] when there is no room for it; the packet is unchanged.
    pub fn push(&mut self, template_id: u16, version: u16, root: &[u8], groups: &[u8]) -> Result<(), PacketFull> {
        let len = MESSAGE_HEADER_LEN.saturating_add(root.len()).saturating_add(groups.len());
        let header = MessageHeader {
            msg_size: u16::try_from(len).map_err(|_| PacketFull)?.into(),
            block_length: u16::try_from(root.len()).map_err(|_| PacketFull)?.into(),
            template_id: template_id.into(),
            schema_id: SCHEMA_ID.into(),
            version: version.into(),
        };
        let end = self.len.saturating_add(len);
        let room = self.buffer.get_mut(self.len..end).ok_or(PacketFull)?;
        let bytes = header.as_bytes().iter().chain(root).chain(groups);
        room.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
        self.len = end;
        Ok(())
    }

    /// The finished packet.
    #[must_use]
    pub fn finish(self) -> &'b [u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}

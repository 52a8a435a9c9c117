//! What can go wrong with a source: what, where (file and byte) and what to do about it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
};

use jiff::civil::Date;

/// Why a source cannot be opened, or cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The system refused to open or read a file.
    #[error("cannot read ({}, byte {offset}): {source}: check that the file exists and may be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// How many bytes of it had been read.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The compressed stream is corrupt.
    #[error(
        "corrupt gzip ({}, compressed byte {compressed_offset}, byte {offset} of the content): {reason}: \
         fetch the file again, or check it with gzip -t", path.display()
    )]
    Gzip {
        /// The file.
        path: PathBuf,
        /// How many compressed bytes had been consumed.
        compressed_offset: u64,
        /// How many bytes of content had been produced.
        offset: u64,
        /// What the decoder said.
        reason: String,
    },
    /// A socket cannot be opened.
    #[error(
        "cannot listen for {what} ({address}, interface {interface}): {source}: check that the address is a group or this \
         host's own, that the interface is up, and that no other program has the port"
    )]
    Socket {
        /// Whose socket.
        what: String,
        /// Where it was to receive.
        address: SocketAddrV4,
        /// On which interface.
        interface: Ipv4Addr,
        /// What the system said.
        source: io::Error,
    },
    /// A socket broke while it was read.
    #[error("cannot receive any more ({address}): {source}: check that the interface is up, and start again")]
    Receive {
        /// Where it receives.
        address: SocketAddrV4,
        /// What the system said.
        source: io::Error,
    },
    /// The content breaks the rules of its format.
    #[error("damaged file ({}, byte {offset}): {damage}: everything before this byte is sound; fetch or cut the file again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged record starts.
        offset: u64,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The file is none of the formats that are understood.
    #[error("not a session that can be replayed ({}): {hint}", path.display())]
    Unrecognised {
        /// The file.
        path: PathBuf,
        /// What it looks like, and what to do.
        hint: Hint,
    },
    /// Nothing says which day the file belongs to.
    #[error("the session's date is unknown ({}): neither receive times nor the file's name tell it: give it with --date YYYY-MM-DD", path.display())]
    NoSessionDate {
        /// The file.
        path: PathBuf,
    },
    /// Files of different days, or of different forms, were given as lines of one session.
    #[error(
        "line {index} is of another session ({found:?}) than the first ({expected:?}): replay one session at a time, or give the day with --date"
    )]
    SessionMismatch {
        /// Which source, from 0.
        index: usize,
        /// The day of the first source.
        expected: Option<Date>,
        /// The day of this one.
        found: Option<Date>,
    },
    /// Raw message files and packet captures were given as lines of one session.
    #[error(
        "line {index} is of another form than the first (raw messages and packets do not mix): give files of one form"
    )]
    FormatMismatch {
        /// Which source, from 0.
        index: usize,
    },
    /// No source, or more than can be told apart.
    #[error("{count} files were given as lines: give 1 to 255")]
    LineCount {
        /// How many were given.
        count: usize,
    },
    /// The time zone is unknown, or the day has no beginning in it.
    #[error(
        "no midnight of {date} in time zone {zone:?}: {reason}: name a zone of the IANA table, such as America/New_York"
    )]
    Zone {
        /// The zone's name as given.
        zone: String,
        /// The day.
        date: Date,
        /// What the time-zone table said.
        reason: String,
    },
}

/// How a file breaks the rules of its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The file ends inside its own header.
    #[error("file header of {available} bytes where {needed} are due")]
    ShortHeader {
        /// Bytes that the header has.
        needed: usize,
        /// Bytes that the file has.
        available: usize,
    },
    /// pcap: another version than 2.x.
    #[error("pcap version {major}.{minor} is not 2.x")]
    PcapVersion {
        /// As written.
        major: u16,
        /// As written.
        minor: u16,
    },
    /// A link type that is not understood.
    #[error(
        "link type {0} is not supported (supported: Ethernet 1, raw IP 101/228/229, loopback 0/108, Linux cooked 113/276)"
    )]
    LinkType(u16),
    /// pcap: a record longer than the format allows.
    #[error("record of {len} bytes, above the limit of {max}")]
    RecordTooLong {
        /// As written.
        len: u32,
        /// The limit that it breaks.
        max: u32,
    },
    /// pcap: a fraction of a second that is a whole second or more.
    #[error(
        "time stamp with a fraction of {fraction} where {limit} is a whole second (a nanosecond file under the microsecond magic?)"
    )]
    Fraction {
        /// As written.
        fraction: u32,
        /// Units in a second.
        limit: u32,
    },
    /// pcapng: the section's byte-order magic is neither order's.
    #[error("section header with byte-order magic {0:#010x} instead of 0x1a2b3c4d")]
    ByteOrderMagic(u32),
    /// pcapng: another major version than 1.
    #[error("pcapng version {0} is not 1")]
    PcapngVersion(u16),
    /// pcapng: a block length that is impossible for the block.
    #[error("block of type {block_type:#x} with the impossible length {len}")]
    BlockLength {
        /// The block's type.
        block_type: u32,
        /// As written.
        len: u32,
    },
    /// pcapng: the length at a block's end differs from the one at its start.
    #[error("block length {head} at its start, {tail} at its end")]
    BlockTrailer {
        /// At the start.
        head: u32,
        /// At the end.
        tail: u32,
    },
    /// pcapng: a packet of an interface that was never described.
    #[error("packet of interface {0}, which the section does not describe")]
    UnknownInterface(u32),
    /// pcapng: more interfaces in one section than are kept.
    #[error("more than {0} interfaces in one section")]
    TooManyInterfaces(u32),
    /// pcapng: a packet longer than its block.
    #[error("packet of {captured} bytes in a block with room for {room}")]
    PacketLength {
        /// As written.
        captured: u32,
        /// What the block can hold.
        room: u32,
    },
    /// pcapng: an option longer than what is left of its block, or of the wrong length for its code.
    #[error("option {code} with the impossible length {len}")]
    OptionLength {
        /// The option's code.
        code: u16,
        /// As written.
        len: u16,
    },
    /// A time outside the range of 64-bit nanoseconds (years 1677 to 2262).
    #[error("time stamp outside the years 1677 to 2262")]
    TimeOutOfRange,
}

/// What a refused file looks like, and what to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Hint {
    /// No byte at all.
    #[error("it is empty")]
    Empty,
    /// A form of pcap with longer record headers.
    #[error("it is a capture in the modified pcap form (magic a1b2cd34): convert it with editcap -F nsecpcap")]
    ModifiedPcap,
    /// ITCH of an older version.
    #[error("it looks like ITCH 4.1 or older (no stock locate in its first message): only ITCH 5.0 is understood")]
    OlderItch,
    /// A recording of the TCP byte stream with SoupBinTCP packets in it.
    #[error(
        "it looks like a SoupBinTCP stream: strip the session layer, so that each record is a length and one message"
    )]
    SoupBinTcp,
    /// A capture where a raw file was asked for.
    #[error("it is a packet capture, not a file of length-prefixed messages: open it as a capture")]
    Capture,
    /// A raw file where a capture was asked for, or anything else that is no capture.
    #[error("it does not start with the magic number of a pcap or pcapng capture")]
    NotACapture,
    /// The first record is no ITCH 5.0 message.
    #[error(
        "its first record (length {len}, type byte {kind:#04x}) is no ITCH 5.0 message, and it is neither pcap nor pcapng nor gzip of either: \
         check what the file is"
    )]
    NotItch {
        /// The first record's length as written.
        len: u16,
        /// Its first byte.
        kind: u8,
    },
    /// gzip within gzip.
    #[error("it is compressed twice: decompress it once")]
    NestedGzip,
}

//! Reads pcapng files block by block.

use core::ops::Range;

use peregrine_types::EpochNanos;

use super::{
    BYTE_ORDER_MAGIC, ENHANCED_PACKET, INTERFACE_DESCRIPTION, OBSOLETE_PACKET, OPTION_COMMENT, OPTION_TIME_OFFSET,
    OPTION_TIME_RESOLUTION, Resolution, SECTION_HEADER, SIMPLE_PACKET,
};
use crate::{
    ByteOrder, Damage, End, Hint, Input, SourceError, capture::Record, frame::LinkType, input::RECORD_LEN_MAX,
    recorded::RecordedFeed,
};

/// More interfaces in one section than any capture has; a file that claims more is damaged.
const INTERFACE_COUNT_MAX: u32 = 4_096;
/// Type and length in front of a body, length behind it.
const HEAD_LEN: usize = 8;
const TAIL_LEN: usize = 4;

pub(crate) struct Reader {
    pub(crate) input: Input,
    order: ByteOrder,
    interfaces: Vec<Interface>,
    /// What the first section's comment says about the feed that was recorded.
    pub(crate) recorded: Option<RecordedFeed>,
    section_count: u32,
    pub(crate) end: End,
}

#[derive(Clone, Copy)]
struct Interface {
    link: Option<LinkType>,
    snap_len: u32,
    resolution: Resolution,
    offset_secs: i64,
}

/// A block whose two lengths are equal; of a kind that is read here, it is whole in the buffer.
struct Block {
    kind: u32,
    offset: u64,
    range: Range<usize>,
    len: u32,
}

impl Reader {
    pub(crate) fn new(mut input: Input) -> Result<Self, SourceError> {
        input.require(HEAD_LEN)?;
        if !input.ready().starts_with(&SECTION_HEADER.to_be_bytes()) {
            return Err(input.unrecognised(Hint::NotACapture));
        }
        Ok(Self {
            input,
            order: ByteOrder::Little,
            interfaces: Vec::new(),
            recorded: None,
            section_count: 0,
            end: End::Open,
        })
    }

    /// The next packet; `None` at the end, which `end` then describes.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, SourceError> {
        while let Some(block) = self.next_block()? {
            match block.kind {
                SECTION_HEADER => self.begin_section(&block)?,
                INTERFACE_DESCRIPTION => self.add_interface(&block)?,
                SIMPLE_PACKET => return self.simple_packet(&block).map(Some),
                ENHANCED_PACKET | OBSOLETE_PACKET => return self.packet(&block).map(Some),
                _ => {}
            }
        }
        Ok(None)
    }

    fn next_block(&mut self) -> Result<Option<Block>, SourceError> {
        let available = self.input.require(HEAD_LEN)?;
        let offset = self.input.offset();
        let Some(kind) = self.order.u32(self.input.ready(), 0).filter(|_| available >= HEAD_LEN) else {
            self.end = End::short(&self.input, offset, available, HEAD_LEN);
            return Ok(None);
        };
        if kind == SECTION_HEADER && !self.find_byte_order(offset)? {
            return Ok(None);
        }
        let len = self.order.u32(self.input.ready(), 4).unwrap_or(0);
        let (len_min, is_read) = match kind {
            SECTION_HEADER => (28, true),
            INTERFACE_DESCRIPTION => (20, true),
            SIMPLE_PACKET => (16, true),
            ENHANCED_PACKET | OBSOLETE_PACKET => (32, true),
            _ => (12, false),
        };
        if len < len_min || !len.is_multiple_of(4) {
            return Err(self.input.damaged(offset, Damage::BlockLength { block_type: kind, len }));
        }
        if is_read { self.whole_block(kind, offset, len) } else { self.skip_block(kind, offset, len) }
    }

    /// Reads the byte order of the section header at `offset`; `false` when the file ends before it.
    fn find_byte_order(&mut self, offset: u64) -> Result<bool, SourceError> {
        const NEEDED: usize = 12;
        let available = self.input.require(NEEDED)?;
        let head = self.input.ready();
        match (ByteOrder::Little.u32(head, 8), ByteOrder::Big.u32(head, 8)) {
            (Some(BYTE_ORDER_MAGIC), _) => self.order = ByteOrder::Little,
            (_, Some(BYTE_ORDER_MAGIC)) => self.order = ByteOrder::Big,
            (Some(other), _) => return Err(self.input.damaged(offset, Damage::ByteOrderMagic(other))),
            (None, _) => {
                self.end = End::short(&self.input, offset, available, NEEDED);
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn whole_block(&mut self, kind: u32, offset: u64, len: u32) -> Result<Option<Block>, SourceError> {
        let needed = len as usize;
        if needed > RECORD_LEN_MAX {
            return Err(self.input.damaged(offset, Damage::BlockLength { block_type: kind, len }));
        }
        let available = self.input.require(needed)?;
        if available < needed {
            self.end = End::short(&self.input, offset, available, needed);
            return Ok(None);
        }
        let tail = self.order.u32(self.input.ready(), needed.saturating_sub(TAIL_LEN)).unwrap_or(0);
        self.check_tail(offset, len, tail)?;
        Ok(Some(Block { kind, offset, range: self.input.take(needed), len }))
    }

    fn skip_block(&mut self, kind: u32, offset: u64, len: u32) -> Result<Option<Block>, SourceError> {
        let body_end = u64::from(len).saturating_sub(4);
        let skipped = self.input.skip(body_end)?;
        let available = self.input.require(TAIL_LEN)?;
        let Some(tail) = self.order.u32(self.input.ready(), 0).filter(|_| skipped == body_end) else {
            let have = usize::try_from(skipped).unwrap_or(usize::MAX).saturating_add(available.min(TAIL_LEN));
            self.end = End::short(&self.input, offset, have, len as usize);
            return Ok(None);
        };
        self.check_tail(offset, len, tail)?;
        Ok(Some(Block { kind, offset, range: self.input.take(TAIL_LEN), len }))
    }

    fn check_tail(&self, offset: u64, head: u32, tail: u32) -> Result<(), SourceError> {
        if head == tail { Ok(()) } else { Err(self.input.damaged(offset, Damage::BlockTrailer { head, tail })) }
    }

    fn begin_section(&mut self, block: &Block) -> Result<(), SourceError> {
        self.interfaces.clear();
        if self.section_count == 0 {
            let bytes = self.input.slice(block.range.clone());
            let options = bytes.get(24..bytes.len().saturating_sub(TAIL_LEN)).unwrap_or_default();
            self.recorded = comment(self.order, options).and_then(RecordedFeed::parse);
        }
        self.section_count = self.section_count.saturating_add(1);
        match self.order.u16(self.input.slice(block.range.clone()), 12) {
            Some(1) => Ok(()),
            major => Err(self.input.damaged(block.offset, Damage::PcapngVersion(major.unwrap_or(0)))),
        }
    }

    fn add_interface(&mut self, block: &Block) -> Result<(), SourceError> {
        let bytes = self.input.slice(block.range.clone());
        let mut interface = Interface {
            link: self.order.u16(bytes, 8).and_then(LinkType::from_number),
            snap_len: self.order.u32(bytes, 12).unwrap_or(0),
            resolution: Resolution::MICROS,
            offset_secs: 0,
        };
        let options = bytes.get(16..bytes.len().saturating_sub(TAIL_LEN)).unwrap_or_default();
        apply_options(self.order, options, &mut interface)
            .map_err(|damage| self.input.damaged(block.offset, damage))?;
        if self.interfaces.len() >= INTERFACE_COUNT_MAX as usize {
            return Err(self.input.damaged(block.offset, Damage::TooManyInterfaces(INTERFACE_COUNT_MAX)));
        }
        self.interfaces.push(interface);
        Ok(())
    }

    fn packet(&self, block: &Block) -> Result<Record, SourceError> {
        let bytes = self.input.slice(block.range.clone());
        let field = |at| self.order.u32(bytes, at).unwrap_or(0);
        let id = if block.kind == OBSOLETE_PACKET {
            u32::from(self.order.u16(bytes, 8).unwrap_or(u16::MAX))
        } else {
            field(8)
        };
        let interface = self.interface(block, id)?;
        let ticks = u64::from(field(12)) << 32 | u64::from(field(16));
        let time = interface.time(ticks).ok_or_else(|| self.input.damaged(block.offset, Damage::TimeOutOfRange))?;
        let record = self.record(block, 28, field(20), field(24))?;
        Ok(Record { time: Some(time), link: interface.link, interface: id, ..record })
    }

    fn simple_packet(&self, block: &Block) -> Result<Record, SourceError> {
        let interface = self.interface(block, 0)?;
        let original = self.order.u32(self.input.slice(block.range.clone()), 8).unwrap_or(0);
        let snap_len = if interface.snap_len == 0 { u32::MAX } else { interface.snap_len };
        let record = self.record(block, 12, original.min(snap_len), original)?;
        Ok(Record { link: interface.link, ..record })
    }

    fn interface(&self, block: &Block, id: u32) -> Result<Interface, SourceError> {
        let found = self.interfaces.get(id as usize).copied();
        found.ok_or_else(|| self.input.damaged(block.offset, Damage::UnknownInterface(id)))
    }

    /// The record, without time and link, of a packet whose data starts `data_at` bytes into its block.
    fn record(&self, block: &Block, data_at: u32, captured: u32, original: u32) -> Result<Record, SourceError> {
        let room = block.len.saturating_sub(data_at).saturating_sub(4);
        if captured > room {
            return Err(self.input.damaged(block.offset, Damage::PacketLength { captured, room }));
        }
        let start = block.range.start.saturating_add(data_at as usize);
        Ok(Record {
            time: None,
            link: None,
            interface: 0,
            is_cut: captured < original,
            offset: block.offset.saturating_add(u64::from(data_at)),
            data: start..start.saturating_add(captured as usize),
        })
    }
}

impl Interface {
    fn time(&self, ticks: u64) -> Option<EpochNanos> {
        let offset = i128::from(self.offset_secs).checked_mul(1_000_000_000)?;
        let nanos = i128::try_from(self.resolution.nanos(ticks)).ok()?;
        i64::try_from(nanos.checked_add(offset)?).ok().map(EpochNanos)
    }
}

/// The first comment among the options of a section header.
fn comment(order: ByteOrder, options: &[u8]) -> Option<&str> {
    let mut rest = options;
    while let (Some(code), Some(len)) = (order.u16(rest, 0), order.u16(rest, 2)) {
        let len = usize::from(len);
        if code == 0 {
            return None;
        }
        if code == OPTION_COMMENT {
            return core::str::from_utf8(rest.get(4..len.saturating_add(4))?).ok();
        }
        rest = rest.get(len.next_multiple_of(4).saturating_add(4)..)?;
    }
    None
}

/// Reads the options that matter: each is code u16, length u16, value, padding to four bytes; code 0 ends them.
fn apply_options(order: ByteOrder, options: &[u8], interface: &mut Interface) -> Result<(), Damage> {
    let mut rest = options;
    while let (Some(code), Some(len)) = (order.u16(rest, 0), order.u16(rest, 2)) {
        if code == 0 {
            break;
        }
        let bad = Damage::OptionLength { code, len };
        let len = usize::from(len);
        let value = rest.get(4..len.saturating_add(4)).ok_or(bad)?;
        match (code, value) {
            (OPTION_TIME_RESOLUTION, [resolution]) => interface.resolution = Resolution(*resolution),
            (OPTION_TIME_OFFSET, [_, _, _, _, _, _, _, _]) => {
                interface.offset_secs = order.i64(value, 0).unwrap_or(0);
            }
            (OPTION_TIME_RESOLUTION | OPTION_TIME_OFFSET, _) => return Err(bad),
            _ => {}
        }
        rest = rest.get(len.next_multiple_of(4).saturating_add(4)..).unwrap_or_default();
    }
    Ok(())
}

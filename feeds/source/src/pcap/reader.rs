//! Reads capture files record by record.

use peregrine_types::EpochNanos;

use super::{FILE_HEADER_LEN, Fraction, MAGIC_MICROS, MAGIC_NANOS, RECORD_HEADER_LEN};
use crate::{
    ByteOrder, Damage, End, Hint, Input, SourceError, capture::Record, frame::LinkType, input::RECORD_LEN_MAX,
};

/// Records up to this length are believed whatever the snap length says (tcpdump's own default).
const TRUSTED_LEN: u32 = 262_144;
/// The modified form with longer record headers.
const MAGIC_MODIFIED: u32 = 0xa1b2_cd34;

pub(crate) struct Reader {
    pub(crate) input: Input,
    order: ByteOrder,
    fraction: Fraction,
    link: LinkType,
    len_max: u32,
    pub(crate) end: End,
}

/// Byte order and fraction by the magic number, or why the file is refused.
pub(crate) fn magic(head: &[u8]) -> Result<(ByteOrder, Fraction), Hint> {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        match order.u32(head, 0) {
            Some(MAGIC_MICROS) => return Ok((order, Fraction::Micros)),
            Some(MAGIC_NANOS) => return Ok((order, Fraction::Nanos)),
            Some(MAGIC_MODIFIED) => return Err(Hint::ModifiedPcap),
            _ => {}
        }
    }
    Err(Hint::NotACapture)
}

impl Reader {
    pub(crate) fn new(mut input: Input) -> Result<Self, SourceError> {
        let available = input.require(FILE_HEADER_LEN)?;
        let head = input.ready();
        let (order, fraction) = magic(head).map_err(|hint| input.unrecognised(hint))?;
        let fields = (order.u16(head, 4), order.u16(head, 6), order.u32(head, 16), order.u32(head, 20));
        let (Some(major), Some(minor), Some(snap_len), Some(link_word)) = fields else {
            return Err(input.damaged(0, Damage::ShortHeader { needed: FILE_HEADER_LEN, available }));
        };
        if major != 2 {
            return Err(input.damaged(4, Damage::PcapVersion { major, minor }));
        }
        let number = u16::try_from(link_word & 0xffff).unwrap_or(u16::MAX);
        let link = LinkType::from_number(number).ok_or_else(|| input.damaged(20, Damage::LinkType(number)))?;
        let ceiling = u32::try_from(RECORD_LEN_MAX.saturating_sub(RECORD_HEADER_LEN)).unwrap_or(TRUSTED_LEN);
        let len_max = snap_len.clamp(TRUSTED_LEN, ceiling);
        input.take(FILE_HEADER_LEN);
        Ok(Self { input, order, fraction, link, len_max, end: End::Open })
    }

    /// The next record; `None` at the end, which `end` then describes.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, SourceError> {
        let available = self.input.require(RECORD_HEADER_LEN)?;
        let offset = self.input.offset();
        let head = self.input.ready();
        let field = |at| self.order.u32(head, at);
        let (Some(seconds), Some(fraction), Some(len), Some(wire_len)) = (field(0), field(4), field(8), field(12))
        else {
            self.end = End::short(&self.input, offset, available, RECORD_HEADER_LEN);
            return Ok(None);
        };
        if len > self.len_max {
            return Err(self.input.damaged(offset, Damage::RecordTooLong { len, max: self.len_max }));
        }
        let limit = self.fraction.per_second();
        if fraction >= limit {
            return Err(self.input.damaged(offset, Damage::Fraction { fraction, limit }));
        }
        let needed = RECORD_HEADER_LEN.saturating_add(len as usize);
        let available = self.input.require(needed)?;
        if available < needed {
            self.end = End::short(&self.input, offset, available, needed);
            return Ok(None);
        }
        self.input.take(RECORD_HEADER_LEN);
        let data_offset = self.input.offset();
        let nanos = i64::from(fraction).saturating_mul(i64::from(self.fraction.nanos()));
        let time = i64::from(seconds).saturating_mul(1_000_000_000).saturating_add(nanos);
        Ok(Some(Record {
            time: Some(EpochNanos(time)),
            link: Some(self.link),
            interface: 0,
            is_cut: len < wire_len,
            offset: data_offset,
            data: self.input.take(len as usize),
        }))
    }
}

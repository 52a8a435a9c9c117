//! One pass over the segment files of a stream: every checksum, every index, every hash.

use crate::{
    Fault, FileHeader, Stream, StreamReport,
    format::{
        BLOCK_END_LEN, BlockEnd, FILE_HEADER_LEN, FLAG_RECOVERED, FLAG_SEALED, KIND_BLOCK_END, RECORDS_PER_BLOCK,
        chained, check_record, facts_tag, finish, genesis, to_u64, to_usize,
    },
};

/// A place in the files of a stream and what is wrong there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Number of the segment, from 1.
    pub(crate) segment: u32,
    /// Offset in its file.
    pub(crate) offset: u64,
    /// Index of the record that should be there, or of the first one of the block.
    pub(crate) index: u64,
    pub(crate) fault: Fault,
}

/// How the files end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WalkEnd {
    /// With a sealed end.
    Sealed { is_recovered: bool },
    /// Without one: the log is being written, or a crash ended it. The fault says what stands behind the last whole
    /// record; no whole record follows it.
    Open(Fault),
}

/// What may have ended a stream that is not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The death of the process: what it wrote is there, so a whole record behind a torn one means damage.
    Crash,
    /// A power cut: of what was not synced any part may be there, so the stream ends where the first part is missing.
    PowerCut,
}

/// The state of a stream behind its last whole record: all that is needed to go on from there.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    pub(crate) stream: Stream,
    /// The header of segment 1.
    pub(crate) header: FileHeader,
    /// Has seen all segment headers.
    pub(crate) headers: blake3::Hasher,
    /// The segment that holds the end, from 1.
    pub(crate) segment: u32,
    /// Bytes of the segments before it.
    pub(crate) earlier_len: u64,
    /// The end's offset in that segment.
    pub(crate) offset: u64,
    /// Number of the block that the end lies in.
    pub(crate) block: u64,
    /// Records of that block before the end.
    pub(crate) fill: u64,
    /// Hash of the block before it; of the sealed end, if there is one.
    pub(crate) chain: [u8; 32],
    /// Has seen that hash and the records of the block before the end.
    pub(crate) hasher: blake3::Hasher,
    pub(crate) end: WalkEnd,
    ending: Ending,
    /// Whole records and block ends behind the first missing part, after a power cut.
    pub(crate) cut_count: u64,
    /// Whether one more segment file was created, in which nothing was written yet.
    pub(crate) has_blank_segment: bool,
}

enum Step {
    Full,
    Sealed { is_recovered: bool },
    Broken { slot: u64, offset: usize, fault: Fault },
}

impl Walk {
    /// How many whole records there are.
    pub(crate) fn record_count(&self) -> u64 {
        self.block.saturating_mul(RECORDS_PER_BLOCK).saturating_add(self.fill)
    }

    pub(crate) fn report(&self) -> StreamReport {
        let (is_sealed, is_recovered, tail) = match self.end {
            WalkEnd::Sealed { is_recovered } => (true, is_recovered, None),
            WalkEnd::Open(fault) => (false, false, Some(fault)),
        };
        StreamReport {
            stream: self.stream,
            record_count: self.record_count(),
            block_count: self.block.saturating_add(u64::from(is_sealed || self.fill > 0)),
            segment_count: self.segment,
            len: self.earlier_len.saturating_add(self.offset),
            chain_head: self.chain,
            is_sealed,
            is_recovered,
            tail,
        }
    }

    fn damage(&self, fault: Fault) -> Damage {
        Damage { segment: self.segment, offset: self.offset, index: self.record_count(), fault }
    }

    fn begin(stream: Stream, header: FileHeader, ending: Ending) -> Self {
        let chain = genesis(stream);
        Self {
            stream,
            header,
            headers: blake3::Hasher::new(),
            segment: 1,
            earlier_len: 0,
            offset: 0,
            block: 0,
            fill: 0,
            chain,
            hasher: chained(&chain),
            end: WalkEnd::Open(Fault::Blank),
            ending,
            cut_count: 0,
            has_blank_segment: false,
        }
    }

    /// The header of the segment at `self.segment`, held against its place.
    fn check_header(&self, bytes: &[u8]) -> Result<(), Fault> {
        let header = FileHeader::parse(bytes)?;
        let expected = self.header.of_segment(self.segment, self.record_count());
        let field = |field| Err(Fault::HeaderField { field });
        if header.stream != self.stream.number() {
            return field("stream number");
        }
        if header.segment != self.segment {
            return field("segment number");
        }
        if header.first_index != expected.first_index {
            return field("first index");
        }
        if header != expected {
            return field("run facts");
        }
        Ok(())
    }

    /// Whether the next segment's file was created, but its header never became whole.
    fn is_unborn(&mut self, bytes: &[u8]) -> bool {
        let is_torn = match FileHeader::parse(bytes) {
            Err(Fault::Blank | Fault::HeaderShort | Fault::Magic | Fault::HeaderChecksum) => true,
            Ok(_) | Err(_) => false,
        };
        let behind = Self { offset: to_u64(FILE_HEADER_LEN), ..self.clone() };
        is_torn && self.may_end(behind.whole_behind(bytes, 0))
    }

    /// Whether a stream may end before something torn that `whole_count` records and block ends follow.
    fn may_end(&mut self, whole_count: u64) -> bool {
        match self.ending {
            Ending::Crash => whole_count == 0,
            Ending::PowerCut => {
                self.cut_count = self.cut_count.saturating_add(whole_count);
                true
            }
        }
    }

    /// Checks the block at `self.offset` and moves behind it, or behind the last whole record before the fault.
    fn step(&mut self, bytes: &[u8]) -> Step {
        let (record_len, start) = (self.stream.record_len(), to_usize(self.offset));
        let first = self.record_count();
        for slot in 0..RECORDS_PER_BLOCK {
            let offset = start.saturating_add(to_usize(slot).saturating_mul(record_len));
            let rest = bytes.get(offset..).unwrap_or_default();
            if is_block_end(rest) {
                return match self.check_block_end(bytes, offset, slot) {
                    Ok(end) => self.pass_seal(end.flags, slot, offset),
                    Err(fault) => self.stop(bytes, slot, fault),
                };
            }
            let checked = match rest.get(..record_len) {
                Some(record) => check_record(record, self.stream, first.saturating_add(slot)).map(|_| ()),
                None => Err(if rest.iter().all(|byte| *byte == 0) { Fault::Blank } else { Fault::Short }),
            };
            if let Err(fault) = checked {
                return self.stop(bytes, slot, fault);
            }
        }
        let offset = start.saturating_add(to_usize(RECORDS_PER_BLOCK).saturating_mul(record_len));
        match self.check_block_end(bytes, offset, RECORDS_PER_BLOCK) {
            Ok(end) => {
                self.chain = end.hash;
                self.hasher = chained(&end.hash);
                self.block = self.block.saturating_add(1);
                self.offset = to_u64(offset.saturating_add(BLOCK_END_LEN));
                Step::Full
            }
            Err(fault) => self.stop(bytes, RECORDS_PER_BLOCK, fault),
        }
    }

    /// Stops behind `slot` whole records of the block.
    fn stop(&mut self, bytes: &[u8], slot: u64, fault: Fault) -> Step {
        let start = to_usize(self.offset);
        let end = start.saturating_add(to_usize(slot).saturating_mul(self.stream.record_len()));
        self.hasher.update(bytes.get(start..end).unwrap_or_default());
        Step::Broken { slot, offset: end, fault }
    }

    fn pass_seal(&mut self, flags: u32, slot: u64, offset: usize) -> Step {
        self.fill = slot;
        self.offset = to_u64(offset.saturating_add(BLOCK_END_LEN));
        Step::Sealed { is_recovered: flags & FLAG_RECOVERED != 0 }
    }

    /// The end, at `offset`, of the block that begins at `self.offset` and has `count` records.
    fn check_block_end(&mut self, bytes: &[u8], offset: usize, count: u64) -> Result<BlockEnd, Fault> {
        let rest = bytes.get(offset..).unwrap_or_default();
        if rest.is_empty() {
            return Err(Fault::Blank);
        }
        let end = BlockEnd::parse(rest, self.stream, self.block)?;
        let is_sealed = end.flags & FLAG_SEALED != 0;
        let is_full = count == RECORDS_PER_BLOCK;
        if u64::from(end.record_count) != count || end.flags > (FLAG_SEALED | FLAG_RECOVERED) || is_sealed == is_full {
            return Err(Fault::BlockEnd);
        }
        let records = bytes.get(to_usize(self.offset)..offset).unwrap_or_default();
        let mut hasher = self.hasher.clone();
        hasher.update(records);
        if finish(&mut hasher, self.block, end.record_count, end.flags) != end.hash {
            return Err(Fault::Chain);
        }
        if facts_tag(&self.headers) != end.facts_tag {
            return Err(Fault::FactsTag);
        }
        if is_sealed {
            self.chain = end.hash;
        }
        Ok(end)
    }

    /// How many whole records and block ends stand behind a fault.
    fn whole_behind(&self, bytes: &[u8], slot: u64) -> u64 {
        let record_len = self.stream.record_len();
        let (mut block, mut slot, mut offset) = (self.block, slot, to_usize(self.offset));
        let mut count = 0_u64;
        offset = offset.saturating_add(to_usize(slot).saturating_mul(record_len));
        while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
            let index = block.saturating_mul(RECORDS_PER_BLOCK).saturating_add(slot);
            let is_record = slot < RECORDS_PER_BLOCK
                && rest.get(..record_len).is_some_and(|record| check_record(record, self.stream, index).is_ok());
            let is_whole = is_record || BlockEnd::parse(rest, self.stream, block).is_ok();
            count = count.saturating_add(u64::from(is_whole));
            if slot < RECORDS_PER_BLOCK {
                offset = offset.saturating_add(record_len);
                slot = slot.saturating_add(1);
            } else {
                offset = offset.saturating_add(BLOCK_END_LEN);
                (block, slot) = (block.saturating_add(1), 0);
            }
        }
        count
    }
}

/// Whether the fault is what missing parts look like: such a one may end a stream after a power cut.
const fn is_missing_part(fault: Fault) -> bool {
    matches!(fault, Fault::Blank | Fault::Short | Fault::Checksum)
}

fn is_block_end(rest: &[u8]) -> bool {
    rest.get(4..6) == Some(&KIND_BLOCK_END.to_le_bytes()[..])
}

/// Walks the segments of `stream`, whose files hold `segments` in the order of their numbers.
pub(crate) fn walk(stream: Stream, segments: &[&[u8]], ending: Ending) -> Result<Walk, Damage> {
    let first = segments.first().copied().unwrap_or_default();
    let early = |fault| Damage { segment: 1, offset: 0, index: 0, fault };
    let mut walk = Walk::begin(stream, FileHeader::parse(first).map_err(early)?, ending);
    for (number, bytes) in segments.iter().enumerate() {
        let is_last = number.saturating_add(1) == segments.len();
        if number > 0 {
            if is_last && walk.is_unborn(bytes) {
                walk.has_blank_segment = true;
                return Ok(walk);
            }
            walk.segment = walk.segment.saturating_add(1);
            walk.earlier_len = walk.earlier_len.saturating_add(walk.offset);
            walk.offset = 0;
        }
        walk.check_header(bytes).map_err(|fault| walk.damage(fault))?;
        walk.headers.update(bytes.get(..FILE_HEADER_LEN).unwrap_or_default());
        walk.offset = to_u64(FILE_HEADER_LEN);
        if walk_segment(&mut walk, bytes, is_last)? {
            return Ok(walk);
        }
    }
    Ok(walk)
}

/// Walks one segment; says whether the stream ends in it.
fn walk_segment(walk: &mut Walk, bytes: &[u8], is_last: bool) -> Result<bool, Damage> {
    loop {
        if walk.offset >= to_u64(bytes.len()) {
            return Ok(is_last);
        }
        match walk.step(bytes) {
            Step::Full => {}
            Step::Sealed { is_recovered } => {
                walk.end = WalkEnd::Sealed { is_recovered };
                let is_end = is_last && walk.offset == to_u64(bytes.len());
                return if is_end { Ok(true) } else { Err(walk.damage(Fault::Trailing)) };
            }
            Step::Broken { slot, offset, fault } => {
                let whole_count = walk.whole_behind(bytes, slot);
                let may_end = (whole_count == 0 || is_missing_part(fault)) && walk.may_end(whole_count);
                walk.offset = to_u64(offset);
                walk.fill = slot;
                if !is_last || !may_end {
                    return Err(walk.damage(fault));
                }
                walk.end = WalkEnd::Open(fault);
                return Ok(true);
            }
        }
    }
}

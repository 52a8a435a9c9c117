//! Records of a DBN file, plain or zstd, versions 1 to 3. The `dbn` crate takes a file that stops anywhere for one that
//! ends there; the bytes are counted here, so that a cut is seen.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use dbn::decode::{DbnDecoder, DecodeRecordRef, DynReader};
use dbn::{Metadata, Record, SType, VersionUpgradePolicy};
use jiff::civil::Date;

use super::record::Entry;
use crate::{ConvertError, Place, text};

/// Magic, version and length of the metadata.
const PRELUDE_LEN: usize = 8;
/// Metadata longer than this is damage.
const METADATA_LEN_MAX: u32 = 64 << 20;
/// Read for the version after which everything changes.
const VERSION_MAX: u8 = 3;

/// A record begins with its length in this unit.
const LENGTH_UNIT: u64 = 4;
/// Length, type, publisher, instrument and time.
const HEADER_LEN: u64 = 16;
/// Every record's length is a multiple of this.
const ALIGNMENT: u64 = 8;

/// What went through a reader.
#[derive(Debug, Default)]
struct Passed {
    len: Cell<u64>,
    is_cut: Cell<bool>,
}

/// Hands bytes on, counts them, and stops in front of a record whose length cannot be: the crate takes only multiples of
/// eight bytes, which all records have, and panics at others.
struct Framed<R> {
    inner: R,
    passed: Rc<Passed>,
    /// Bytes up to the next record.
    left: u64,
    /// The length byte of a record that cannot be.
    bad: Option<u8>,
}

impl<R> Framed<R> {
    /// How many of `bytes` lie before a record that cannot be.
    fn sound_len(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if self.left == 0 {
                let length = rest.first().copied().unwrap_or(0);
                let len = u64::from(length) * LENGTH_UNIT;
                if len < HEADER_LEN || !len.is_multiple_of(ALIGNMENT) {
                    self.bad = Some(length);
                    return at;
                }
                self.left = len;
            }
            let step = rest.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left = self.left.saturating_sub(u64::try_from(step).unwrap_or(u64::MAX));
            at = at.saturating_add(step);
        }
        bytes.len()
    }
}

impl<R: Read> Read for Framed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(length) = self.bad {
            let (len, at) = (u64::from(length) * LENGTH_UNIT, self.passed.len.get());
            let reason = format!("a record of {len} bytes at byte {at} (of the file as it is uncompressed)");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        match self.inner.read(buffer) {
            Ok(len) => {
                let sound = self.sound_len(buffer.get(..len).unwrap_or_default());
                self.passed.len.set(self.passed.len.get().saturating_add(u64::try_from(sound).unwrap_or(u64::MAX)));
                if sound == 0 && self.bad.is_some() { self.read(buffer) } else { Ok(sound) }
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.passed.is_cut.set(true);
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }
}

type Bytes = Framed<io::Chain<Cursor<[u8; PRELUDE_LEN]>, DynReader<'static, BufReader<File>>>>;

/// The records of a file, one after the other.
pub(super) struct Records {
    path: PathBuf,
    decoder: DbnDecoder<Bytes>,
    version: u8,
    passed: Rc<Passed>,
    consumed: u64,
    number: u64,
}

impl Records {
    /// Opens a file and reads its metadata.
    ///
    /// # Errors
    /// [`ConvertError::Read`]; [`ConvertError::Unrecognised`] for another version or what is no DBN;
    /// [`ConvertError::Damaged`].
    pub(super) fn open(path: &Path) -> Result<Self, ConvertError> {
        let refuse = |reason: String, help| ConvertError::Unrecognised { path: path.to_path_buf(), reason, help };
        let read_error = |source| ConvertError::Read { path: path.to_path_buf(), source };
        let damaged = |reason| ConvertError::Damaged { path: path.to_path_buf(), place: Place::Byte(0), reason };
        let mut reader =
            DynReader::inferred_with_buffer(text::open(path)?).map_err(|error| damaged(error.to_string()))?;
        let mut prelude = [0; PRELUDE_LEN];
        match reader.read_exact(&mut prelude) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(damaged("it ends before its metadata".to_owned()));
            }
            Err(error) => return Err(read_error(error)),
        }
        let [d, b, n, version, length @ ..] = prelude;
        let metadata_len = u32::from_le_bytes(length);
        if [d, b, n] != *b"DBN" {
            return Err(refuse("it is zstd, but not of DBN".to_owned(), "decompress it and see what it holds"));
        }
        if version == 0 || version > VERSION_MAX {
            let help = "versions 1 to 3 are understood: ask for the file in version 3";
            return Err(refuse(format!("it is DBN of version {version}"), help));
        }
        if metadata_len > METADATA_LEN_MAX {
            return Err(damaged(format!("metadata of {metadata_len} bytes")));
        }
        let passed = Rc::new(Passed::default());
        let consumed = u64::from(metadata_len).saturating_add(PRELUDE_LEN as u64);
        let inner = Cursor::new(prelude).chain(reader);
        let reader = Framed { inner, passed: Rc::clone(&passed), left: consumed, bad: None };
        let decoder = DbnDecoder::with_upgrade_policy(reader, VersionUpgradePolicy::AsIs)
            .map_err(|error| damaged(format!("metadata: {error}")))?;
        Ok(Self { path: path.to_path_buf(), decoder, version, passed, consumed, number: 0 })
    }

    pub(super) fn metadata(&self) -> &Metadata {
        use dbn::decode::DbnMetadata as _;
        self.decoder.metadata()
    }

    /// The next record, `None` at the end.
    ///
    /// # Errors
    /// [`ConvertError::Damaged`] for a record of an impossible length and for corrupt zstd.
    pub(super) fn next(&mut self) -> Result<Option<(Place, Entry)>, ConvertError> {
        self.number = self.number.saturating_add(1);
        let place = Place::Record(self.number);
        let record = self.decoder.decode_record_ref().map_err(|error| ConvertError::Damaged {
            path: self.path.clone(),
            place,
            reason: error.to_string(),
        })?;
        let Some(record) = record else { return Ok(None) };
        let len = u64::try_from(record.record_size()).unwrap_or(u64::MAX);
        self.consumed = self.consumed.saturating_add(len);
        Ok(Some((place, Entry::of(&record, self.version))))
    }

    /// Bytes behind the last whole record, and whether the compressed stream stopped before its end.
    pub(super) fn cut(&self) -> Option<u64> {
        let left = self.passed.len.get().saturating_sub(self.consumed);
        (left > 0 || self.passed.is_cut.get()).then_some(left)
    }

    /// Where the file ended.
    pub(super) const fn place(&self) -> Place {
        Place::Record(self.number)
    }
}

/// The names that the metadata gives to instruments on a day; of several the last one that the day lies in.
pub(super) fn names(metadata: &Metadata, date: Date) -> BTreeMap<u32, String> {
    // Both crates write a date as 2026-01-05, which sorts like the day.
    let day = date.to_string();
    let (mut names, mut dated) = (BTreeMap::new(), BTreeSet::new());
    for mapping in &metadata.mappings {
        for interval in &mapping.intervals {
            let is_by_name = metadata.stype_out == SType::InstrumentId;
            let (raw, resolved) = (&mapping.raw_symbol, &interval.symbol);
            let (id, name) = if is_by_name { (resolved, raw) } else { (raw, resolved) };
            let Ok(id) = id.parse::<u32>() else { continue };
            let is_dated = (interval.start_date.to_string()..interval.end_date.to_string()).contains(&day);
            if is_dated || !dated.contains(&id) {
                names.insert(id, name.clone());
            }
            if is_dated {
                dated.insert(id);
            }
        }
    }
    names
}

//! Lines of a text file, plain or gzip, and what a file's first bytes say it is.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::{ConvertError, Format, Place};

const BUFFER_LEN: usize = 1 << 20;
/// The longest line that is taken for one.
const LINE_LEN_MAX: u64 = 64 << 20;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const HELP: &str = "DBN (plain or zstd), LOBSTER messages, Binance lines and Tardis incremental_book_L2 are understood";

/// Opens a file.
pub(crate) fn open(path: &Path) -> Result<BufReader<File>, ConvertError> {
    File::open(path)
        .map(|file| BufReader::with_capacity(BUFFER_LEN, file))
        .map_err(|source| ConvertError::Read { path: path.to_path_buf(), source })
}

/// The lines of a file, one after the other.
pub(crate) struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    line: Vec<u8>,
    number: u64,
    is_cut: bool,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, ConvertError> {
        let mut plain = open(path)?;
        let head = plain.fill_buf().map_err(|source| ConvertError::Read { path: path.to_path_buf(), source })?;
        let reader: Box<dyn BufRead> = if head.starts_with(GZIP_MAGIC) {
            Box::new(BufReader::with_capacity(BUFFER_LEN, MultiGzDecoder::new(plain)))
        } else {
            Box::new(plain)
        };
        Ok(Self { path: path.to_path_buf(), reader, line: Vec::new(), number: 0, is_cut: false })
    }

    /// The next line without its end, `None` at the end of the file.
    ///
    /// # Errors
    /// [`ConvertError::Read`], [`ConvertError::Damaged`] for corrupt gzip and for a line without end.
    pub(crate) fn next(&mut self) -> Result<Option<(Place, &[u8])>, ConvertError> {
        self.line.clear();
        self.number = self.number.saturating_add(1);
        let place = Place::Line(self.number);
        let mut limited = (&mut self.reader).take(LINE_LEN_MAX);
        match limited.read_until(b'\n', &mut self.line) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.is_cut = true,
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
                return Err(self.damaged(place, &format!("corrupt gzip: {error}")));
            }
            Err(source) => return Err(ConvertError::Read { path: self.path.clone(), source }),
        }
        let is_whole = self.line.last() == Some(&b'\n');
        if !is_whole && u64::try_from(self.line.len()).unwrap_or(u64::MAX) >= LINE_LEN_MAX {
            return Err(self.damaged(place, "a line of more than 64 MiB"));
        }
        if self.line.is_empty() || (self.is_cut && !is_whole) {
            return Ok(None);
        }
        Ok(Some((place, self.line.trim_ascii_end())))
    }

    /// Whether the compressed stream stopped before its end; what followed the last whole line is lost.
    pub(crate) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Where the file ended.
    pub(crate) const fn place(&self) -> Place {
        Place::Line(self.number)
    }

    fn damaged(&self, place: Place, reason: &str) -> ConvertError {
        ConvertError::Damaged { path: self.path.clone(), place, reason: reason.to_owned() }
    }
}

/// Tells a file's format by its first bytes.
pub(crate) fn recognise(path: &Path) -> Result<Format, ConvertError> {
    let refuse = |reason: String| ConvertError::Unrecognised { path: path.to_path_buf(), reason, help: HELP };
    let mut file = open(path)?;
    let head = file.fill_buf().map_err(|source| ConvertError::Read { path: path.to_path_buf(), source })?;
    if head.is_empty() {
        return Err(refuse("it is empty".to_owned()));
    }
    if head.starts_with(b"DBN") || head.starts_with(ZSTD_MAGIC) {
        return Ok(Format::Dbn);
    }
    let mut lines = Lines::open(path)?;
    let Some((_, line)) = lines.next()? else { return Err(refuse("it holds no whole line".to_owned())) };
    let text = String::from_utf8_lossy(line);
    if text.starts_with(crate::tardis::HEADER) {
        return Ok(Format::Tardis);
    }
    if let Some((time, json)) = text.split_once(' ')
        && !time.is_empty()
        && time.bytes().all(|byte| byte.is_ascii_digit())
        && json.starts_with('{')
    {
        return Ok(Format::Binance);
    }
    if crate::lobster::Row::parse(line).is_ok() {
        return Ok(Format::Lobster);
    }
    let shown: String = text.chars().take(60).map(|letter| if letter.is_control() { '?' } else { letter }).collect();
    Err(refuse(format!("it begins with {shown:?}")))
}

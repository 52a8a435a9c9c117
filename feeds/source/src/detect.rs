//! Opens a file for what it is, whatever it is called.

use std::path::Path;

use jiff::civil::Date;
use peregrine_types::EpochNanos;

use crate::{
    Capture, CaptureOptions, Carrier, Hint, Input, LineFilter, LineId, Merge, Session, Source, SourceError,
    binaryfile::{self, BinaryFile},
    capture::carrier_of,
    frame::Checks,
    input::GZIP_MAGIC,
    pcap, pcapng,
    session::{NASDAQ_ZONE, date_in_name, date_of, session_of},
};

/// How files are to be opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The line of packets that no filter assigns; [`open_all`] counts up from it.
    pub line: LineId,
    /// Which packets of a capture belong to which line; see [`CaptureOptions::filters`].
    pub filters: Vec<LineFilter>,
    /// What the packets of a capture are; see [`CaptureOptions::carrier`].
    pub carrier: Option<Carrier>,
    /// What is checked in the headers of captured frames.
    pub checks: Checks,
    /// The trading day. Where it is not given, the capture's receive time tells it, else the file's name.
    pub date: Option<Date>,
    /// The exchange's time zone, a name of the IANA table.
    pub zone: String,
}

impl Default for OpenOptions {
    fn default() -> Self {
        let (filters, checks) = (Vec::new(), Checks::default());
        Self { line: LineId::A, filters, carrier: None, checks, date: None, zone: NASDAQ_ZONE.to_owned() }
    }
}

/// Opens the file at `path`: pcap, pcapng or length-prefixed ITCH 5.0, each plain or gzip, told apart by content.
///
/// # Errors
/// [`SourceError::Io`] when the file cannot be read, [`SourceError::Unrecognised`] when it is something else,
/// [`SourceError::NoSessionDate`] when nothing tells the day of a raw file, [`SourceError::Zone`],
/// [`SourceError::Gzip`], [`SourceError::Damaged`].
pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Box<dyn Source>, SourceError> {
    let input = Input::open(&path)?;
    let carrier = options.carrier.or_else(|| probe(path.as_ref()));
    open_input(input, &OpenOptions { carrier, ..options.clone() })
}

/// As [`open`], of bytes that are there already.
///
/// # Errors
/// As [`open`].
pub fn open_input(mut input: Input, options: &OpenOptions) -> Result<Box<dyn Source>, SourceError> {
    input.require(64)?;
    let head = input.ready();
    let path = input.path().to_path_buf();
    let is_pcapng = head.starts_with(&pcapng::SECTION_HEADER.to_be_bytes());
    if head.is_empty() {
        return Err(input.unrecognised(Hint::Empty));
    }
    if head.starts_with(&GZIP_MAGIC) {
        return Err(input.unrecognised(Hint::NestedGzip));
    }
    match pcap::magic(head) {
        Err(Hint::ModifiedPcap) => return Err(input.unrecognised(Hint::ModifiedPcap)),
        Err(_) if !is_pcapng => {
            binaryfile::probe(head).map_err(|hint| input.unrecognised(hint))?;
            let session = find_session(options, None, &path)?.ok_or(SourceError::NoSessionDate { path })?;
            return Ok(Box::new(BinaryFile::new(input, options.line, session)));
        }
        Ok(_) | Err(_) => {}
    }
    let OpenOptions { line, carrier, checks, .. } = *options;
    let capture = CaptureOptions { line, filters: options.filters.clone(), carrier, checks };
    let mut capture = Capture::new(input, capture)?;
    let session = find_session(options, capture.first_time(), &path)?;
    capture.set_session(session);
    Ok(Box::new(capture))
}

/// Opens several files as the lines of one session, merged by receive time: the first is line A, the second B and so
/// on, unless filters assign the lines.
///
/// # Errors
/// As [`open`] and [`Merge::new`].
pub fn open_all<P: AsRef<Path>>(paths: &[P], options: &OpenOptions) -> Result<Merge, SourceError> {
    let mut line = options.line;
    let mut sources = Vec::with_capacity(paths.len());
    // A line on which nothing came is one of the same feed.
    let first = options.carrier.or_else(|| paths.iter().find_map(|path| probe(path.as_ref())));
    for path in paths {
        let carrier = options.carrier.or_else(|| probe(path.as_ref())).or(first);
        sources.push(open(path, &OpenOptions { line, carrier, ..options.clone() })?);
        line = LineId(line.0.saturating_add(1));
    }
    Merge::new(sources)
}

/// What a capture carries; `None` where that cannot be seen. What is no file (a pipe) can be read but once.
fn probe(path: &Path) -> Option<Carrier> {
    if path.metadata().ok()?.is_file() { carrier_of(path) } else { None }
}

fn find_session(
    options: &OpenOptions,
    first_time: Option<EpochNanos>,
    path: &Path,
) -> Result<Option<Session>, SourceError> {
    let from_capture = || first_time.and_then(|time| date_of(time, &options.zone));
    let date = options.date.or_else(from_capture).or_else(|| date_in_name(path));
    date.map(|date| session_of(date, &options.zone)).transpose()
}

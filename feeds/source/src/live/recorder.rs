//! Writes what arrives to a pcapng file, beside the thread that receives: packets go into a ring of bytes, a thread of its
//! own takes them out, builds Ethernet, IPv4 and UDP headers around them, and writes. A ring that is full drops the packet
//! and counts it; the receiver never waits for the disk.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use peregrine_types::EpochNanos;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::RecordedFeed;
use crate::bytes::array;
use crate::frame::FrameBuilder;
use crate::pcapng::Writer;

/// Bytes in front of a payload in the ring.
const RECORD_LEN: usize = 32;
/// How long the writer sleeps when nothing is there; the ring must last for it.
const SLEEP: Duration = Duration::from_micros(500);
/// Bytes that are written at once.
const WRITE_LEN: usize = 1 << 20;
/// In a block: bytes in front of a frame, and in front of a payload in the frame; bytes of a block without its frame; the
/// shortest frame.
const BLOCK_HEAD_LEN: u64 = 28;
const FRAME_HEAD_LEN: u64 = 42;
const BLOCK_LEN: u64 = 32;
const FRAME_LEN_MIN: u64 = 60;

/// Where a recording goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecorderPlan {
    /// The file. Further ones, where files are limited, get a number before the extension: `day.00002.pcapng`.
    pub path: PathBuf,
    /// Bytes of the ring between receiver and writer, at least 1 MiB.
    pub ring_len: usize,
    /// Bytes after which the next file begins; `None`: one file.
    pub file_len_max: Option<u64>,
}

impl RecorderPlan {
    /// One file, and a ring of 64 MiB.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ring_len: 64 << 20, file_len_max: None }
    }
}

/// A packet to be recorded.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// The interface: see [`RecordedFeed`].
    pub interface: u8,
    /// When it came.
    pub recv_time: EpochNanos,
    /// Who sent it.
    pub from: SocketAddrV4,
    /// Where it went.
    pub to: SocketAddrV4,
    /// The UDP payload.
    pub payload: &'a [u8],
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecorderReport {
    /// Packets in the files.
    pub packet_count: u64,
    /// Packets dropped because the ring was full.
    pub dropped_count: u64,
    /// Bytes of all files.
    pub len: u64,
    /// The files.
    pub files: Vec<PathBuf>,
}

/// The receiver's end: see the module.
pub struct Recorder {
    ring: Producer<u8>,
    dropped_count: u64,
    recorded_count: u64,
    recorded_len: u64,
    is_stopped: Arc<AtomicBool>,
    has_failed: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<RecorderReport>>>,
}

impl Recorder {
    /// Begins the first file and the thread that writes it. Takes all memory of the receiver's side.
    ///
    /// # Errors
    /// What the system says when the file cannot be made or the thread not be started.
    pub fn open(plan: &RecorderPlan, feed: &RecordedFeed) -> io::Result<Self> {
        let (ring, rest) = RingBuffer::new(plan.ring_len.max(1 << 20));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let has_failed = Arc::new(AtomicBool::new(false));
        let files = Files::open(plan.clone(), *feed)?;
        let mut writing =
            Writing { ring: rest, files, is_stopped: Arc::clone(&is_stopped), record: Vec::new(), frame: Vec::new() };
        let failure = Arc::clone(&has_failed);
        let thread = std::thread::Builder::new().name("recorder".to_owned()).spawn(move || {
            let result = writing.run();
            failure.store(result.is_err(), Ordering::Release);
            result.map(|()| writing.files.report)
        })?;
        let (dropped_count, recorded_count, recorded_len) = (0, 0, 0);
        Ok(Self { ring, dropped_count, recorded_count, recorded_len, is_stopped, has_failed, thread: Some(thread) })
    }

    /// Hands a packet over; `false` when there is no room for it. Never waits.
    pub fn record(&mut self, packet: &Recorded<'_>) -> bool {
        let is_taken = self.push(packet);
        let len = u64::try_from(packet.payload.len()).unwrap_or(0);
        if is_taken {
            self.recorded_count = self.recorded_count.saturating_add(1);
            self.recorded_len = self.recorded_len.saturating_add(block_len(len));
        } else {
            self.dropped_count = self.dropped_count.saturating_add(1);
        }
        is_taken
    }

    fn push(&mut self, packet: &Recorded<'_>) -> bool {
        let Ok(mut chunk) = self.ring.write_chunk(RECORD_LEN.saturating_add(packet.payload.len())) else {
            return false;
        };
        fill(chunk.as_mut_slices(), [&head_of(packet), packet.payload]);
        chunk.commit_all();
        true
    }

    /// Packets dropped because the ring was full.
    #[must_use]
    pub const fn dropped_count(&self) -> u64 {
        self.dropped_count
    }

    /// Packets handed over.
    #[must_use]
    pub const fn recorded_count(&self) -> u64 {
        self.recorded_count
    }

    /// Bytes of file that the packets handed over will take.
    #[must_use]
    pub const fn recorded_len(&self) -> u64 {
        self.recorded_len
    }

    /// Whether the writer has stopped with an error: [`Recorder::finish`] gives it.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Writes what is left and closes the file.
    ///
    /// # Errors
    /// What the system said when it could not be written.
    pub fn finish(mut self) -> io::Result<RecorderReport> {
        self.is_stopped.store(true, Ordering::Release);
        let dropped_count = self.dropped_count;
        let Some(thread) = self.thread.take() else { return Err(io::Error::other("the recorder was finished before")) };
        let report = thread.join().map_err(|_| io::Error::other("the recorder's thread died"))??;
        Ok(RecorderReport { dropped_count, ..report })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // Its error was never asked for; what was written is there.
            drop(thread.join());
        }
    }
}

/// Copies `parts`, one behind the other, into the two halves of a chunk that is as long as they are together.
fn fill((mut first, mut second): (&mut [u8], &mut [u8]), parts: [&[u8]; 2]) {
    for part in parts {
        let (near, far) = part.split_at(part.len().min(first.len()));
        for (half, bytes) in [(&mut first, near), (&mut second, far)] {
            if let Some((place, rest)) = std::mem::take(half).split_at_mut_checked(bytes.len()) {
                place.copy_from_slice(bytes);
                *half = rest;
            }
        }
    }
}

fn head_of(packet: &Recorded<'_>) -> [u8; RECORD_LEN] {
    let mut head = [0; RECORD_LEN];
    let len = u32::try_from(packet.payload.len()).unwrap_or(0);
    let fields = packet.recv_time.0.to_le_bytes().into_iter().chain(len.to_le_bytes()).chain([packet.interface]);
    let address = |address: SocketAddrV4| address.ip().octets().into_iter().chain(address.port().to_le_bytes());
    let all = fields.chain(address(packet.from)).chain(address(packet.to));
    head.iter_mut().zip(all).for_each(|(place, byte)| *place = byte);
    head
}

fn address_at(head: &[u8], at: usize) -> SocketAddrV4 {
    let ip = array::<4>(head, at).unwrap_or_default();
    let port = array::<2>(head, at.saturating_add(4)).unwrap_or_default();
    SocketAddrV4::new(Ipv4Addr::from(ip), u16::from_le_bytes(port))
}

/// The writer's end.
struct Writing {
    ring: Consumer<u8>,
    files: Files,
    is_stopped: Arc<AtomicBool>,
    record: Vec<u8>,
    frame: Vec<u8>,
}

impl Writing {
    fn run(&mut self) -> io::Result<()> {
        loop {
            // Read before the ring is: what was handed over before the stop is still written.
            let is_last = self.is_stopped.load(Ordering::Acquire);
            let mut count = 0_u64;
            while self.next()? {
                count = count.saturating_add(1);
            }
            if is_last {
                return self.files.finish();
            }
            if count == 0 {
                self.files.flush()?;
                std::thread::sleep(SLEEP);
            }
        }
    }

    /// Writes the next record; `false` when there is none.
    fn next(&mut self) -> io::Result<bool> {
        if self.ring.slots() < RECORD_LEN {
            return Ok(false);
        }
        let mut head = [0; RECORD_LEN];
        let is_read = self.ring.pop_entire_slice(&mut head).is_ok();
        let len = array(&head, 8).map_or(0, u32::from_le_bytes);
        self.record.resize(usize::try_from(len).unwrap_or(0), 0);
        if !is_read || self.ring.pop_entire_slice(&mut self.record).is_err() {
            return Err(io::Error::other("the recorder's ring is out of step"));
        }
        let interface = head.get(12).copied().unwrap_or(0);
        let time = EpochNanos(array(&head, 0).map_or(0, i64::from_le_bytes));
        let mut builder = FrameBuilder::new(address_at(&head, 13), address_at(&head, 19));
        builder.build(&self.record, &mut self.frame).map_err(io::Error::other)?;
        self.files.write(u32::from(interface), time, &self.frame)?;
        Ok(true)
    }
}

/// The file that is being written, and those before it.
struct Files {
    plan: RecorderPlan,
    feed: RecordedFeed,
    writer: Option<Writer<BufWriter<File>>>,
    file_len: u64,
    report: RecorderReport,
}

impl Files {
    fn open(plan: RecorderPlan, feed: RecordedFeed) -> io::Result<Self> {
        let mut files = Self { plan, feed, writer: None, file_len: 0, report: RecorderReport::default() };
        files.begin()?;
        Ok(files)
    }

    fn begin(&mut self) -> io::Result<()> {
        self.finish()?;
        let path = path_of(&self.plan.path, self.report.files.len());
        let output = BufWriter::with_capacity(WRITE_LEN, File::create(&path)?);
        self.writer = Some(begin_file(output, &self.feed)?);
        self.file_len = head_len(&self.feed);
        self.report.len = self.report.len.saturating_add(self.file_len);
        self.report.files.push(path);
        Ok(())
    }

    fn write(&mut self, interface: u32, time: EpochNanos, frame: &[u8]) -> io::Result<()> {
        if self.plan.file_len_max.is_some_and(|len_max| self.file_len >= len_max) {
            self.begin()?;
        }
        let Some(writer) = &mut self.writer else { return Err(io::Error::other("no file is open")) };
        writer.write_packet_of(interface, time, frame)?;
        let len = BLOCK_LEN.saturating_add(u64::try_from(frame.len()).unwrap_or(0).next_multiple_of(4));
        self.file_len = self.file_len.saturating_add(len);
        self.report.len = self.report.len.saturating_add(len);
        self.report.packet_count = self.report.packet_count.saturating_add(1);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), |writer| writer.output().flush())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer.take().map_or(Ok(()), |writer| writer.finish().map(drop))
    }
}

fn begin_file<W: Write>(output: W, feed: &RecordedFeed) -> io::Result<Writer<W>> {
    let names = feed.interface_names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Writer::with_interfaces(output, &feed.to_string(), &names)
}

/// `day.pcapng`, `day.00002.pcapng`, …
fn path_of(path: &Path, index: usize) -> PathBuf {
    if index == 0 {
        return path.to_path_buf();
    }
    let number = format!("{:05}", index.saturating_add(1));
    match path.extension().and_then(|extension| extension.to_str()) {
        Some(extension) => path.with_extension(format!("{number}.{extension}")),
        None => path.with_extension(number),
    }
}

/// Bytes in front of a recording's first packet.
fn head_len(feed: &RecordedFeed) -> u64 {
    let head = begin_file(Vec::new(), feed).and_then(Writer::finish).unwrap_or_default();
    u64::try_from(head.len()).unwrap_or(0)
}

/// Bytes of the block of a payload of `len` bytes.
fn block_len(len: u64) -> u64 {
    let frame = FRAME_HEAD_LEN.saturating_add(len).max(FRAME_LEN_MIN);
    BLOCK_LEN.saturating_add(frame.next_multiple_of(4))
}

/// Where payloads stand in a recording that is one file: a session has these offsets in its log whether it is recorded or
/// not, so that a replay of the recording gives the same log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    next: u64,
}

impl Places {
    pub(crate) fn new(feed: &RecordedFeed) -> Self {
        Self { next: head_len(feed) }
    }

    /// The offset of the next payload, which has `len` bytes.
    pub(crate) fn place(&mut self, len: usize) -> u64 {
        let at = self.next.saturating_add(BLOCK_HEAD_LEN).saturating_add(FRAME_HEAD_LEN);
        self.next = self.next.saturating_add(block_len(u64::try_from(len).unwrap_or(0)));
        at
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::fill;

    proptest! {
        #[test]
        fn a_chunk_is_filled_wherever_it_breaks(head in vec(any::<u8>(), 0..40), body in vec(any::<u8>(), 0..80), at in 0_usize..120) {
            let whole = [&head[..], &body].concat();
            let mut chunk = vec![0; whole.len()];
            fill(chunk.split_at_mut(at.min(whole.len())), [&head, &body]);
            prop_assert_eq!(chunk, whole);
        }
    }
}

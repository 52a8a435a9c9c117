//! A machine that loses power at every single file operation in turn: of what was not synced any sector may be on the
//! disk or not, and the staging memory is gone. What was synced is recovered, and nothing that was not written.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
};

use peregrine_types::{EpochNanos, Nanos};

use crate::{
    EventLog, RunFacts, Stream,
    durable::{Durable, FileSystem, Storage},
    faults::{checkpoint, config, decision, folder, genuine_counts, histogram, order},
    recover, verify,
};

const SECTOR_LEN: u64 = 512;
const RECORD_COUNT: u64 = 300;
const RECORDS_PER_TURN: u64 = 30;

enum Pending {
    Write(Vec<u8>, u64),
    SetLen(u64),
}

/// A disk with a cache: operations reach the file when they are synced.
struct Disk {
    files: Vec<(Box<dyn Durable>, Vec<Pending>)>,
    operations_left: u64,
    random: u64,
}

impl Disk {
    /// True in `chance` of 4 cases.
    fn is_lucky(&mut self, chance: u64) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % 4 < chance
    }

    /// Counts an operation; fails when there is no power any more.
    fn tick(&mut self) -> io::Result<()> {
        self.operations_left =
            self.operations_left.checked_sub(1).ok_or_else(|| io::Error::from_raw_os_error(libc::EIO))?;
        Ok(())
    }

    fn sync(&mut self, number: usize) {
        let (file, pending) = &mut self.files[number];
        for operation in pending.drain(..) {
            match operation {
                Pending::Write(bytes, offset) => file.write_all_at(&bytes, offset).unwrap(),
                Pending::SetLen(len) => file.set_len(len).unwrap(),
            }
        }
    }

    /// The power goes: each sector that waits reaches the file or does not.
    fn cut(&mut self, chance: u64) {
        for number in 0..self.files.len() {
            for operation in core::mem::take(&mut self.files[number].1) {
                match operation {
                    Pending::SetLen(len) if self.is_lucky(chance) => self.files[number].0.set_len(len).unwrap(),
                    Pending::SetLen(_) => {}
                    Pending::Write(bytes, start) => {
                        let mut from = 0;
                        while from < bytes.len() {
                            let offset = start + from as u64;
                            let len = usize::try_from(SECTOR_LEN - offset % SECTOR_LEN).unwrap();
                            let to = bytes.len().min(from + len);
                            if self.is_lucky(chance) {
                                self.files[number].0.write_all_at(&bytes[from..to], offset).unwrap();
                            }
                            from = to;
                        }
                    }
                }
            }
        }
    }
}

#[derive(Clone)]
struct Machine(Arc<Mutex<Disk>>);

struct CachedFile {
    machine: Machine,
    number: usize,
}

impl Storage for Machine {
    fn create(&self, path: &Path, len: u64) -> io::Result<Box<dyn Durable>> {
        let mut disk = self.0.lock().unwrap();
        disk.tick()?;
        disk.files.push((FileSystem.create(path, len)?, Vec::new()));
        Ok(Box::new(CachedFile { machine: self.clone(), number: disk.files.len() - 1 }))
    }

    fn open(&self, _path: &Path) -> io::Result<Box<dyn Durable>> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

impl Durable for CachedFile {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.machine.0.lock().unwrap();
        disk.tick()?;
        disk.files[self.number].1.push(Pending::Write(bytes.to_vec(), offset));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.machine.0.lock().unwrap();
        disk.tick()?;
        disk.sync(self.number);
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let mut disk = self.machine.0.lock().unwrap();
        disk.tick()?;
        disk.files[self.number].1.push(Pending::SetLen(len));
        Ok(())
    }
}

/// Writes until the power goes; says for each stream how many records were synced then, and how many were published.
/// `None`: the log was not created yet.
fn run(folder: &Path, machine: &Machine, sync_interval: Nanos) -> Option<([u64; 4], u64)> {
    let mut settings = config(folder);
    settings.sync_interval = sync_interval;
    let mut log = EventLog::create_on(&settings, &RunFacts::default(), || Box::new(machine.clone())).ok()?;
    let (mut synced, mut published) = ([0; 4], 0);
    while published < RECORD_COUNT {
        for index in published..published + RECORDS_PER_TURN {
            log.feed.append(&checkpoint(index)).unwrap();
            log.decide.append(&decision(index)).unwrap();
            log.send.append(&order(index)).unwrap();
            log.measure.append(&histogram(index)).unwrap();
        }
        published += RECORDS_PER_TURN;
        if log.recorder.poll(EpochNanos(0)).is_err() {
            return Some((synced, published));
        }
        if sync_interval == Nanos(0) {
            synced = Stream::ALL.map(|stream| log.recorder.record_count(stream));
        }
    }
    drop((log.feed, log.decide, log.send, log.measure));
    if log.recorder.close().is_ok() {
        synced = [published; 4];
    }
    Some((synced, published))
}

/// Cuts the power after `operations`, recovers and checks; says what recovery gave up, `None` when all went well.
fn hold(operations: u64, sync_interval: Nanos, chance: u64) -> Option<u64> {
    let folder = folder();
    let dir = folder.path().join("log");
    let random = (operations + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let disk = Disk { files: Vec::new(), operations_left: operations, random };
    let machine = Machine(Arc::new(Mutex::new(disk)));
    let found = run(folder.path(), &machine, sync_interval);
    let is_over = machine.0.lock().unwrap().operations_left > 0;
    machine.0.lock().unwrap().cut(chance);
    let Some((synced, published)) = found else {
        return Some(0);
    };
    for stream in Stream::ALL {
        std::fs::remove_file(crate::recorder::noted_staging(&dir, stream).unwrap().unwrap_or_default()).ok();
    }
    let place = format!("{operations} operations, {sync_interval:?}, {chance} of 4");
    let recovery = recover(&dir).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert_eq!(verify(&dir).unwrap(), recovery.report(), "{place}");
    for (count, synced) in genuine_counts(&dir).into_iter().zip(synced) {
        assert!((synced..=published).contains(&count), "{place}: {count} records of {synced} to {published}");
    }
    if is_over { None } else { Some(recovery.streams.iter().map(|stream| stream.cut_count).sum()) }
}

#[test]
fn what_was_synced_survives_every_power_cut() {
    let mut cut_count = 0;
    for (sync_interval, chance) in [(Nanos(0), 0), (Nanos(0), 2), (Nanos(0), 3), (Nanos(1), 2), (Nanos(1), 3)] {
        for operations in 0.. {
            match hold(operations, sync_interval, chance) {
                Some(count) => cut_count += count,
                None => break,
            }
        }
    }
    assert!(cut_count > 100, "sectors came in any order: {cut_count}");
}

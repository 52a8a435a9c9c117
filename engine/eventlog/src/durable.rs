//! The durable files, behind a trait, so that tests can make them fail.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

/// A segment file as the recorder uses it.
pub(crate) trait Durable: core::marker::Send {
    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written survive a power cut (`fdatasync`).
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file at `len`, or extends it.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
}

/// Where segment files are created.
pub(crate) trait Storage: core::marker::Send {
    /// Creates a file that must not exist, with room for `len` bytes, and makes its name survive a power cut.
    fn create(&self, path: &Path, len: u64) -> io::Result<Box<dyn Durable>>;
    /// Opens a file that exists.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Durable>>;
}

/// The file system.
#[derive(Debug)]
pub(crate) struct FileSystem;

struct DurableFile(File);

impl Durable for DurableFile {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

impl Storage for FileSystem {
    fn create(&self, path: &Path, len: u64) -> io::Result<Box<dyn Durable>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        crate::staging::reserve(&file, len)?;
        if let Some(folder) = path.parent() {
            sync_folder(folder)?;
        }
        Ok(Box::new(DurableFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Durable>> {
        Ok(Box::new(DurableFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }
}

/// Makes the names in a folder survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

//! Files that are whole or not there: written beside their place, put into it by a rename.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file under way: it lies at `NAME.partial` until [`Partial::keep`], and is removed when that never comes. What a
/// killed process leaves behind is overwritten by the next one; the file in its place stays as it was.
#[derive(Debug)]
pub struct Partial {
    place: PathBuf,
    partial: PathBuf,
    is_kept: bool,
}

impl Partial {
    /// Makes the file for `place`, whose folder must be there.
    ///
    /// # Errors
    /// What the system said.
    pub fn create(place: &Path) -> io::Result<(Self, File)> {
        let mut name = place.file_name().map(OsStr::to_owned).unwrap_or_default();
        name.push(".partial");
        let partial = place.with_file_name(name);
        let file = File::create(&partial)?;
        Ok((Self { place: place.to_path_buf(), partial, is_kept: false }, file))
    }

    /// Puts the file, which is complete, into its place.
    ///
    /// # Errors
    /// What the system said.
    pub fn keep(mut self, file: &File) -> io::Result<()> {
        file.sync_all()?;
        std::fs::rename(&self.partial, &self.place)?;
        self.is_kept = true;
        File::open(folder_of(&self.place))?.sync_all()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_kept {
            // Nobody is left to hear of it, and the next file of this name overwrites it.
            std::fs::remove_file(&self.partial).ok();
        }
    }
}

/// Writes `bytes` to `path` so that a crash leaves either the old file or the new one: a file beside it, synced, renamed.
/// Makes the folders that it lies in.
///
/// # Errors
/// What the system said.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    std::fs::create_dir_all(folder_of(path))?;
    let (partial, mut file) = Partial::create(path)?;
    file.write_all(bytes)?;
    partial.keep(&file)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_kept_leaves_the_old_one_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/a.json");
        write_atomically(&path, b"old").unwrap();
        let (partial, mut file) = Partial::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        drop(partial);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path().join("deep")).unwrap().count(), 1);
        write_atomically(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }
}

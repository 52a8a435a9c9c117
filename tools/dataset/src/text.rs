//! The text inside a file: plain, gzip or a zip archive of one file, told apart by content.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::DatasetError;

const BUFFER_LEN: usize = 1 << 20;
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// Hands the text of `path` to `read`, decompressed on the way in bounded memory.
pub(crate) fn with_text<T>(
    path: &Path,
    read: impl FnOnce(&mut dyn BufRead) -> Result<T, DatasetError>,
) -> Result<T, DatasetError> {
    let io = || DatasetError::io(path);
    let mut file = BufReader::with_capacity(BUFFER_LEN, File::open(path).map_err(io())?);
    let head = file.fill_buf().map_err(io())?;
    if head.starts_with(GZIP_MAGIC) {
        let text = flate2::bufread::MultiGzDecoder::new(file);
        return read(&mut BufReader::with_capacity(BUFFER_LEN, text));
    }
    if !head.starts_with(ZIP_MAGIC) {
        return read(&mut file);
    }
    let fault = |reason: String| DatasetError::input(path, None, reason, "give a zip archive that holds one file");
    let mut archive = zip::ZipArchive::new(file).map_err(|error| fault(error.to_string()))?;
    if archive.len() != 1 {
        return Err(fault(format!("the archive holds {} files", archive.len())));
    }
    let entry = archive.by_index(0).map_err(|error| fault(error.to_string()))?;
    read(&mut BufReader::with_capacity(BUFFER_LEN, entry))
}

/// The file's name up to its first dot.
pub(crate) fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

//! What the tests share: real data, and a list as a sink.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses its part")]

use std::io::Read;
use std::path::PathBuf;

/// Path of a real data file, or `None` after one line that says it is missing.
pub(crate) fn data(name: &str) -> Option<PathBuf> {
    let root = std::env::var("PEREGRINE_DATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned());
    let path = PathBuf::from(root).join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no real data at {}", path.display());
    None
}

/// The whole file, unzipped where its name ends in `.gz`.
pub(crate) fn read(path: &std::path::Path) -> Vec<u8> {
    let raw = std::fs::read(path).expect("the file is readable");
    if path.extension().is_none_or(|extension| extension != "gz") {
        return raw;
    }
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(&raw[..]).read_to_end(&mut bytes).expect("the file is gzip");
    bytes
}

/// The length-prefixed messages of a file, without its end-of-session record.
pub(crate) fn messages(bytes: &[u8]) -> Vec<&[u8]> {
    let mut rest = bytes;
    let mut messages = Vec::new();
    while let Some((len, tail)) = rest.split_first_chunk::<2>() {
        let (message, tail) = tail.split_at(usize::from(u16::from_be_bytes(*len)));
        rest = tail;
        if !message.is_empty() {
            messages.push(message);
        }
    }
    assert!(rest.is_empty());
    messages
}

//! The body of the fuzzer: any bytes as a segment file.

use crate::{FileHeader, Stream, reader::walk_bytes};

/// Walks `data` as a segment of every stream. Must neither panic nor loop; a walk never finds more records than fit.
#[doc(hidden)]
pub fn segment(data: &[u8]) {
    let named = FileHeader::parse(data).ok().and_then(|header| Stream::from_number(header.stream));
    for stream in Stream::ALL {
        let count = walk_bytes(stream, data);
        debug_assert!(count.is_none() || named == Some(stream));
        debug_assert!(count.is_none_or(|count| count <= (data.len() / stream.record_len()) as u64));
    }
}

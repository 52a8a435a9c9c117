//! Frames of JSON: arrays of messages, each taken as text so that no number goes through a float.

use serde_json::value::RawValue;

use crate::update::{Output, SessionCounters};

/// The messages of a frame: those of an array, or the frame itself where it is one object. One that is no JSON is counted
/// and said.
pub(crate) fn for_each_message<'a>(
    bytes: &'a [u8],
    frame_number: u64,
    counters: &mut SessionCounters,
    out: &mut Output,
) -> Vec<&'a str> {
    let place = format!("frame {frame_number}");
    let text = match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            out.malformed(counters, &place, &error.to_string(), &String::from_utf8_lossy(bytes));
            return Vec::new();
        }
    };
    if text.trim_start().starts_with('{') {
        return vec![text];
    }
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Ok(messages) => messages.into_iter().map(RawValue::get).collect(),
        Err(error) => {
            out.malformed(counters, &place, &error.to_string(), text);
            Vec::new()
        }
    }
}

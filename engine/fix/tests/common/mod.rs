//! Messages of the other side, as text whose separators are `|`.

use peregrine_fix::check_sum;

/// The fields behind BodyLength as a whole message: BeginString, BodyLength and CheckSum around them.
pub(crate) fn framed(body: &str) -> String {
    summed(&format!("8=FIX.4.4|9={}|{body}", body.len()))
}

/// A message without its CheckSum, and the one that it should have.
pub(crate) fn summed(head: &str) -> String {
    format!("{head}10={:03}|", check_sum(&wire(head)))
}

/// The bytes of a text.
pub(crate) fn wire(text: &str) -> Vec<u8> {
    text.replace('|', "\x01").into_bytes()
}

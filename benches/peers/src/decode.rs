//! Decoding length-prefixed ITCH 5.0 from memory.
//!
//! Both sides get the session without messages of types `h` and `O`, at which itchy panics, and without the
//! end-of-session record of length zero, which it takes for a malformed message.
//!
//! - `itchy` parses every message into an owned enum with its symbol's name as text; it reads through a buffer of 8 KiB,
//!   keeps nothing between messages and numbers no symbols.
//! - Peregrine checks the same fields, looks the locate up in its symbol directory, clamps receive times, counts by type
//!   and writes a 56-byte event into a slot.

use std::hint::black_box;

use itchy::MessageStream;
use peregrine_benches::percentiles::Timer;
use peregrine_benches::replay::{Slots, decode};
use peregrine_benches::session::LoadedSession;

use crate::{Contender, compare};

/// The session's bytes without what itchy cannot read, and how many messages are left.
fn readable(session: &LoadedSession) -> (Vec<u8>, usize) {
    let (mut bytes, mut count) = (Vec::with_capacity(session.bytes().len()), 0);
    for message in session.messages().filter(|message| !matches!(message.first(), Some(b'h' | b'O'))) {
        let Ok(len) = u16::try_from(message.len()) else { continue };
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(message);
        count += 1;
    }
    (bytes, count)
}

/// Runs the comparison on each session.
pub fn run(timer: &Timer, sessions: &[&LoadedSession]) {
    for session in sessions {
        let (bytes, count) = readable(session);
        let (mut feed, mut slots) = (session.feed(), Slots::default());
        let mut contenders = [
            Contender::new("Peregrine", |timer| {
                let start = timer.ticks();
                let events = decode(&mut feed, &bytes, &mut slots);
                let nanos = timer.nanos_since(start);
                assert!(events >= count);
                nanos / count as f64
            }),
            Contender::new("itchy 0.3", |timer| {
                let start = timer.ticks();
                let mut seen = 0_usize;
                for message in MessageStream::from_reader(bytes.as_slice()) {
                    black_box(&message);
                    seen += usize::from(message.is_ok());
                }
                let nanos = timer.nanos_since(start);
                assert_eq!(seen, count, "both sides decode every message");
                nanos / count as f64
            }),
        ];
        compare(&format!("Decode, {}", session.name), "goal 3", timer, &mut contenders);
    }
}

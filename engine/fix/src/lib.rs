//! FIX 4.4: codec, session and order messages, and the check of own fills against a venue's drop copy.
//!
//! No sockets and no clock here: [`Session`] is a plain struct, bytes and time go in, bytes and events come out, for either
//! side. [`FrameDecoder`] cuts a byte stream into messages wherever TCP cut it, [`message::parse`] views one in place,
//! [`dictionary::check`] holds it against the standard, and each error says which tag at which byte.
//!
//! Why not a crate: the best kept one (HotFIX 0.13) is an initiator on tokio with its own sockets and timers, and its
//! codec reads prices as floats and gives no offsets; easyFIX's session is tokio too, ferrumfix and RustyFIX have only
//! parts of one, ForgeFIX is FIX 4.2.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::float_arithmetic))]

pub mod copy_check;
mod copy_client;
pub mod dictionary;
mod frame;
#[doc(hidden)]
pub mod fuzz;
pub mod message;
pub mod orders;
mod outbox;
pub mod report;
mod session;
mod store;
pub mod tags;
pub mod value;
mod write;

pub use copy_client::{CopyClient, CopyNotice};
pub use frame::{BEGIN, FrameDecoder, Garbled, GarbledKind, SOH, check_sum};
pub use message::{FieldError, FieldSpan, Message, RejectReason};
pub use session::{CloseReason, Counters, Event, Numbers, Role, SendError, Session, SessionConfig, State};
pub use write::{Body, Header, encode};

#[cfg(test)]
mod tests {
    use super::*;

    /// A message from its fields behind BodyLength, `|` for separators.
    pub(crate) fn wire(fields: &str) -> Vec<u8> {
        let body = fields.replace('|', "\x01");
        let mut bytes = format!("8=FIX.4.4\x019={}\x01{body}", body.len()).into_bytes();
        let sum = check_sum(&bytes);
        bytes.extend_from_slice(format!("10={sum:03}\x01").as_bytes());
        bytes
    }
}

//! The live half of the node: sockets, what earlier runs left, and the send stage over them.

pub mod history;
mod link;
mod send;
pub mod session;
mod silence;

pub use send::{LiveEnd, LiveSend, LiveSendConfig};
pub use silence::{FeedSilence, SilenceWatch};

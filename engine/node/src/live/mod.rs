//! The live half of the node: sockets, what earlier runs left, and the send stage over them.

mod age;
mod clock;
pub mod copy;
pub mod history;
mod kernel_way;
mod link;
mod send;
pub mod session;
mod silence;
#[cfg(test)]
pub(crate) mod testing;

pub use clock::{ClockCheck, ClockFigures, ClockNotice, ClockWatch, LOOK_INTERVAL};
pub use copy::{CopyConfig, CopyEnd, CopyTap, CopyWatch};
pub use kernel_way::KernelWay;
pub use send::{LiveEnd, LiveSend, LiveSendConfig, READ_INTERVAL};
pub use silence::{FeedSilence, SilenceWatch};

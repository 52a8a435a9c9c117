//! Wire formats as checked views over bytes (ITCH 5.0, MoldUDP64, MDP 3.0), line arbitration, gap detection, recovery, and decoding to
//! market events. Nothing here does I/O, reads a clock or allocates after construction, and no input can make it panic.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::float_arithmetic)]

pub mod arbiter;
pub mod feed;
#[doc(hidden)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow in a fuzz body is a finding")]
pub mod fuzz;
pub mod gap;
mod history;
pub mod itch50;
pub mod mdp3;
pub mod moldudp64;
pub mod recovery;
mod window;

pub use arbiter::{
    Arbiter, ArbiterConfig, ArbiterConfigError, ArbiterCounters, Framing, JoinPolicy, LineId, LineStats, LossPolicy,
};
pub use feed::{FileFeed, Mdp3Feed, MoldFeed};
pub use recovery::{Recovery, RecoveryConfig, RecoveryCounters};

//! The seeded session generator: many-symbol order flow with the statistics of a real day, written as ITCH 5.0
//! messages, as a length-prefixed file, as the packets of two MoldUDP64 lines, or as those of an MDP 3.0 feed.
//!
//! One [`GeneratorConfig`] gives one sequence of bytes, on every platform, in debug and in release: chance comes from
//! ChaCha8 streams split by name, and floating point is kept to the operations that IEEE 754 fixes. Memory does not
//! grow with the length of a session.

mod calendar;
mod config;
mod file;
mod flow;
mod ladder;
mod latent;
mod lines;
mod math;
mod mdp3;
mod outbox;
mod packets;
mod random;
mod script;
mod session;
mod shape;
mod statistics;
mod symbols;

pub use config::{ConfigError, ConfigViolation, GeneratorConfig, LeaderProfile, SessionHours};
pub use file::write_binary_file;
pub use latent::{Regime, TruthRecord, TruthSink};
pub use math::{exp, ln, to_i64};
pub use mdp3::for_each_mdp3_packet;
pub use packets::{LINE_COUNT, LineFaults, LineReport, PacketConfig, PacketReport, for_each_packet};
pub use random::Random;
pub use session::{Session, SessionReport};
pub use statistics::{FlowStatistics, Samples};
pub use symbols::SymbolProfile;

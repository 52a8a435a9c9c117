//! Fuzzing on the stable toolchain: every parser's fuzz body under mutated input, bounded in time and memory.
//!
//! There is no coverage feedback; what stands in for it is a corpus from the project's own writers, mutations that know
//! what a length field looks like, and speed. A run is a pure function of seed, target and corpus: only how far it gets
//! depends on time. Three things are failures: a panic, an execution of more than a second, and more memory than the
//! process may have.

pub mod callgraph;
pub mod corpus;
pub mod mutate;
pub mod order_entry;
pub mod run;
pub mod targets;
pub mod vendor;

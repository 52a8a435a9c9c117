//! Criterion benches and open-loop latency runs: what they share.
//!
//! Every bench asserts its answer, and `cargo bench -p peregrine-benches -- --test` runs each of them once. The program
//! `figures` measures percentiles and prints the table that is kept in `benches/record`.

pub mod hops;
pub mod host;
pub mod kernel_rows;
pub mod machine;
pub mod networks;
pub mod order_path;
pub mod parts;
pub mod percentiles;
pub mod replay;
pub mod session;
pub mod wire;

/// What any of the set-up may fail with; the message says what to do.
pub type BenchError = Box<dyn std::error::Error>;

//! Criterion benches and open-loop latency runs.

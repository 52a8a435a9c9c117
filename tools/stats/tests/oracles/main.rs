//! Every case of the oracle files that this crate covers, against `../shared/oracles` (override: `PEREGRINE_ORACLES`).
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail as it does")]

mod bootstrap;
mod calibration;
mod latent;
mod support;

//! Probabilities against outcomes: calibration error, scores, skill, and maps that calibrate.

mod fit;
mod reliability;
mod scores;

pub use fit::{Isotonic, Platt, fit_temperature};
pub use reliability::{BinEdges, Reliability, reliability, top_label_calibration_error};
pub use scores::{BrierSkill, LOG_LOSS_CLIP, brier, brier_skill, log_loss};

use crate::error::{StatsError, check_len};

/// Probabilities in 0..=1, one outcome each.
fn check_probabilities(p: &[f64], outcomes: &[bool]) -> Result<(), StatsError> {
    check_len("outcomes", outcomes.len(), p.len())?;
    match p.iter().position(|p| !(0.0..=1.0).contains(p)) {
        Some(index) => Err(StatsError::OutOfRange { what: "p", index, value: p[index], range: "0 to 1" }),
        None => Ok(()),
    }
}

fn as_number(outcome: bool) -> f64 {
    f64::from(u8::from(outcome))
}

//! What a dynamics model must beat, and how to say that it does.

mod ar1;
mod comparison;
mod growth;
mod k_step;

pub use ar1::{Ar1, horizon_errors_ar1, horizon_errors_random_walk};
pub use comparison::{ForecastComparison, clark_west, diebold_mariano};
pub use growth::{GrowthExponent, growth_exponent};
pub use k_step::{LinearDynamics, k_step_errors, persistence_errors};

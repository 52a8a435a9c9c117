//! A market whose truth is known: a regime-switching linear Gaussian process, its simulator, and the filter that knows
//! its parameters. What a trained model finds in the simulator's data is held against what the filter finds.
//!
//! - Regime `s_t`: a Markov chain of K states.
//! - Factor `f_t = φ(s_t) f_{t−1} + q(s_t) η_t`.
//! - Features `x_t = offset(s_t) + loadings · f_t + noise(s_t) ε_t`, D of them.
//! - Return from t to t + 1: `r_t = β(s_t) f_t + v(s_t) ξ_t`; η, ε, ξ are independent standard normals.
//!
//! The start is the stationary law of the regime, and of the factor a normal with the stationary variance given the regime.
//! Given the regimes everything is Gaussian, so that the exact filter is a mixture over all K^t paths:
//! [`exact_filter`] does that for short sequences, and [`RegimeFilter`] approximates it with K Gaussians.

mod exact;
mod filter;
mod market;
mod process;
mod simulate;

pub use exact::{EXACT_PATHS_MAX, exact_filter};
pub use filter::{Filtered, RegimeFilter};
pub use market::MarketSpec;
pub use process::{RegimeParameters, RegimeProcess};
pub use simulate::SimulatedPath;

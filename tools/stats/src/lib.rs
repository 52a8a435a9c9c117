//! Statistics and latent diagnostics: estimators over slices with their intervals, baselines, calibration, clustering,
//! and the regime-switching process whose truth is known.
//!
//! Nothing here reads a file or a clock. Numbers are `f64`; tables are a [`MatrixView`] (row-major, checked to be finite
//! once, when the view is made). Whatever uses chance takes its draws as input or a seed ([`random`]), and one seed gives
//! the same result.
//!
//! **Bad input** is a typed [`StatsError`] that says what and where: nothing is computed from NaN or infinity. Where a
//! definition has no value on sound input (the correlation with a constant, the calibration error of no sample) the result
//! is NaN and the function's documentation says so.
//!
//! ```
//! use peregrine_stats::{MatrixView, RobustScaler};
//!
//! let rows = [1.0, 10.0, 2.0, 20.0, 3.0, 60.0];
//! let scaler = RobustScaler::fit(MatrixView::new("rows", &rows, 3, 2)?)?;
//! assert_eq!(scaler.center, [2.0, 20.0]);
//! assert_eq!(scaler.scale, [1.0, 25.0]);
//! # Ok::<(), peregrine_stats::StatsError>(())
//! ```

pub mod baselines;
mod bootstrap;
pub mod calibration;
pub mod cluster;
mod correlation;
mod descriptive;
mod error;
pub mod latent;
mod linalg;
mod matrix;
mod quantile;
pub mod random;
mod regression;
mod scaler;
pub mod state_space;

pub use bootstrap::{
    BlockLength, Interval, Resampling, SharpeDifference, StationaryBootstrap, bootstrap_distribution,
    bootstrap_interval, mean_interval, optimal_block_length, percentile_interval, sharpe_difference,
    stationary_indices,
};
pub use correlation::{correlation_matrix, covariance_matrix, cross_correlation, pearson};
pub use descriptive::{mean, median, standard_deviation, standard_normal_cdf, standard_normal_quantile, variance};
pub use error::StatsError;
pub use matrix::{Matrix, MatrixView};
pub use quantile::{quantile, quantiles};
pub use regression::{
    OutOfSampleR2, Reconstruction, long_run_variance, mse, newey_west_lags, out_of_sample_r2, r_squared, reconstruction,
};
pub use scaler::RobustScaler;

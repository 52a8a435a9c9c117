//! Errors of a linear model of latents, iterated over several steps.

use crate::cluster::squared_distance;
use crate::error::{StatsError, check_count, check_len, check_range};
use crate::matrix::MatrixView;

/// `z_{t+1} = A z_t + b`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearDynamics<'a> {
    /// A, d × d.
    pub transition: MatrixView<'a>,
    /// b, d values.
    pub offset: &'a [f64],
}

impl LinearDynamics<'_> {
    /// The next state.
    fn step(&self, z: &[f64]) -> Vec<f64> {
        let product = |row: &[f64]| row.iter().zip(z).map(|(a, z)| a * z).sum::<f64>();
        self.transition.iter_rows().zip(self.offset).map(|(row, b)| product(row) + b).collect()
    }
}

/// Mean over all starts t = 0..n−1−k of `‖ẑ_{t+k} − z_{t+k}‖²/d` for k = 1..=`steps_max`, the model iterated k times from
/// `z_t`.
///
/// # Errors
/// [`StatsError::Length`] when the shapes do not fit, [`StatsError::OutOfRange`] for no step, [`StatsError::TooFew`] unless
/// there are more rows than steps.
pub fn k_step_errors(model: &LinearDynamics<'_>, z: MatrixView<'_>, steps_max: usize) -> Result<Vec<f64>, StatsError> {
    check_len("rows of transition", model.transition.rows(), z.cols())?;
    check_len("columns of transition", model.transition.cols(), z.cols())?;
    check_len("offset", model.offset.len(), z.cols())?;
    errors(z, steps_max, |state| model.step(state))
}

/// The same of the forecast `ẑ_{t+k} = z_t`.
///
/// # Errors
/// As [`k_step_errors`].
pub fn persistence_errors(z: MatrixView<'_>, steps_max: usize) -> Result<Vec<f64>, StatsError> {
    errors(z, steps_max, <[f64]>::to_vec)
}

fn errors(z: MatrixView<'_>, steps_max: usize, step: impl Fn(&[f64]) -> Vec<f64>) -> Result<Vec<f64>, StatsError> {
    check_range("steps_max", steps_max as f64, |steps| steps >= 1.0, "1 or more")?;
    check_count("rows of z", z.rows(), steps_max + 1)?;
    let mut sums = vec![0.0; steps_max];
    for start in 0..z.rows() - 1 {
        let mut state = z.row(start).to_vec();
        let targets = (start + 1..z.rows()).zip(sums.iter_mut());
        for (row, sum) in targets {
            state = step(&state);
            *sum += squared_distance(&state, z.row(row));
        }
    }
    let starts = |k: usize| (z.rows() - k) as f64;
    Ok(sums.iter().enumerate().map(|(k, sum)| sum / starts(k + 1) / z.cols() as f64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_model_has_no_error() {
        let z = [1.0, 0.0, 0.5, 1.0, 0.25, 1.5];
        let z = MatrixView::new("z", &z, 3, 2).unwrap();
        let a = [0.5, 0.0, 0.5, 0.5];
        let model = LinearDynamics { transition: MatrixView::new("a", &a, 2, 2).unwrap(), offset: &[0.0, 0.5] };
        let found = k_step_errors(&model, z, 2).unwrap();
        assert!(found[0] < 0.1, "{found:?}");
        assert!(matches!(k_step_errors(&model, z, 3), Err(StatsError::TooFew { .. })));
        assert!(matches!(persistence_errors(z, 0), Err(StatsError::OutOfRange { .. })));
        let wrong = LinearDynamics { offset: &[0.0], ..model };
        assert!(matches!(k_step_errors(&wrong, z, 1), Err(StatsError::Length { what: "offset", .. })));
    }
}

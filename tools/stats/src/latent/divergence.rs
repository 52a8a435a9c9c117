//! Kullback–Leibler divergences of diagonal Gaussians and of a sample's moments, in nats.

use crate::correlation::covariance_matrix;
use crate::descriptive::{mean, variance};
use crate::error::{StatsError, check_count, check_finite, check_len};
use crate::latent::rank::spectrum;
use crate::matrix::MatrixView;

/// KL of diagonal Gaussians from N(0, I), row by row and dimension by dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct KlToStandard {
    /// Sum over the dimensions, per row, ≥ 0.
    pub per_row: Vec<f64>,
    /// Mean over the rows, per dimension, ≥ 0.
    pub per_dimension: Vec<f64>,
    /// Mean over the rows of `per_row`.
    pub mean: f64,
}

/// `KL(N(μ, diag e^logvar) ‖ N(0, I)) = ½ Σ_d (e^logvar + μ² − 1 − logvar)` (Kingma & Welling 2014, appendix B).
///
/// # Errors
/// [`StatsError::TooFew`] without a row, [`StatsError::Length`] when the shapes differ.
pub fn kl_to_standard_normal(mu: MatrixView<'_>, log_var: MatrixView<'_>) -> Result<KlToStandard, StatsError> {
    check_count("rows of mu", mu.rows(), 1)?;
    check_len("rows of log_var", log_var.rows(), mu.rows())?;
    check_len("columns of log_var", log_var.cols(), mu.cols())?;
    let mut per_dimension = vec![0.0; mu.cols()];
    let mut per_row = Vec::with_capacity(mu.rows());
    for (mu, log_var) in mu.iter_rows().zip(log_var.iter_rows()) {
        let mut row = 0.0;
        for ((sum, mu), log_var) in per_dimension.iter_mut().zip(mu).zip(log_var) {
            // e^v − 1 − v by expm1, which keeps small v exact.
            let kl = 0.5 * (log_var.exp_m1() - log_var + mu * mu);
            *sum += kl;
            row += kl;
        }
        per_row.push(row);
    }
    per_dimension.iter_mut().for_each(|sum| *sum /= mu.rows() as f64);
    let mean = mean(&per_row)?;
    Ok(KlToStandard { per_row, per_dimension, mean })
}

/// KL(q ‖ p) of two diagonal Gaussians given as (means, log-variances): `½ Σ (lp − lq + (e^lq + (μq − μp)²)/e^lp − 1)`.
///
/// # Errors
/// [`StatsError::Length`] when the four are not of one length, [`StatsError::NonFinite`].
pub fn diagonal_gaussian_kl(q: (&[f64], &[f64]), p: (&[f64], &[f64])) -> Result<f64, StatsError> {
    for (what, values) in
        [("means of q", q.0), ("log-variances of q", q.1), ("means of p", p.0), ("log-variances of p", p.1)]
    {
        check_len(what, values.len(), q.0.len())?;
        check_finite(what, values)?;
    }
    let terms = q.0.iter().zip(q.1).zip(p.0.iter().zip(p.1));
    Ok(terms.map(|((mq, lq), (mp, lp))| 0.5 * ((lq - lp).exp_m1() - (lq - lp) + (mq - mp).powi(2) * (-lp).exp())).sum())
}

/// Number of active units (Burda, Grosse & Salakhutdinov 2016): dimensions whose posterior mean varies over the data by more
/// than `threshold` (a variance, 0.01 in the paper).
///
/// # Errors
/// [`StatsError::TooFew`] below 2 rows.
pub fn active_units(mu: MatrixView<'_>, threshold: f64) -> Result<usize, StatsError> {
    check_count("rows of mu", mu.rows(), 2)?;
    let variances: Result<Vec<f64>, _> = (0..mu.cols()).map(|col| variance(&mu.column(col), 1)).collect();
    Ok(variances?.iter().filter(|variance| **variance > threshold).count())
}

/// KL from N(0, I) of the Gaussian with a sample's mean and covariance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MomentKl {
    /// With the whole covariance; +∞ when it is singular.
    pub full: f64,
    /// With its diagonal alone; +∞ when a column is constant.
    pub diagonal: f64,
}

/// `½ (tr S + m·m − d − ln det S)` with the rows' mean m and covariance S (divisor n − 1), and the same with diag S.
/// S counts as singular when an eigenvalue is not above 1e-10 times the greatest.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 rows.
pub fn moment_kl_to_standard_normal(x: MatrixView<'_>) -> Result<MomentKl, StatsError> {
    let (covariance, d) = (covariance_matrix(x)?, x.cols());
    let spectrum = spectrum(x)?;
    let variances: Vec<f64> = (0..d).map(|i| covariance.data[i * d + i]).collect();
    let mean_square: f64 = x.column_means().iter().map(|mean| mean * mean).sum();
    let common = variances.iter().sum::<f64>() + mean_square - d as f64;
    let log_determinant = |values: &[f64]| values.iter().map(|value| value.ln()).sum::<f64>();
    let full = if spectrum.numerical_rank < d {
        f64::INFINITY
    } else {
        0.5 * (common - log_determinant(&spectrum.eigenvalues))
    };
    Ok(MomentKl { full, diagonal: 0.5 * (common - log_determinant(&variances)) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn active_units_are_those_that_move() {
        let mu = [0.0, 1.0, 0.0, 2.0, 0.001, 3.0];
        assert_eq!(active_units(MatrixView::new("mu", &mu, 3, 2).unwrap(), 0.01), Ok(1));
    }

    #[test]
    fn bad_input_is_named() {
        let x = MatrixView::new("x", &[1.0, 2.0], 1, 2).unwrap();
        let y = MatrixView::new("y", &[1.0, 2.0], 2, 1).unwrap();
        assert!(matches!(kl_to_standard_normal(x, y), Err(StatsError::Length { .. })));
        assert!(matches!(
            diagonal_gaussian_kl((&[0.0], &[f64::NAN]), (&[0.0], &[0.0])),
            Err(StatsError::NonFinite { .. })
        ));
        let constant = MatrixView::new("x", &[2.0; 4], 4, 1).unwrap();
        assert_eq!(moment_kl_to_standard_normal(constant).unwrap().diagonal, f64::INFINITY);
    }

    proptest! {
        #[test]
        fn kl_is_zero_for_itself_and_positive_else(mu in -3.0..3.0_f64, lv in -3.0..3.0_f64, shift in 0.01..1.0_f64) {
            let q = (&[mu][..], &[lv][..]);
            prop_assert_eq!(diagonal_gaussian_kl(q, q).unwrap(), 0.0);
            prop_assert!(diagonal_gaussian_kl(q, (&[mu + shift], &[lv])).unwrap() > 0.0);
            prop_assert!(diagonal_gaussian_kl(q, (&[mu], &[lv + shift])).unwrap() > 0.0);
            let standard = diagonal_gaussian_kl(q, (&[0.0], &[0.0])).unwrap();
            let view = |x: &'static str, v: f64| (x, [v]);
            let (a, b) = (view("mu", mu), view("log_var", lv));
            let batch = kl_to_standard_normal(
                MatrixView::new(a.0, &a.1, 1, 1).unwrap(),
                MatrixView::new(b.0, &b.1, 1, 1).unwrap(),
            );
            prop_assert!((batch.unwrap().mean - standard).abs() < 1e-12);
        }
    }
}

//! Whether latent dimensions say different things.

use crate::correlation::{correlation_matrix, is_constant};
use crate::error::{StatsError, check_count, check_len, check_range};
use crate::linalg::symmetric_eigenvalues;
use crate::matrix::{Matrix, MatrixView};

/// Total correlation under a Gaussian.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TotalCorrelation {
    /// `−½ ln det R` in nats, ≥ 0; 0 for uncorrelated dimensions, +∞ when one is a linear function of others.
    pub nats: f64,
    /// Dimensions that vary; constant ones say nothing and are left out.
    pub dimensions: usize,
}

/// Total correlation (Watanabe 1960) of the columns if they were jointly Gaussian, from their correlation matrix R.
/// R counts as singular when an eigenvalue is not above 1e-10 times the greatest.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 rows, [`StatsError::Degenerate`] when every column is constant.
pub fn total_correlation(z: MatrixView<'_>) -> Result<TotalCorrelation, StatsError> {
    check_count("rows of z", z.rows(), 2)?;
    let columns: Vec<Vec<f64>> = (0..z.cols()).map(|col| z.column(col)).filter(|column| !is_constant(column)).collect();
    let dimensions = columns.len();
    if dimensions == 0 {
        return Err(StatsError::Degenerate { what: "z", why: "every column is constant" });
    }
    let data: Vec<f64> = (0..z.rows()).flat_map(|row| columns.iter().map(move |column| column[row])).collect();
    let correlation = correlation_matrix(MatrixView::new("z", &data, z.rows(), dimensions)?)?;
    let eigenvalues = symmetric_eigenvalues("z", &correlation.data, dimensions)?;
    let is_singular = eigenvalues.iter().any(|value| *value <= 1e-10 * eigenvalues[0]);
    let nats = -0.5 * eigenvalues.iter().map(|value| value.ln()).sum::<f64>();
    Ok(TotalCorrelation { nats: if is_singular { f64::INFINITY } else { nats.max(0.0) }, dimensions })
}

/// Mutual information of latent dimensions with observed factors, and the gap between the best two.
#[derive(Clone, Debug, PartialEq)]
pub struct Disentanglement {
    /// Mutual information in nats, one row per latent dimension, one column per factor.
    pub information: Matrix,
    /// Per factor: (greatest − second greatest information) / entropy of the factor, 0..=1; NaN for a constant factor.
    pub gap: Vec<f64>,
    /// Mean of the gaps that are not NaN; NaN when all are.
    pub score: f64,
}

/// The mutual-information gap of Chen et al. 2018 (*Isolating Sources of Disentanglement*) with continuous factors: each
/// column is cut into `bins` bins of equal count (ties together), information and entropy are those of the counts. The
/// estimate is biased upwards by about (bins − 1)²/2n nats for independent columns.
///
/// # Errors
/// [`StatsError::Length`] when the rows differ, [`StatsError::OutOfRange`] unless 2 ≤ bins ≤ n, [`StatsError::TooFew`] below 2 latent dimensions.
pub fn mutual_information_gap(
    z: MatrixView<'_>,
    factors: MatrixView<'_>,
    bins: usize,
) -> Result<Disentanglement, StatsError> {
    check_len("rows of factors", factors.rows(), z.rows())?;
    check_count("columns of z", z.cols(), 2)?;
    check_range("bins", bins as f64, |_| (2..=z.rows()).contains(&bins), "2 to the number of rows")?;
    let binned = |x: MatrixView<'_>| (0..x.cols()).map(|col| equal_counts(&x.column(col), bins)).collect::<Vec<_>>();
    let (latents, observed) = (binned(z), binned(factors));
    let mut information = Matrix::zeros(z.cols(), factors.cols());
    for (dimension, latent) in latents.iter().enumerate() {
        for (cell, factor) in information.row_mut(dimension).iter_mut().zip(&observed) {
            *cell = mutual_information(latent, factor, bins);
        }
    }
    let gap: Vec<f64> =
        observed.iter().enumerate().map(|(col, factor)| gap_of(&information, col, factor, bins)).collect();
    let known: Vec<f64> = gap.iter().copied().filter(|gap| !gap.is_nan()).collect();
    let score = if known.is_empty() { f64::NAN } else { known.iter().sum::<f64>() / known.len() as f64 };
    Ok(Disentanglement { information, gap, score })
}

fn gap_of(information: &Matrix, col: usize, factor: &[usize], bins: usize) -> f64 {
    let mut of_factor: Vec<f64> = information.data.iter().skip(col).step_by(information.cols).copied().collect();
    of_factor.sort_unstable_by(|a, b| b.total_cmp(a));
    let entropy = mutual_information(factor, factor, bins);
    if entropy > 0.0 { (of_factor[0] - of_factor[1]) / entropy } else { f64::NAN }
}

/// Bin of each value, by rank; equal values share the bin of the first of them.
fn equal_counts(x: &[f64], bins: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_unstable_by(|a, b| x[*a].total_cmp(&x[*b]).then(a.cmp(b)));
    let mut out = vec![0; x.len()];
    let mut first_rank = 0;
    for (rank, index) in order.iter().enumerate() {
        if rank > 0 && x[*index] != x[order[rank - 1]] {
            first_rank = rank;
        }
        out[*index] = first_rank * bins / x.len();
    }
    out
}

/// `Σ p(a,b) ln (p(a,b)/(p(a) p(b)))` of the counts; the entropy when both are the same.
fn mutual_information(a: &[usize], b: &[usize], bins: usize) -> f64 {
    let n = a.len() as f64;
    let (mut joint, mut of_a, mut of_b) = (vec![0.0; bins * bins], vec![0.0; bins], vec![0.0; bins]);
    for (a, b) in a.iter().zip(b) {
        joint[a * bins + b] += 1.0;
        of_a[*a] += 1.0;
        of_b[*b] += 1.0;
    }
    let cells = joint.iter().enumerate().filter(|(_, count)| **count > 0.0);
    let sum: f64 = cells.map(|(cell, count)| count * (count * n / (of_a[cell / bins] * of_b[cell % bins])).ln()).sum();
    (sum / n).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Generator;

    #[test]
    fn total_correlation_of_a_known_pair() {
        let mut generator = Generator::new(8, "test");
        let data: Vec<f64> = (0..50_000)
            .flat_map(|_| {
                let a = generator.normal();
                [a, 0.6 * a + 0.8 * generator.normal(), 7.0]
            })
            .collect();
        let found = total_correlation(MatrixView::new("z", &data, 50_000, 3).unwrap()).unwrap();
        assert_eq!(found.dimensions, 2, "the constant is left out");
        assert!((found.nats + 0.5 * (1.0 - 0.36_f64).ln()).abs() < 0.01);
        let same = MatrixView::new("z", &[1.0, 1.0, 2.0, 2.0, 4.0, 4.0], 3, 2).unwrap();
        assert_eq!(total_correlation(same).unwrap().nats, f64::INFINITY);
    }

    #[test]
    fn the_gap_is_wide_for_one_to_one_and_narrow_for_mixtures() {
        let mut generator = Generator::new(8, "mig");
        let factors: Vec<f64> = (0..8_000).map(|_| generator.normal()).collect();
        let view = |data| MatrixView::new("z", data, 4_000, 2).unwrap();
        let apart = mutual_information_gap(view(&factors), view(&factors), 10).unwrap();
        assert!(apart.score > 0.95, "{apart:?}");
        let mixed: Vec<f64> = factors.chunks_exact(2).flat_map(|f| [f[0] + f[1], f[0] - f[1]]).collect();
        let mixed = mutual_information_gap(view(&mixed), view(&factors), 10).unwrap();
        assert!(mixed.score < 0.05, "{mixed:?}");
        assert!(matches!(
            mutual_information_gap(view(&factors), view(&factors), 1),
            Err(StatsError::OutOfRange { .. })
        ));
    }

    #[test]
    fn a_constant_factor_has_no_gap() {
        let z = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 9.0];
        let z = MatrixView::new("z", &z, 4, 2).unwrap();
        let found = mutual_information_gap(z, MatrixView::new("f", &[3.0; 4], 4, 1).unwrap(), 2).unwrap();
        assert!(found.gap[0].is_nan() && found.score.is_nan());
    }
}

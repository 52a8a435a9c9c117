//! The robust scaler: median and interquartile range of each column.

use peregrine_stats::RobustScaler;

use crate::DatasetError;

/// Median and interquartile range of each column, narrowed to binary32; a range that has no finite inverse counts as 1.
pub(crate) fn fit_columns(columns: impl Iterator<Item = Vec<f64>>) -> Result<(Vec<f32>, Vec<f32>), DatasetError> {
    let fits = columns.map(|mut column| {
        let (center, scale) = RobustScaler::fit_in_place(&mut column).map_err(DatasetError::shape)?;
        let scale = narrow(scale);
        Ok((narrow(center), if scale > 0.0 && scale.recip().is_finite() { scale } else { 1.0 }))
    });
    Ok(fits.collect::<Result<Vec<_>, DatasetError>>()?.into_iter().unzip())
}

/// To binary32, rounding to nearest; beyond its range to ±infinity.
#[expect(clippy::cast_possible_truncation, reason = "rounding to binary32 is meant")]
pub(crate) const fn narrow(value: f64) -> f32 {
    value as f32
}

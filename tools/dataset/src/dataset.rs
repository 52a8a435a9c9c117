//! A dataset in memory: checked, sealed by its digest, split by time, scaled.

use peregrine_model::{FeatureSet, HorizonUnit};

use crate::digest::{SequenceDigest, Widths, digest_dataset};
use crate::scale::fit_columns;
use crate::{Dataset, DatasetError, DatasetMeta, Sequence};

impl Dataset {
    /// Checks that every part fits, orders the sequences by instrument and time, and writes their digest into `meta`.
    ///
    /// # Errors
    /// [`DatasetError::Shape`] naming the first sequence whose columns differ in length, whose times step back, or whose
    /// features are not finite.
    pub fn new(mut meta: DatasetMeta, mut sequences: Vec<Sequence>) -> Result<Self, DatasetError> {
        let widths = Widths::of(&meta);
        sequences.iter().try_for_each(|sequence| check_sequence(sequence, widths, None))?;
        sequences.sort_by(|a, b| (&a.instrument, a.time_ns.first()).cmp(&(&b.instrument, b.time_ns.first())));
        let seals = sequences.iter().map(|sequence| {
            let mut digest = SequenceDigest::new(&sequence.instrument);
            digest.update(sequence, widths);
            digest.seal()
        });
        meta.sha256 = digest_dataset(&meta, seals.collect())?;
        Ok(Self { meta, sequences })
    }

    /// Number of rows of all sequences.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.sequences.iter().map(Sequence::rows).sum()
    }

    /// Splits by time: training rows are before `time_ns` (nanoseconds UTC), held-out rows at or after it.
    ///
    /// No leak: a training row's return whose horizon ends at or past the split becomes NaN, and the last `purge_rows`
    /// rows of each instrument's sequence that the split cuts are dropped from training altogether (an embargo for
    /// targets of other kinds). Held-out features may look back across the split: they only see the past. Each side
    /// carries the digest of its own rows.
    ///
    /// # Errors
    /// [`DatasetError::Shape`] when a side has no row.
    pub fn split_at(&self, time_ns: i64, purge_rows: usize) -> Result<(Self, Self), DatasetError> {
        let mut train = Vec::new();
        let mut held_out = Vec::new();
        for sequence in &self.sequences {
            let at = sequence.time_ns.partition_point(|time| *time < time_ns);
            let is_cut = at < sequence.rows();
            let kept = if is_cut { at.saturating_sub(purge_rows) } else { at };
            if kept > 0 {
                let mut part = sequence.slice(0, kept, Widths::of(&self.meta));
                if is_cut {
                    self.forget_returns_past(&mut part, at, time_ns);
                }
                train.push(part);
            }
            if is_cut {
                held_out.push(sequence.slice(at, sequence.rows(), Widths::of(&self.meta)));
            }
        }
        for (side, sequences) in [("before", &train), ("at or after", &held_out)] {
            if sequences.is_empty() {
                let reason = format!("no row lies {side} the split at {time_ns} ns: choose a time inside the data");
                return Err(DatasetError::Shape { reason });
            }
        }
        Ok((Self::new(self.meta.clone(), train)?, Self::new(self.meta.clone(), held_out)?))
    }

    /// Rows of `[from_ns, to_ns)`, for rolling windows: as the training side of a split at `to_ns`, without what lies
    /// before `from_ns`.
    ///
    /// # Errors
    /// [`DatasetError::Shape`] when no row is in the window.
    pub fn window(&self, from_ns: i64, to_ns: i64, purge_rows: usize) -> Result<Self, DatasetError> {
        let is_open = self.sequences.iter().all(|sequence| sequence.time_ns.last().is_none_or(|last| *last < to_ns));
        let before = if is_open { self.clone() } else { self.split_at(to_ns, purge_rows)?.0 };
        let is_whole = before.sequences.iter().all(|part| part.time_ns.first().is_none_or(|first| *first >= from_ns));
        if is_whole { Ok(before) } else { Ok(before.split_at(from_ns, 0)?.1) }
    }

    /// `part` holds the first rows of a sequence whose row `split_row` is the first held-out one.
    fn forget_returns_past(&self, part: &mut Sequence, split_row: usize, time_ns: i64) {
        let width = self.meta.horizons.len();
        for (row, time) in part.time_ns.iter().enumerate() {
            for (index, horizon) in self.meta.horizons.iter().enumerate() {
                let count = usize::try_from(horizon.count).unwrap_or(usize::MAX);
                let is_past = match horizon.unit {
                    HorizonUnit::Events | HorizonUnit::Bars => row.saturating_add(count) >= split_row,
                    HorizonUnit::Milliseconds => {
                        time.saturating_add(i64::from(horizon.count).saturating_mul(1_000_000)) >= time_ns
                    }
                };
                if is_past && let Some(value) = part.returns.get_mut(row.saturating_mul(width).saturating_add(index)) {
                    *value = f32::NAN;
                }
            }
        }
    }
}

impl Sequence {
    /// Rows `from..to` as a sequence of their own.
    pub(crate) fn slice(&self, from: usize, to: usize, widths: Widths) -> Self {
        let part = |values: &[f32], width: usize| {
            values.get(from.saturating_mul(width)..to.saturating_mul(width)).unwrap_or_default().to_vec()
        };
        Self {
            instrument: self.instrument.clone(),
            time_ns: self.time_ns.get(from..to).unwrap_or_default().to_vec(),
            features: part(&self.features, widths.features),
            returns: part(&self.returns, widths.returns),
            half_spread: part(&self.half_spread, 1),
            context: part(&self.context, widths.context),
        }
    }

    /// Appends the rows of `next`, which must be of the same columns.
    pub(crate) fn append(&mut self, next: &Self) {
        self.time_ns.extend(&next.time_ns);
        self.features.extend(&next.features);
        self.returns.extend(&next.returns);
        self.half_spread.extend(&next.half_spread);
        self.context.extend(&next.context);
    }
}

/// The robust scaler of `train`: median and interquartile range (numpy's `linear` quantiles, scikit-learn's
/// `RobustScaler`) of every feature over all rows; a range of 0 becomes 1. Hand in the training fold only.
///
/// # Errors
/// [`DatasetError::Shape`] when there is no row.
pub fn fit_scaler(train: &Dataset) -> Result<FeatureSet, DatasetError> {
    let width = train.meta.features.len();
    let column = |index: usize| {
        let values =
            train.sequences.iter().flat_map(move |sequence| sequence.features.iter().skip(index).step_by(width));
        values.map(|value| f64::from(*value)).collect::<Vec<_>>()
    };
    if train.rows() == 0 || width == 0 {
        return Err(DatasetError::shape("a scaler needs rows with features: the training fold is empty"));
    }
    let (median, iqr) = fit_columns((0..width).map(column))?;
    Ok(FeatureSet { names: train.meta.features.clone(), hash: train.meta.feature_hash.clone(), median, iqr })
}

/// Whether a sequence, or a chunk that follows a row at `last_time`, is sound.
pub(crate) fn check_sequence(part: &Sequence, widths: Widths, last_time: Option<i64>) -> Result<(), DatasetError> {
    let rows = part.rows();
    let fault = |what: String| DatasetError::Shape { reason: format!("sequence of {}: {what}", part.instrument) };
    let columns = [
        ("features", part.features.len(), widths.features),
        ("returns", part.returns.len(), widths.returns),
        ("half_spread", part.half_spread.len(), 1),
        ("context", part.context.len(), widths.context),
    ];
    for (name, len, width) in columns {
        if len != rows.saturating_mul(width) {
            return Err(fault(format!("{name} has {len} values, {rows} rows of {width} need {}", rows * width)));
        }
    }
    let times = last_time.iter().chain(&part.time_ns);
    if let Some((before, after)) = times.clone().zip(times.skip(1)).find(|(before, after)| after < before) {
        return Err(fault(format!("time steps back from {before} to {after} ns")));
    }
    if let Some(at) = part.features.iter().position(|value| !value.is_finite()) {
        let width = widths.features.max(1);
        return Err(fault(format!("feature {} of row {} is not finite", at % width, at / width)));
    }
    Ok(())
}

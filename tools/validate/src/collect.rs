//! The model run over a dataset by the kernel, exactly as in trading: what it saw, believed and predicted, row by row.

use peregrine_dataset::{Dataset, Sequence};
use peregrine_model::{Heads, INPUT_CLIP, Kernel, Latent, LatentStore, Model, ModelMeta, PositionInput};
use peregrine_stats::Matrix;

use crate::ahead::ReturnColumn;
use crate::error::ValidateError;
use crate::settings::{HorizonSettings, SampleSettings};

/// Fewest rows to judge.
const ROWS_MIN: usize = 100;

/// One of the two datasets, with the name that messages use and the columns of its returns that the model predicts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fold<'a> {
    /// `training` or `held-out`.
    pub(crate) name: &'static str,
    pub(crate) data: &'a Dataset,
}

/// Everything that was kept of a run over a dataset: one entry per kept row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    /// Rows that the model saw.
    pub(crate) observed_rows: usize,
    /// Rows that the kernel refused.
    pub(crate) refused_rows: usize,
    /// Every how many rows one was kept.
    pub(crate) stride: usize,
    /// Index of the sequence.
    pub(crate) sequence: Vec<usize>,
    /// Row within the sequence.
    pub(crate) row: Vec<usize>,
    /// Its time, nanoseconds UTC.
    pub(crate) time_ns: Vec<i64>,
    /// Instruments of the dataset.
    pub(crate) instruments: usize,
    /// Scaled and clipped observations, rows × D.
    pub(crate) x: Matrix,
    /// Decoded from the posterior, rows × D.
    pub(crate) x_hat: Matrix,
    /// Posterior means, rows × Z.
    pub(crate) z: Matrix,
    /// Posterior log-variances, rows × Z.
    pub(crate) z_log_var: Matrix,
    /// Prior means, rows × Z.
    pub(crate) prior_mean: Matrix,
    /// Deterministic state, rows × H.
    pub(crate) h: Matrix,
    /// KL(q‖p), nats.
    pub(crate) surprise: Vec<f64>,
    /// Probability of an up-move.
    pub(crate) up: Vec<f64>,
    /// The controller's action from a flat position without costs.
    pub(crate) action: Vec<f64>,
    /// Most probable regime.
    pub(crate) regime: Vec<usize>,
    /// Expected returns, rows × N.
    pub(crate) return_mean: Matrix,
    /// Their log-variances, rows × N.
    pub(crate) return_log_var: Matrix,
    /// Realised returns, rows × N; NaN where unknown.
    pub(crate) returns: Matrix,
    /// Context, rows × C; NaN where unknown.
    pub(crate) context: Matrix,
    /// The prior rolled forward from some of the rows.
    pub(crate) ahead: Ahead,
}

impl Trace {
    /// Kept rows.
    pub(crate) fn rows(&self) -> usize {
        self.up.len()
    }
}

/// Predictions several steps ahead: per origin K steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ahead {
    /// Sequence and row of each origin.
    pub(crate) origins: Vec<(usize, usize)>,
    /// Every how many judged rows one was an origin.
    pub(crate) origin_stride: usize,
    /// K.
    pub(crate) steps: usize,
    /// Decoded from the imagined state, origins × (K·D), step by step.
    pub(crate) x_hat: Matrix,
    /// Expected return over the first horizon from each imagined step on, origins × K.
    pub(crate) return_hat: Matrix,
}

/// The scaled and clipped observation, as the kernel makes it, in f64.
pub(crate) fn scaled<'a>(meta: &'a ModelMeta, raw: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
    let scaler = meta.features.median.iter().zip(&meta.features.iqr);
    raw.iter().zip(scaler).map(|(raw, (median, iqr))| scale(*raw, *median, *iqr))
}

/// One of them; `None` where there is no such feature.
pub(crate) fn scaled_one(meta: &ModelMeta, raw: &[f32], feature: usize) -> Option<f64> {
    let (median, iqr) = meta.features.median.get(feature).zip(meta.features.iqr.get(feature))?;
    raw.get(feature).map(|raw| scale(*raw, *median, *iqr))
}

fn scale(raw: f32, median: f32, iqr: f32) -> f64 {
    let clip = f64::from(INPUT_CLIP);
    ((f64::from(raw) - f64::from(median)) / f64::from(iqr)).clamp(-clip, clip)
}

/// Raw features of one row.
pub(crate) fn features(sequence: &Sequence, row: usize, d: usize) -> &[f32] {
    row_of(&sequence.features, row, d)
}

/// One row of a row-major column group; empty beyond the end.
pub(crate) fn row_of(values: &[f32], row: usize, columns: usize) -> &[f32] {
    values.get(row * columns..(row + 1) * columns).unwrap_or(&[])
}

impl Fold<'_> {
    /// Columns of the dataset's returns in the order of the model's horizons, after everything was checked to fit.
    pub(crate) fn check(&self, model: &Model) -> Result<Vec<usize>, ValidateError> {
        let (meta, dataset) = (model.meta(), self.name);
        let names = self.data.meta.features.iter().map(String::as_str);
        model
            .check_features(names, &self.data.meta.feature_hash)
            .map_err(|error| ValidateError::Features { dataset, what: error.to_string() })?;
        let columns = meta.horizons.iter().map(|horizon| {
            let found = self.data.meta.horizons.iter().position(|other| other == horizon);
            found.ok_or(ValidateError::Horizon { dataset, horizon: *horizon })
        });
        for (index, sequence) in self.data.sequences.iter().enumerate() {
            self.check_lengths(index, sequence, meta.d)?;
        }
        columns.collect()
    }

    fn check_lengths(&self, index: usize, sequence: &Sequence, d: usize) -> Result<(), ValidateError> {
        let rows = sequence.rows();
        let (returns, context) = (self.data.meta.horizons.len(), self.data.meta.context.len());
        let lengths = [
            ("features", sequence.features.len(), rows * d),
            ("returns", sequence.returns.len(), rows * returns),
            ("half_spread", sequence.half_spread.len(), rows),
            ("context", sequence.context.len(), rows * context),
        ];
        match lengths.into_iter().find(|(_, found, expected)| found != expected) {
            Some((column, found, expected)) => {
                Err(ValidateError::Shape { dataset: self.name, sequence: index, column, found, expected })
            }
            None => Ok(()),
        }
    }

    /// Where the returns over the model's first horizon are.
    pub(crate) fn return_column(&self, meta: &ModelMeta) -> ReturnColumn {
        let horizons = &self.data.meta.horizons;
        let column = horizons.iter().position(|horizon| meta.horizons.first() == Some(horizon)).unwrap_or(0);
        ReturnColumn { column, columns: horizons.len() }
    }

    /// How many instruments the rows are of.
    pub(crate) fn instruments(&self) -> usize {
        let names = self.data.sequences.iter().map(|sequence| sequence.instrument.as_str());
        names.collect::<std::collections::BTreeSet<&str>>().len()
    }

    /// Rows that are judged: all but the first ones of each sequence.
    pub(crate) fn judged_rows(&self, warm_up: usize) -> usize {
        self.data.sequences.iter().map(|sequence| sequence.rows().saturating_sub(warm_up)).sum()
    }
}

/// How rows are thinned.
#[derive(Clone, Copy, Debug)]
struct Thinning {
    warm_up: usize,
    stride: usize,
    origin_stride: usize,
    steps: usize,
}

/// Runs the model over a fold.
pub(crate) fn collect(
    model: &Model,
    kernel: &Kernel,
    fold: &Fold<'_>,
    sample: &SampleSettings,
    horizon: &HorizonSettings,
) -> Result<Trace, ValidateError> {
    let columns = fold.check(model)?;
    let judged = fold.judged_rows(sample.warm_up_rows);
    let stride = judged.div_ceil(sample.rows_max).max(1);
    if judged < ROWS_MIN {
        let (dataset, warm_up) = (fold.name, sample.warm_up_rows);
        return Err(ValidateError::TooFewRows { dataset, found: judged, warm_up, needed: ROWS_MIN });
    }
    let origin_stride = judged.div_ceil(sample.origins_max).max(1);
    let thinning = Thinning { warm_up: sample.warm_up_rows, stride, origin_stride, steps: horizon.steps_max };
    let mut run = Run::new(model, kernel, fold, &columns, thinning);
    for (index, sequence) in fold.data.sequences.iter().enumerate() {
        run.sequence(index, sequence)?;
    }
    let found = run.trace.rows();
    if found < ROWS_MIN.min(judged) {
        let (dataset, warm_up) = (fold.name, sample.warm_up_rows);
        return Err(ValidateError::TooFewRows { dataset, found, warm_up, needed: ROWS_MIN });
    }
    Ok(run.trace)
}

/// A run under way.
struct Run<'a> {
    model: &'a Model,
    kernel: &'a Kernel,
    fold: &'a Fold<'a>,
    columns: &'a [usize],
    thinning: Thinning,
    /// The state that follows the data, and one to imagine with.
    latents: LatentStore,
    dream: LatentStore,
    decoded: Vec<f32>,
    judged: usize,
    trace: Trace,
}

impl<'a> Run<'a> {
    fn new(model: &'a Model, kernel: &'a Kernel, fold: &'a Fold<'a>, columns: &'a [usize], thinning: Thinning) -> Self {
        let (meta, n) = (model.meta(), columns.len());
        let empty = |cols| Matrix { cols, ..Matrix::default() };
        let (x, z, h) = (empty(meta.d), empty(meta.z), empty(meta.h));
        let ahead = Ahead {
            steps: thinning.steps,
            origin_stride: thinning.origin_stride,
            x_hat: empty(meta.d * thinning.steps),
            return_hat: empty(thinning.steps),
            ..Ahead::default()
        };
        let trace = Trace {
            stride: thinning.stride,
            instruments: fold.instruments(),
            x_hat: x.clone(),
            x,
            z_log_var: z.clone(),
            prior_mean: z.clone(),
            z,
            h,
            return_mean: empty(n),
            return_log_var: empty(n),
            returns: empty(n),
            context: empty(fold.data.meta.context.len()),
            ahead,
            ..Trace::default()
        };
        let (latents, dream) = (LatentStore::new(model, 1), LatentStore::new(model, 1));
        Self { model, kernel, fold, columns, thinning, latents, dream, decoded: vec![0.0; meta.d], judged: 0, trace }
    }

    fn sequence(&mut self, index: usize, sequence: &Sequence) -> Result<(), ValidateError> {
        self.latents.reset(self.model, 0);
        for row in 0..sequence.rows() {
            let raw = features(sequence, row, self.model.meta().d);
            let Some(mut latent) = self.latents.latent_mut(0) else { return Ok(()) };
            let heads = self.kernel.observe(self.model, &mut latent, raw, PositionInput::default());
            self.trace.observed_rows += 1;
            match heads {
                Ok(heads) => self.judge(index, sequence, row, &heads)?,
                Err(_) => self.trace.refused_rows += 1,
            }
            if let Some(mut latent) = self.latents.latent_mut(0) {
                self.kernel.advance(self.model, &mut latent);
            }
        }
        Ok(())
    }

    /// Keeps the row when it is its turn, and rolls the prior forward from it when it is an origin.
    fn judge(&mut self, index: usize, sequence: &Sequence, row: usize, heads: &Heads) -> Result<(), ValidateError> {
        if row < self.thinning.warm_up {
            return Ok(());
        }
        let count = self.judged;
        self.judged += 1;
        if count.is_multiple_of(self.thinning.stride) {
            self.keep(index, sequence, row, heads);
        }
        if count.is_multiple_of(self.thinning.origin_stride) && row + self.thinning.steps < sequence.rows() {
            self.look_ahead(index, row)?;
        }
        Ok(())
    }

    fn keep(&mut self, index: usize, sequence: &Sequence, row: usize, heads: &Heads) {
        let (meta, trace) = (self.model.meta(), &mut self.trace);
        let Some(mut latent) = self.latents.latent_mut(0) else { return };
        let is_decoded = self.kernel.reconstruct(self.model, &mut latent, &mut self.decoded);
        debug_assert!(is_decoded, "the latent is this model's");
        trace.sequence.push(index);
        trace.row.push(row);
        trace.time_ns.push(sequence.time_ns.get(row).copied().unwrap_or(0));
        push_row(&mut trace.x, scaled(meta, features(sequence, row, meta.d)));
        push_row(&mut trace.x_hat, self.decoded.iter().copied().map(f64::from));
        push_latent(trace, &latent);
        trace.surprise.push(f64::from(heads.surprise));
        trace.up.push(f64::from(heads.up_probability));
        trace.action.push(f64::from(heads.action));
        trace.regime.push(usize::try_from(heads.regime.index).unwrap_or(usize::MAX));
        push_row(&mut trace.return_mean, heads.return_mean.iter().take(self.columns.len()).copied().map(f64::from));
        push_row(
            &mut trace.return_log_var,
            heads.return_log_var.iter().take(self.columns.len()).copied().map(f64::from),
        );
        let all = row_of(&sequence.returns, row, self.fold.data.meta.horizons.len());
        push_row(
            &mut trace.returns,
            self.columns.iter().map(|column| all.get(*column).map_or(f64::NAN, |x| f64::from(*x))),
        );
        let context = row_of(&sequence.context, row, self.fold.data.meta.context.len());
        push_row(&mut trace.context, context.iter().copied().map(f64::from));
    }

    fn look_ahead(&mut self, index: usize, row: usize) -> Result<(), ValidateError> {
        let (Some(latent), Some(mut dream)) = (self.latents.latent_mut(0), self.dream.latent_mut(0)) else {
            return Ok(());
        };
        let is_copied = dream.copy_from(&latent);
        debug_assert!(is_copied, "both latents are this model's");
        let ahead = &mut self.trace.ahead;
        ahead.origins.push((index, row));
        ahead.x_hat.rows += 1;
        ahead.return_hat.rows += 1;
        for _ in 0..self.thinning.steps {
            self.kernel.imagine(self.model, &mut dream);
            let is_decoded = self.kernel.reconstruct(self.model, &mut dream, &mut self.decoded);
            debug_assert!(is_decoded, "the latent is this model's");
            ahead.x_hat.data.extend(self.decoded.iter().copied().map(f64::from));
            let heads = self.kernel.heads(self.model, &mut dream, PositionInput::default())?;
            let [first, ..] = heads.return_mean;
            ahead.return_hat.data.push(f64::from(first));
        }
        Ok(())
    }
}

fn push_row(matrix: &mut Matrix, row: impl Iterator<Item = f64>) {
    matrix.data.extend(row);
    matrix.rows += 1;
}

fn push_latent(trace: &mut Trace, latent: &Latent<'_>) {
    push_row(&mut trace.z, latent.z().map(f64::from));
    push_row(&mut trace.z_log_var, latent.z_log_var().map(f64::from));
    push_row(&mut trace.prior_mean, latent.prior_mean().map(f64::from));
    push_row(&mut trace.h, latent.h().map(f64::from));
}

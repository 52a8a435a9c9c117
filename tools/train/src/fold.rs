//! A dataset made ready for training: features scaled and clipped, returns standardised, sequences cut into pieces, and
//! pieces dealt to lanes chunk by chunk.

use peregrine_dataset::{Dataset, Sequence, fit_scaler};
use peregrine_model::{FeatureSet, INPUT_CLIP};

use crate::error::TrainError;
use crate::objective::Chunk;
use crate::real::Real;

/// What the training fold alone decides: the scaler of the features and the moments of the returns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scales {
    pub(crate) median: Vec<f32>,
    pub(crate) iqr: Vec<f32>,
    /// Mean and standard deviation of the returns per horizon, fractions.
    pub(crate) returns: Vec<(f64, f64)>,
}

impl Scales {
    /// Fits on a fold. A feature without spread gets an interquartile range of 1, as scikit-learn does.
    pub(crate) fn fit(data: &Dataset) -> Result<Self, TrainError> {
        let n = data.meta.horizons.len();
        let FeatureSet { median, iqr, .. } =
            fit_scaler(data).map_err(|error| TrainError::Dataset { which: "train", what: error.to_string() })?;
        let returns = (0..n).map(|index| {
            let mut column = column_of(data, |sequence| &sequence.returns, (index, n));
            column.retain(|x| x.is_finite());
            moments(&column)
        });
        Ok(Self { median, iqr, returns: returns.collect() })
    }

    /// `2·ln σ` per horizon: what the exported log-variances are moved by.
    pub(crate) fn return_log_scale(&self) -> Vec<f64> {
        self.returns.iter().map(|(_, deviation)| 2.0 * deviation.ln()).collect()
    }
}

fn column_of(data: &Dataset, part: impl Fn(&Sequence) -> &Vec<f32>, (index, width): (usize, usize)) -> Vec<f64> {
    let values = data.sequences.iter().flat_map(|sequence| part(sequence).iter().skip(index).step_by(width.max(1)));
    values.map(|x| f64::from(*x)).collect()
}

/// Mean and standard deviation; (0, 1) of nothing, deviation 1 of a constant.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = whole(values.len());
    if values.is_empty() {
        return (0.0, 1.0);
    }
    let mean = values.iter().sum::<f64>() / count;
    let deviation = (values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count).sqrt();
    (mean, if deviation > 1e-12 { deviation } else { 1.0 })
}

pub(crate) fn whole(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// All rows of a dataset, sequence after sequence.
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub(crate) d: usize,
    pub(crate) n: usize,
    /// Scaled and clipped, [rows, D].
    pub(crate) x: Vec<f32>,
    /// Standardised and clipped returns, NaN where unknown, [rows, N].
    pub(crate) returns: Vec<f32>,
    /// 1 for a first-horizon return above 0, else 0.
    pub(crate) up: Vec<f32>,
    /// Basis points of the mid price.
    pub(crate) half_spread_bps: Vec<f32>,
    /// First row and number of rows of each sequence.
    pub(crate) spans: Vec<(usize, usize)>,
}

/// A run of rows that one lane goes through with its state carried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Piece {
    /// First row in the fold.
    pub(crate) start: usize,
    /// Number of rows.
    pub(crate) rows: usize,
    /// Rows at its start that count in no loss.
    pub(crate) burn_in: usize,
}

impl Fold {
    pub(crate) fn new(data: &Dataset, scales: &Scales, return_clip: f64) -> Self {
        let (d, n) = (data.meta.features.len(), data.meta.horizons.len());
        let mut fold = Self {
            d,
            n,
            x: Vec::new(),
            returns: Vec::new(),
            up: Vec::new(),
            half_spread_bps: Vec::new(),
            spans: Vec::new(),
        };
        let clip = f32::of(return_clip);
        for sequence in &data.sequences {
            fold.spans.push((fold.up.len(), sequence.rows()));
            for row in sequence.features.chunks_exact(d.max(1)) {
                // As the kernel scales: times the inverse.
                let scaled = row.iter().zip(&scales.median).zip(&scales.iqr);
                fold.x.extend(scaled.map(|((x, m), s)| ((x - m) * s.recip()).clamp(-INPUT_CLIP, INPUT_CLIP)));
            }
            for row in sequence.returns.chunks_exact(n.max(1)) {
                fold.up.push(if row.first().is_some_and(|x| *x > 0.0) { 1.0 } else { 0.0 });
                let standardised = row.iter().zip(&scales.returns);
                fold.returns.extend(standardised.map(|(x, (mean, deviation))| {
                    let x = f32::of((f64::from(*x) - mean) / deviation);
                    if x.is_finite() { x.clamp(-clip, clip) } else { f32::NAN }
                }));
            }
            fold.half_spread_bps.extend(sequence.half_spread.iter().map(|x| x * 1e4));
        }
        fold
    }

    pub(crate) fn rows(&self) -> usize {
        self.up.len()
    }

    /// Whether a row is the first of its sequence.
    pub(crate) fn starts_sequence(&self, row: usize) -> bool {
        self.spans.binary_search_by_key(&row, |(start, _)| *start).is_ok()
    }

    /// Cuts the sequences so that every lane has work: pieces of at most `rows / lanes` rows, at least eight chunks long.
    pub(crate) fn pieces(&self, lanes: usize, chunk_rows: usize, burn_in_rows: usize) -> Vec<Piece> {
        let fair = self.rows().div_ceil(lanes.max(1)).max(8 * chunk_rows.max(burn_in_rows));
        let rows_max = fair.div_ceil(chunk_rows) * chunk_rows;
        let mut pieces = Vec::new();
        for (start, rows) in &self.spans {
            let mut from = 0;
            while from < *rows {
                // A burn-in overlaps the piece before, so that every row counts once.
                let burn_in = if from == 0 { 0 } else { burn_in_rows.min(from) };
                let take = (rows_max - burn_in.min(rows_max - 1)).min(rows - from);
                pieces.push(Piece { start: start + from - burn_in, rows: take + burn_in, burn_in });
                from += take;
            }
        }
        pieces
    }

    /// Copies the rows of `at` (one entry per lane) into a chunk.
    pub(crate) fn chunk(&self, at: &[Option<Cursor>], steps: usize) -> Chunk<f32> {
        let lanes = at.len();
        let rows = steps * lanes;
        let mut chunk = Chunk {
            steps,
            lanes,
            x: vec![0.0; rows * self.d],
            row_weight: vec![0.0; rows],
            returns: vec![0.0; rows * self.n],
            return_weight: vec![0.0; rows * self.n],
            up: vec![0.0; rows],
        };
        for (lane, cursor) in at.iter().enumerate() {
            let Some(Cursor { piece, done }) = cursor else { continue };
            for step in 0..steps.min(piece.rows - done) {
                let (from, to) = (piece.start + done + step, step * lanes + lane);
                chunk.x[to * self.d..(to + 1) * self.d].copy_from_slice(&self.x[from * self.d..(from + 1) * self.d]);
                if done + step < piece.burn_in {
                    continue;
                }
                chunk.row_weight[to] = 1.0;
                chunk.up[to] = self.up[from];
                for horizon in 0..self.n {
                    let known = self.returns[from * self.n + horizon];
                    if known.is_finite() {
                        chunk.returns[to * self.n + horizon] = known;
                        chunk.return_weight[to * self.n + horizon] = 1.0;
                    }
                }
            }
        }
        chunk
    }
}

/// Where a lane stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cursor {
    pub(crate) piece: Piece,
    /// Rows of the piece that are done.
    pub(crate) done: usize,
}

/// Deals pieces to lanes: a lane takes the next one when its own has ended.
#[derive(Clone, Debug)]
pub(crate) struct Dealer<'a> {
    pieces: &'a [Piece],
    order: Vec<usize>,
    next: usize,
    pub(crate) lanes: Vec<Option<Cursor>>,
    chunk_rows: usize,
}

impl<'a> Dealer<'a> {
    pub(crate) fn new(pieces: &'a [Piece], order: Vec<usize>, lanes: usize, chunk_rows: usize) -> Self {
        Self { pieces, order, next: 0, lanes: vec![None; lanes], chunk_rows }
    }

    /// Chunks of an epoch, for the time left.
    pub(crate) fn count_chunks(mut self) -> u64 {
        let mut count = 0;
        let mut unused = Vec::new();
        while self.advance(&mut unused, 0) {
            count += 1;
        }
        count
    }

    /// Moves every lane on to its next chunk and sets the state (of `width` per lane) of each that begins a piece to 0.
    /// False when no lane has anything left.
    pub(crate) fn advance(&mut self, state: &mut [f32], width: usize) -> bool {
        for (lane, cursor) in self.lanes.iter_mut().enumerate() {
            let moved = cursor.map(|cursor| Cursor { done: cursor.done + self.chunk_rows, ..cursor });
            *cursor = moved.filter(|cursor| cursor.done < cursor.piece.rows);
            if cursor.is_some() {
                continue;
            }
            let piece = self.order.get(self.next).and_then(|index| self.pieces.get(*index));
            self.next += usize::from(piece.is_some());
            *cursor = piece.map(|piece| Cursor { piece: *piece, done: 0 });
            if let Some(state) = state.get_mut(lane * width..(lane + 1) * width) {
                state.fill(0.0);
            }
        }
        self.lanes.iter().any(Option::is_some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(lengths: &[usize]) -> Fold {
        let rows: usize = lengths.iter().sum();
        let mut spans = Vec::new();
        let mut start = 0;
        for rows in lengths {
            spans.push((start, *rows));
            start += rows;
        }
        let count = |row: usize| f32::of(whole(row));
        Fold {
            d: 1,
            n: 1,
            x: (0..rows).map(count).collect(),
            returns: (0..rows).map(count).collect(),
            up: vec![0.0; rows],
            half_spread_bps: vec![0.0; rows],
            spans,
        }
    }

    #[test]
    fn an_epoch_counts_every_row_once_and_keeps_the_order_within_a_lane() {
        for lengths in [vec![1_000], vec![7, 300, 1, 64], vec![5]] {
            let fold = fold(&lengths);
            let pieces = fold.pieces(4, 8, 3);
            let order = crate::random::shuffled(&mut crate::random::stream(1, "order", 0), pieces.len());
            let mut dealer = Dealer::new(&pieces, order, 4, 8);
            let mut seen = vec![0; fold.rows()];
            let mut state = vec![1.0; 4];
            while dealer.advance(&mut state, 1) {
                let chunk = fold.chunk(&dealer.lanes, 8);
                for (row, weight) in chunk.row_weight.iter().enumerate() {
                    if *weight > 0.0 {
                        let index = (0..fold.rows()).find(|index| fold.x[*index] == chunk.x[row]).unwrap();
                        seen[index] += 1;
                        assert_eq!(chunk.returns[row], chunk.x[row]);
                    }
                }
            }
            assert!(seen.iter().all(|count| *count == 1), "{lengths:?}: {seen:?}");
        }
    }
}

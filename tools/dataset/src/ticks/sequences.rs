//! From rows of one instrument to sequences: rows wait until the returns over every horizon are known, then leave in
//! chunks. Memory is bounded by the greatest horizon and the length of a chunk.

use crate::scale::narrow;
use crate::sink::SequenceSink;
use crate::{DatasetError, Sequence};

/// Rows of a chunk.
const CHUNK_ROWS: usize = 4_096;

/// One row without its returns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) time_ns: i64,
    pub(crate) features: &'a [f32],
    /// Twice the mid price, in any unit, above 0.
    pub(crate) mid_x2: f64,
    pub(crate) half_spread: f32,
    pub(crate) context: &'a [f32],
}

/// The open sequence of one instrument.
#[derive(Debug)]
pub(crate) struct Assembler {
    rows: Sequence,
    mids: Vec<f64>,
    /// Number of the sequence in the sink, once a chunk of it was written.
    number: Option<u32>,
}

impl Assembler {
    pub(crate) fn new(instrument: &str) -> Self {
        let rows = Sequence { instrument: instrument.to_owned(), ..Sequence::default() };
        Self { rows, mids: Vec::new(), number: None }
    }

    /// Whether a sequence has begun and not ended.
    pub(crate) fn is_open(&self) -> bool {
        self.number.is_some() || !self.mids.is_empty()
    }

    pub(crate) fn push(
        &mut self,
        row: &Row<'_>,
        horizons: &[usize],
        sink: &mut dyn SequenceSink,
    ) -> Result<(), DatasetError> {
        self.rows.time_ns.push(row.time_ns);
        self.rows.features.extend(row.features);
        self.rows.half_spread.push(row.half_spread);
        self.rows.context.extend(row.context);
        self.mids.push(row.mid_x2);
        let waiting = horizons.iter().copied().max().unwrap_or(0);
        if self.mids.len() >= waiting.saturating_add(CHUNK_ROWS) {
            self.write(CHUNK_ROWS, horizons, sink)?;
        }
        Ok(())
    }

    /// The sequence ends: returns whose future did not come are unknown.
    pub(crate) fn cut(&mut self, horizons: &[usize], sink: &mut dyn SequenceSink) -> Result<(), DatasetError> {
        self.write(self.mids.len(), horizons, sink)?;
        if let Some(number) = self.number.take() {
            sink.end(number);
        }
        Ok(())
    }

    /// Writes the first `count` rows.
    fn write(&mut self, count: usize, horizons: &[usize], sink: &mut dyn SequenceSink) -> Result<(), DatasetError> {
        if count == 0 {
            return Ok(());
        }
        let mut returns = Vec::with_capacity(count.saturating_mul(horizons.len()));
        for (at, mid) in self.mids.iter().enumerate().take(count) {
            for horizon in horizons {
                let later = self.mids.get(at.saturating_add(*horizon));
                returns
                    .push(later.map_or(f32::NAN, |later| if later == mid { 0.0 } else { narrow((later / mid).ln()) }));
            }
        }
        let rows = self.mids.len();
        let features = self.rows.features.len().checked_div(rows).unwrap_or(0).saturating_mul(count);
        let context = self.rows.context.len().checked_div(rows).unwrap_or(0).saturating_mul(count);
        let chunk = Sequence {
            instrument: self.rows.instrument.clone(),
            time_ns: self.rows.time_ns.drain(..count).collect(),
            features: self.rows.features.drain(..features).collect(),
            returns,
            half_spread: self.rows.half_spread.drain(..count).collect(),
            context: self.rows.context.drain(..context).collect(),
        };
        self.mids.drain(..count);
        self.number = Some(sink.push(self.number, &chunk)?);
        Ok(())
    }
}

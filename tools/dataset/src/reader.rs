//! Reading: chunk by chunk in bounded memory, or whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, Float32Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt32Array};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::digest::Widths;
use crate::{Dataset, DatasetError, DatasetMeta, Manifest, Sequence};

/// Rows of a chunk at most.
pub const CHUNK_ROWS: usize = 8_192;

/// Rows of one sequence that follow each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Number of the sequence, from 0 in the order of first chunks.
    pub number: u32,
    /// Whether it goes on where an earlier chunk of the same sequence stopped; a recurrent state may be carried over.
    pub continues: bool,
    /// The rows.
    pub rows: Sequence,
}

/// Streams a dataset: row group by row group, [`CHUNK_ROWS`] rows at a time. Chunks of several sequences may alternate.
/// At the end the number of rows is held against the manifest; only [`Dataset::open`] also checks the digest.
pub struct DatasetReader {
    path: PathBuf,
    manifest: Manifest,
    widths: Widths,
    batches: ParquetRecordBatchReader,
    batch: Option<(RecordBatch, usize)>,
    sequence_count: u32,
    rows: u64,
    is_done: bool,
}

impl std::fmt::Debug for DatasetReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatasetReader").field("path", &self.path).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl DatasetReader {
    /// Opens the data file at `path`; its manifest must lie beside it.
    ///
    /// # Errors
    /// [`DatasetError::Io`], [`DatasetError::Manifest`] when data and manifest do not belong together,
    /// [`DatasetError::Parquet`] when the file is damaged.
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let manifest = Manifest::read(path)?;
        let widths = Widths::of(&manifest.meta);
        let file = File::open(path).map_err(DatasetError::io(path))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(DatasetError::parquet(path))?;
        let found = builder.schema().fields().len();
        let expected = 4 + widths.features + widths.returns + widths.context;
        if found != expected {
            let reason = format!("the data has {found} columns, the manifest says {expected}");
            return Err(DatasetError::manifest(path, reason));
        }
        for (field, name) in builder.schema().fields().iter().skip(3).zip(&manifest.meta.features) {
            if field.name().strip_prefix("feature.") != Some(name) {
                let reason = format!("column {} stands where the manifest says feature.{name}", field.name());
                return Err(DatasetError::manifest(path, reason));
            }
        }
        let batches = builder.with_batch_size(CHUNK_ROWS).build().map_err(DatasetError::parquet(path))?;
        let path = path.to_path_buf();
        Ok(Self { path, manifest, widths, batches, batch: None, sequence_count: 0, rows: 0, is_done: false })
    }

    /// What the manifest says.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What the columns are.
    #[must_use]
    pub const fn meta(&self) -> &DatasetMeta {
        &self.manifest.meta
    }

    fn step(&mut self) -> Result<Option<Chunk>, DatasetError> {
        loop {
            if let Some((batch, from)) = self.batch.take()
                && from < batch.num_rows()
            {
                return self.cut_chunk(batch, from).map(Some);
            }
            match self.batches.next() {
                Some(batch) => self.batch = Some((batch.map_err(DatasetError::parquet(&self.path))?, 0)),
                None => return self.finish().map(|()| None),
            }
        }
    }

    /// Takes the rows of one sequence from `from` on, and leaves what follows them.
    fn cut_chunk(&mut self, batch: RecordBatch, from: usize) -> Result<Chunk, DatasetError> {
        let numbers = self.column::<UInt32Array>(&batch, 0)?.values();
        let number = numbers.get(from).copied().unwrap_or(0);
        let len = numbers.iter().skip(from).take_while(|other| **other == number).count();
        let part = batch.slice(from, len);
        let instrument = self.column::<StringArray>(&part, 1)?.value(0).to_owned();
        let time_ns = self.column::<TimestampNanosecondArray>(&part, 2)?.values().to_vec();
        let mut first = 3;
        let mut take = |width: usize| {
            let values = self.interleave(&part, first, width);
            first += width;
            values
        };
        let Widths { features, returns, context } = self.widths;
        let (features, returns, half_spread, context) = (take(features)?, take(returns)?, take(1)?, take(context)?);
        let continues = number < self.sequence_count;
        self.sequence_count = self.sequence_count.max(number.saturating_add(1));
        self.rows = self.rows.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        self.batch = Some((batch, from.saturating_add(len)));
        let rows = Sequence { instrument, time_ns, features, returns, half_spread, context };
        Ok(Chunk { number, continues, rows })
    }

    fn column<'a, T: Array + 'static>(&self, batch: &'a RecordBatch, index: usize) -> Result<&'a T, DatasetError> {
        let column = batch.columns().get(index).and_then(|column| column.as_any().downcast_ref::<T>());
        column.ok_or_else(|| DatasetError::manifest(&self.path, format!("column {index} is of another type")))
    }

    /// `width` columns from `first` on, as rows.
    fn interleave(&self, batch: &RecordBatch, first: usize, width: usize) -> Result<Vec<f32>, DatasetError> {
        let mut rows = vec![0.0; batch.num_rows().saturating_mul(width)];
        for column in 0..width {
            let values = self.column::<Float32Array>(batch, first.saturating_add(column))?.values();
            rows.iter_mut().skip(column).step_by(width).zip(values).for_each(|(to, from)| *to = *from);
        }
        Ok(rows)
    }

    fn finish(&mut self) -> Result<(), DatasetError> {
        self.is_done = true;
        if self.rows != self.manifest.rows {
            let reason = format!("the data has {} rows, the manifest says {}", self.rows, self.manifest.rows);
            return Err(DatasetError::manifest(&self.path, reason));
        }
        Ok(())
    }
}

impl Iterator for DatasetReader {
    type Item = Result<Chunk, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let step = self.step();
        self.is_done |= step.is_err();
        step.transpose()
    }
}

impl Dataset {
    /// Reads the whole dataset at `path` (`NAME.parquet`, with its manifest beside it) and checks its digest.
    ///
    /// # Errors
    /// As [`DatasetReader::open`], and [`DatasetError::Manifest`] when the rows are not those that the manifest tells of.
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let reader = DatasetReader::open(path)?;
        let meta = reader.meta().clone();
        let mut sequences: BTreeMap<u32, Sequence> = BTreeMap::new();
        for chunk in reader {
            let chunk = chunk?;
            match sequences.get_mut(&chunk.number) {
                Some(sequence) => sequence.append(&chunk.rows),
                None => drop(sequences.insert(chunk.number, chunk.rows)),
            }
        }
        let expected = meta.sha256.clone();
        let dataset = Self::new(meta, sequences.into_values().collect())?;
        if dataset.meta.sha256 != expected {
            let found = &dataset.meta.sha256;
            return Err(DatasetError::manifest(
                path,
                format!("the rows' digest is {found}, the manifest says {expected}"),
            ));
        }
        Ok(dataset)
    }
}

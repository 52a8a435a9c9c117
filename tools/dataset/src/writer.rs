//! Writing: sequences arrive in chunks, in any interleaving, and go to the Parquet file row group by row group.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::dataset::check_sequence;
use crate::digest::{SequenceDigest, SequenceSeal, Widths, digest_dataset};
use crate::files::Partial;
use crate::manifest::{LAYOUT_VERSION, Provenance};
use crate::{Dataset, DatasetError, DatasetMeta, Manifest, Sequence, SourceDigest};

/// Rows of a row group: what a writer holds back and a reader reads at once, at most.
pub const ROW_GROUP_ROWS: usize = 65_536;
/// zstd's level: beyond 3 floats hardly shrink.
const ZSTD_LEVEL: i32 = 3;

/// A sequence that was begun and may continue.
#[derive(Debug)]
struct Open {
    instrument: String,
    digest: SequenceDigest,
    last_time: i64,
}

/// Writes a dataset in bounded memory: one row group, and a hash state for each sequence that is still open. The file
/// lies at `NAME.parquet.partial` until [`DatasetWriter::finish`]: whatever ends the writer before that leaves a dataset of
/// this name as it was.
///
/// Sequences are numbered from 0 in the order in which their first chunks arrive. The bytes depend on the rows and on
/// the order of the chunks alone.
pub struct DatasetWriter {
    path: PathBuf,
    meta: DatasetMeta,
    widths: Widths,
    schema: SchemaRef,
    parquet: ArrowWriter<File>,
    partial: Partial,
    /// By number; boxed, so that an ended sequence takes no room.
    open: Vec<Option<Box<Open>>>,
    seals: Vec<SequenceSeal>,
    rows: u64,
    time_range: Option<(i64, i64)>,
}

impl std::fmt::Debug for DatasetWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatasetWriter").field("path", &self.path).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl DatasetWriter {
    /// Begins `path` (named `NAME.parquet`) for rows as `meta` describes them; its `sources` and `sha256` are filled at
    /// the end.
    ///
    /// # Errors
    /// [`DatasetError::Io`] when the file cannot be made, [`DatasetError::Shape`] when two columns would share a name.
    pub fn create(path: &Path, meta: DatasetMeta) -> Result<Self, DatasetError> {
        let schema = schema_of(&meta)?;
        let (partial, file) = Partial::create(path).map_err(DatasetError::io(path))?;
        let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(DatasetError::parquet(path))?;
        let properties = WriterProperties::builder()
            .set_created_by("peregrine-dataset".to_owned())
            .set_compression(Compression::ZSTD(level))
            .set_dictionary_enabled(false)
            .set_column_dictionary_enabled("instrument".into(), true)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let parquet = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties));
        Ok(Self {
            parquet: parquet.map_err(DatasetError::parquet(path))?,
            partial,
            path: path.to_path_buf(),
            widths: Widths::of(&meta),
            meta,
            schema,
            open: Vec::new(),
            seals: Vec::new(),
            rows: 0,
            time_range: None,
        })
    }

    /// Begins a sequence of `instrument` and gives its number.
    ///
    /// # Errors
    /// [`DatasetError::Shape`] beyond 2³² sequences.
    fn begin(&mut self, instrument: &str) -> Result<u32, DatasetError> {
        let number = u32::try_from(self.open.len()).map_err(DatasetError::shape)?;
        let digest = SequenceDigest::new(instrument);
        self.open.push(Some(Box::new(Open { instrument: instrument.to_owned(), digest, last_time: i64::MIN })));
        Ok(number)
    }

    /// Writes rows that begin a sequence (`number` is `None`) or continue the one of that number, and gives the number.
    /// A chunk without rows is ignored when it continues a sequence.
    ///
    /// # Errors
    /// [`DatasetError::Shape`] when the chunk does not fit the columns, is of another instrument, steps back in time or
    /// continues an ended sequence; [`DatasetError::Parquet`] or [`DatasetError::Io`] when it cannot be written.
    pub fn push(&mut self, number: Option<u32>, chunk: &Sequence) -> Result<u32, DatasetError> {
        let number = match number {
            Some(number) => number,
            None => self.begin(&chunk.instrument)?,
        };
        let slot = self.open.get_mut(index_of(number)).and_then(Option::as_deref_mut);
        let open = slot.ok_or_else(|| DatasetError::shape(format!("sequence {number} is not open")))?;
        if open.instrument != chunk.instrument {
            let (was, is) = (&open.instrument, &chunk.instrument);
            return Err(DatasetError::shape(format!("sequence {number} is of {was}, the chunk is of {is}")));
        }
        check_sequence(chunk, self.widths, Some(open.last_time))?;
        open.digest.update(chunk, self.widths);
        let (Some(first), Some(last)) = (chunk.time_ns.first(), chunk.time_ns.last()) else { return Ok(number) };
        open.last_time = *last;
        self.time_range = self.time_range.map_or(Some((*first, *last)), |(a, b)| Some((a.min(*first), b.max(*last))));
        self.rows = self.rows.saturating_add(u64::try_from(chunk.rows()).unwrap_or(u64::MAX));
        let batch = batch_of(&self.schema, self.widths, number, chunk).map_err(DatasetError::parquet(&self.path))?;
        self.parquet.write(&batch).map_err(DatasetError::parquet(&self.path))?;
        Ok(number)
    }

    /// Ends a sequence: no chunk continues it, and only 32 bytes of its digest are kept.
    pub fn end(&mut self, number: u32) {
        if let Some(open) = self.open.get_mut(index_of(number)).and_then(Option::take) {
            self.seals.push(open.digest.seal());
        }
    }

    /// Rows so far.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// What the columns are.
    #[must_use]
    pub const fn meta(&self) -> &DatasetMeta {
        &self.meta
    }

    /// Ends every sequence, closes the file, puts it into its place and writes the manifest beside it.
    ///
    /// # Errors
    /// [`DatasetError::Parquet`] or [`DatasetError::Io`] when either cannot be written.
    pub fn finish(mut self, sources: Vec<SourceDigest>, provenance: Provenance) -> Result<Manifest, DatasetError> {
        self.seals.extend(self.open.drain(..).flatten().map(|open| open.digest.seal()));
        let file = self.parquet.into_inner().map_err(DatasetError::parquet(&self.path))?;
        self.partial.keep(&file).map_err(DatasetError::io(&self.path))?;
        self.meta.sources = sources;
        let sequences = u64::try_from(self.seals.len()).unwrap_or(u64::MAX);
        self.meta.sha256 = digest_dataset(&self.meta, self.seals)?;
        let manifest = Manifest {
            layout_version: LAYOUT_VERSION,
            meta: self.meta,
            rows: self.rows,
            sequences,
            time_range_ns: self.time_range,
            integrity: provenance.integrity,
            settings: provenance.settings,
        };
        manifest.write(&self.path)?;
        Ok(manifest)
    }
}

/// Writes a dataset that is in memory to `path` (`NAME.parquet`) and its manifest beside it.
///
/// # Errors
/// As [`DatasetWriter::create`], [`DatasetWriter::push`] and [`DatasetWriter::finish`].
pub fn write_parquet(dataset: &Dataset, path: &Path, provenance: Provenance) -> Result<Manifest, DatasetError> {
    let mut writer = DatasetWriter::create(path, dataset.meta.clone())?;
    for sequence in &dataset.sequences {
        let number = writer.push(None, sequence)?;
        writer.end(number);
    }
    writer.finish(dataset.meta.sources.clone(), provenance)
}

fn index_of(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The columns in order: `sequence`, `instrument`, `time`, `feature.*`, `return.*`, `half_spread`, `context.*`.
fn schema_of(meta: &DatasetMeta) -> Result<SchemaRef, DatasetError> {
    let float = |name: String| Field::new(name, DataType::Float32, false);
    let mut fields = vec![
        Field::new("sequence", DataType::UInt32, false),
        Field::new("instrument", DataType::Utf8, false),
        Field::new("time", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), false),
    ];
    fields.extend(meta.features.iter().map(|name| float(format!("feature.{name}"))));
    fields
        .extend(meta.horizons.iter().map(|horizon| float(format!("return.{}_{}", horizon.count, unit(horizon.unit)))));
    fields.push(float("half_spread".to_owned()));
    fields.extend(meta.context.iter().map(|name| float(format!("context.{name}"))));
    let mut names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    names.sort_unstable();
    if let Some([name, _]) = names.windows(2).find_map(|pair| <&[&str; 2]>::try_from(pair).ok().filter(|[a, b]| a == b))
    {
        return Err(DatasetError::shape(format!("the column {name} stands twice")));
    }
    Ok(Arc::new(Schema::new(fields)))
}

const fn unit(unit: peregrine_model::HorizonUnit) -> &'static str {
    match unit {
        peregrine_model::HorizonUnit::Events => "events",
        peregrine_model::HorizonUnit::Milliseconds => "milliseconds",
        peregrine_model::HorizonUnit::Bars => "bars",
    }
}

fn batch_of(
    schema: &SchemaRef,
    widths: Widths,
    number: u32,
    chunk: &Sequence,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let rows = chunk.rows();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    columns.push(Arc::new(UInt32Array::from(vec![number; rows])));
    columns.push(Arc::new(StringArray::from(vec![chunk.instrument.as_str(); rows])));
    columns.push(Arc::new(TimestampNanosecondArray::from(chunk.time_ns.clone()).with_timezone("UTC")));
    let parts = [
        (&chunk.features, widths.features),
        (&chunk.returns, widths.returns),
        (&chunk.half_spread, 1),
        (&chunk.context, widths.context),
    ];
    for (values, width) in parts {
        for column in 0..width {
            let column: Vec<f32> = values.iter().skip(column).step_by(width).copied().collect();
            columns.push(Arc::new(Float32Array::from(column)));
        }
    }
    RecordBatch::try_new(Arc::clone(schema), columns)
}

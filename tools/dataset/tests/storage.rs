//! Parquet and manifest: what is written is read, in bounded pieces, to the bit; what was changed is refused.

use std::path::Path;

use peregrine_dataset::{
    Dataset, DatasetError, DatasetMeta, DatasetReader, DatasetWriter, Manifest, Provenance, Sequence, fit_scaler,
    write_parquet,
};
use peregrine_model::{Horizon, HorizonUnit, Observations};

fn meta(unit: HorizonUnit) -> DatasetMeta {
    DatasetMeta {
        observations: Observations::Ticks,
        features: vec!["a".to_owned(), "b".to_owned()],
        feature_hash: "hash".to_owned(),
        context: vec!["mid".to_owned()],
        horizons: [2, 5].map(|count| Horizon { count, unit }).to_vec(),
        sources: Vec::new(),
        sha256: String::new(),
    }
}

/// Rows `from..to` of an endless sequence, one a second.
fn rows(instrument: &str, from: u16, to: u16) -> Sequence {
    let at = || (from..to).map(f32::from);
    Sequence {
        instrument: instrument.to_owned(),
        time_ns: (from..to).map(|row| i64::from(row) * 1_000_000_000).collect(),
        features: at().flat_map(|row| [row, -row / 3.0]).collect(),
        returns: at().flat_map(|row| [row * 1e-4, if row > 9.0 { f32::NAN } else { 0.5 }]).collect(),
        half_spread: at().map(|row| row * 1e-5).collect(),
        context: at().map(|row| 100.0 + row).collect(),
    }
}

fn is_same(a: &Dataset, b: &Dataset) -> bool {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let words = |dataset: &Dataset| {
        let words = dataset.sequences.iter().map(|sequence| {
            let parts = [&sequence.features, &sequence.returns, &sequence.half_spread, &sequence.context];
            (sequence.instrument.clone(), sequence.time_ns.clone(), parts.map(|part| bits(part)))
        });
        words.collect::<Vec<_>>()
    };
    a.meta.sha256 == b.meta.sha256 && words(a) == words(b)
}

#[test]
fn a_dataset_survives_the_file_to_the_bit_and_the_bytes_are_reproducible() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a.parquet"), folder.path().join("b.parquet"));
    let sequences = vec![rows("MSFT", 0, 40), rows("AAPL", 0, 30), rows("AAPL", 50, 90)];
    let dataset = Dataset::new(meta(HorizonUnit::Events), sequences).unwrap();
    let manifest = write_parquet(&dataset, &first, Provenance::default()).unwrap();
    write_parquet(&dataset, &second, Provenance::default()).unwrap();
    assert_eq!((manifest.rows, manifest.sequences, manifest.time_range_ns), (110, 3, Some((0, 89_000_000_000))));
    assert_eq!(manifest.meta.sha256, dataset.meta.sha256);
    assert!(is_same(&Dataset::open(&first).unwrap(), &dataset));
    let bytes = |path: &Path| (std::fs::read(path).unwrap(), std::fs::read(Manifest::path_of(path)).unwrap());
    assert_eq!(bytes(&first), bytes(&second));
}

#[test]
fn chunks_of_interleaved_sequences_give_the_same_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chunks.parquet");
    let mut writer = DatasetWriter::create(&path, meta(HorizonUnit::Events)).unwrap();
    let a = writer.push(None, &rows("AAPL", 0, 10)).unwrap();
    let b = writer.push(None, &rows("MSFT", 0, 25)).unwrap();
    writer.push(Some(a), &rows("AAPL", 10, 11)).unwrap();
    writer.push(Some(b), &rows("MSFT", 25, 40)).unwrap();
    writer.push(Some(a), &rows("AAPL", 11, 30)).unwrap();
    writer.end(a);
    assert!(writer.push(Some(a), &rows("AAPL", 30, 31)).is_err(), "an ended sequence does not continue");
    assert!(writer.push(Some(b), &rows("AAPL", 40, 41)).is_err(), "nor one of another instrument");
    assert!(writer.push(Some(b), &rows("MSFT", 0, 1)).is_err(), "nor does time run back");
    let manifest = writer.finish(Vec::new(), Provenance::default()).unwrap();
    let whole = Dataset::new(meta(HorizonUnit::Events), vec![rows("AAPL", 0, 30), rows("MSFT", 0, 40)]).unwrap();
    assert_eq!(manifest.meta.sha256, whole.meta.sha256, "the digest is that of the rows, not of the chunks");
    assert!(is_same(&Dataset::open(&path).unwrap(), &whole));
    let chunks: Vec<_> = DatasetReader::open(&path).unwrap().map(Result::unwrap).collect();
    let marks: Vec<_> = chunks.iter().map(|chunk| (chunk.number, chunk.continues, chunk.rows.rows())).collect();
    assert_eq!(marks, [(0, false, 10), (1, false, 25), (0, true, 1), (1, true, 15), (0, true, 19)]);
}

#[test]
fn a_changed_value_a_lost_manifest_and_a_cut_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("a.parquet"), folder.path().join("b.parquet"));
    let dataset = Dataset::new(meta(HorizonUnit::Events), vec![rows("AAPL", 0, 30)]).unwrap();
    write_parquet(&dataset, &path, Provenance::default()).unwrap();
    let mut changed = dataset.clone();
    changed.sequences[0].returns[7] = 0.25;
    write_parquet(&changed, &other, Provenance::default()).unwrap();
    std::fs::copy(&other, &path).unwrap();
    let error = Dataset::open(&path).unwrap_err();
    assert!(matches!(&error, DatasetError::Manifest { reason, .. } if reason.contains("digest")), "{error}");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(Dataset::open(&path).unwrap_err(), DatasetError::Parquet { .. }));
    std::fs::remove_file(Manifest::path_of(&path)).unwrap();
    assert!(matches!(Dataset::open(&path).unwrap_err(), DatasetError::Io { .. }));
}

#[test]
fn a_writer_that_does_not_finish_leaves_the_dataset_before_it_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let dataset = Dataset::new(meta(HorizonUnit::Events), vec![rows("AAPL", 0, 30)]).unwrap();
    write_parquet(&dataset, &path, Provenance::default()).unwrap();
    let mut writer = DatasetWriter::create(&path, meta(HorizonUnit::Events)).unwrap();
    writer.push(None, &rows("MSFT", 0, 40)).unwrap();
    let names = || {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["a.manifest.json", "a.parquet", "a.parquet.partial"]);
    assert!(is_same(&Dataset::open(&path).unwrap(), &dataset), "while another is being written");
    drop(writer);
    assert_eq!(names(), ["a.manifest.json", "a.parquet"]);
    assert!(is_same(&Dataset::open(&path).unwrap(), &dataset));
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let refused = |change: fn(&mut Sequence)| {
        let mut sequence = rows("AAPL", 0, 30);
        change(&mut sequence);
        Dataset::new(meta(HorizonUnit::Events), vec![sequence]).is_err()
    };
    assert!(!refused(|_| {}));
    assert!(refused(|sequence| sequence.features.truncate(59)));
    assert!(refused(|sequence| sequence.features[3] = f32::NAN));
    assert!(refused(|sequence| sequence.time_ns[3] = 0));
    assert!(refused(|sequence| sequence.context.push(0.0)));
}

#[test]
fn no_return_of_a_training_row_reaches_past_the_split() {
    let mut sequence = rows("AAPL", 0, 30);
    sequence.returns.fill(1.0);
    for unit in [HorizonUnit::Events, HorizonUnit::Milliseconds] {
        let mut meta = meta(unit);
        if unit == HorizonUnit::Milliseconds {
            meta.horizons.iter_mut().for_each(|horizon| horizon.count *= 1_000);
        }
        let all = Dataset::new(meta, vec![sequence.clone(), rows("EARLY", 0, 4), rows("LATE", 25, 30)]).unwrap();
        let (train, held_out) = all.split_at(20_000_000_000, 3).unwrap();
        let part = &train.sequences[0];
        assert_eq!((part.rows(), train.sequences.len()), (17, 2), "rows 17 to 19 are purged");
        for row in 0..17_usize {
            // The target of row r at horizon h is row r + h; row 20 is the first that training may not know.
            let known = [row + 2 < 20, row + 5 < 20];
            assert_eq!([0, 1].map(|index| !part.returns[2 * row + index].is_nan()), known, "{unit:?}, row {row}");
        }
        assert!(held_out.sequences.iter().all(|part| part.time_ns.iter().all(|time| *time >= 20_000_000_000)));
        assert_eq!((held_out.rows(), held_out.sequences.len()), (15, 2));
        assert_ne!(train.meta.sha256, all.meta.sha256);
        let window = all.window(5_000_000_000, 20_000_000_000, 3).unwrap();
        assert_eq!((window.rows(), window.sequences.len()), (12, 1));
    }
    let all = Dataset::new(meta(HorizonUnit::Events), vec![sequence]).unwrap();
    assert!(all.split_at(0, 0).is_err() && all.split_at(i64::MAX, 0).is_err(), "an empty side is refused");
}

#[test]
fn the_scaler_sees_the_training_fold_and_nothing_else() {
    let all = Dataset::new(meta(HorizonUnit::Events), vec![rows("AAPL", 0, 30)]).unwrap();
    let mut poisoned = all.clone();
    poisoned.sequences[0].features.iter_mut().skip(40).for_each(|value| *value = 1e9);
    let fit = |dataset: &Dataset| fit_scaler(&dataset.split_at(20_000_000_000, 0).unwrap().0).unwrap();
    let set = fit(&all);
    assert_eq!(set, fit(&poisoned));
    assert_eq!((set.median[0], set.iqr[0]), (9.5, 9.5), "rows 0 to 19");
    let mut constant = all;
    constant.sequences[0].features.fill(3.0);
    assert_eq!(fit_scaler(&constant).unwrap().iqr, [1.0, 1.0], "a range of 0 becomes 1");
}

/// Greatest memory that this process ever held, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(u64::MAX)
}

#[test]
#[ignore = "writes and reads a file of 600 MB; scripts/deep.sh runs it"]
fn memory_does_not_grow_with_the_rows() {
    const CHUNKS: u16 = 3_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.parquet");
    let mut meta = meta(HorizonUnit::Events);
    meta.features = (0..32).map(|number| format!("f{number}")).collect();
    let before = peak_kib();
    let mut writer = DatasetWriter::create(&path, meta).unwrap();
    let mut numbers = [None; 8];
    // A sequence of chances, so that nothing compresses away.
    let mut chance = 1_u32;
    for number in 0..CHUNKS {
        let mut chunk = rows("A", 0, 2_000);
        chunk.instrument = format!("S{}", number % 8);
        chunk.time_ns.iter_mut().for_each(|time| *time += i64::from(number) * 2_000_000_000_000);
        let next = || {
            chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(0x3f80_0000 | (chance >> 9))
        };
        chunk.features = std::iter::repeat_with(next).take(2_000 * 32).collect();
        let slot = &mut numbers[usize::from(number % 8)];
        *slot = Some(writer.push(*slot, &chunk).unwrap());
    }
    let manifest = writer.finish(Vec::new(), Provenance::default()).unwrap();
    let written = peak_kib();
    let rows: usize = DatasetReader::open(&path).unwrap().map(|chunk| chunk.unwrap().rows.rows()).sum();
    let read = peak_kib();
    let len = std::fs::metadata(&path).unwrap().len();
    eprintln!("{rows} rows, {len} bytes; peak KiB: {before}, written {written}, read {read}");
    assert_eq!((rows, manifest.rows), (6_000_000, 6_000_000));
    assert!(len > 500_000_000 && read - before < 150_000, "{len} bytes, {read} KiB against {before}");
}

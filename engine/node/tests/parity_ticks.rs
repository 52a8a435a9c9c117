//! One feature code: what a replay decided on is, bit for bit, what a dataset of the same session holds.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::{itch_file, replay, shipped};
use peregrine_dataset::Dataset;
use peregrine_dataset::ticks::{TickInputs, TicksConfig, build_file, build_observed};
use peregrine_eventlog::records::DecisionRecord;
use peregrine_eventlog::{LogReader, Stream};
use peregrine_types::{EpochNanos, EventSeq, SymbolId};

type Bits = Vec<u32>;

fn bits(values: &[f32]) -> Bits {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The dataset profile, with what the replay's profile says of books and symbols.
fn profile() -> TicksConfig {
    let mut config = TicksConfig::load(&shipped("train/dataset-ticks.toml")).unwrap();
    config.capture.is_unknown_state_tradable = false;
    config.capture.symbol_count_max = 64;
    (config.capture.order_count_max, config.capture.level_count_max) = (65_536, 65_536);
    config
}

/// Features of every decision in the log; withdrawals without a decision have none.
fn decided(run: &Path) -> Vec<DecisionRecord> {
    let reader = LogReader::open(run, Stream::Decide).unwrap();
    let records = reader.payloads::<DecisionRecord>().map(|record| *record.unwrap().1);
    records.filter(|record| record.features.iter().any(|value| *value != 0.0)).collect()
}

#[test]
fn a_replay_and_a_dataset_have_the_same_features_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let file = itch_file(dir.path(), 21, 60_000);
    let (run, ended) = replay(dir.path(), "run", &[&file], &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let records = decided(&run);

    let inputs = TickInputs { files: vec![file], date: None };
    let mut vectors: BTreeMap<(EventSeq, SymbolId), (EpochNanos, Bits)> = BTreeMap::new();
    let mut observer = |seq: EventSeq, time: EpochNanos, symbol: SymbolId, vector: &[f32; 32]| {
        assert!(vectors.insert((seq, symbol), (time, bits(vector))).is_none());
    };
    build_observed(&inputs, &profile(), &mut observer).unwrap();
    for record in &records {
        let held = vectors.get(&(record.event_seq, record.symbol));
        let (time, features) = held.unwrap_or_else(|| unreachable!("event {} is not in the dataset", record.event_seq));
        assert_eq!((*time, features), (record.recv_time, &bits(&record.features)), "event {}", record.event_seq);
    }
    let events: BTreeSet<_> = records.iter().map(|record| record.event_seq).collect();
    assert!(events.len() > 500 && vectors.len() > 10 * events.len() / 9, "{} of {}", events.len(), vectors.len());

    // And the file holds just these vectors.
    let path = dir.path().join("session.parquet");
    build_file(&inputs, &profile(), &path).unwrap();
    let dataset = Dataset::open(&path).unwrap();
    let mut on_disk: Vec<(i64, Bits)> = Vec::new();
    for sequence in &dataset.sequences {
        let rows = sequence.time_ns.iter().zip(sequence.features.chunks_exact(32));
        on_disk.extend(rows.map(|(time, features)| (*time, bits(features))));
    }
    let mut observed: Vec<(i64, Bits)> = vectors.into_values().map(|(time, bits)| (time.0, bits)).collect();
    on_disk.sort_unstable();
    observed.sort_unstable();
    assert_eq!(on_disk, observed);
}

//! No row knows the future: bars and ticks of truncated inputs, and a leaking feature that must be caught.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helpers fail as it does")]

mod common;

use std::path::Path;

use peregrine_dataset::bars::{self, BarInputs, BarsConfig};
use peregrine_dataset::lookahead::{LookaheadFault, Row, check, rows_of};
use peregrine_dataset::ticks::{self, TickInputs, TicksConfig};
use peregrine_dataset::{Dataset, fit_scaler};
use peregrine_generate::{GeneratorConfig, Session, write_binary_file};
use proptest::prelude::*;

/// A table of bars that wanders, with splits told by an adjusted close, holes and days without trades.
fn bars_text(steps: &[(i8, u8)]) -> Vec<String> {
    let (mut close, mut factor) = (100.0, 1.0);
    let mut day = jiff::civil::date(2001, 1, 1);
    let mut lines = vec!["date,open,high,low,close,adj_close,volume".to_owned()];
    for (step, kind) in steps {
        day = day.tomorrow().unwrap();
        while matches!(day.weekday(), jiff::civil::Weekday::Saturday | jiff::civil::Weekday::Sunday) {
            day = day.tomorrow().unwrap();
        }
        let open = close;
        close *= 1.0 + f64::from(*step) / 2_000.0;
        if kind % 64 == 1 {
            (close, factor) = (close / 2.0, factor * 2.0);
        }
        let (high, low) = (open.max(close) * 1.01, open.min(close) * 0.99);
        let volume = if kind % 32 == 2 { 0 } else { 1_000 + u32::from(*kind) };
        lines.push(format!("{day},{open},{high},{low},{close},{},{volume}", close * factor));
    }
    lines
}

fn bars_config() -> BarsConfig {
    let mut config = common::bars_profile();
    config.bars.features.retain(|feature| !feature.needs_vix() && !feature.needs_yields() && feature.look_back() <= 60);
    config.integrity.outlier_window = 10;
    config.integrity.outlier_z_max = 6.0;
    config.integrity.outlier = peregrine_dataset::integrity::Action::Cut;
    config.integrity.return_abs_max = 0.4;
    config.integrity.return_bound = peregrine_dataset::integrity::Action::Cut;
    config
}

fn bars_of(folder: &Path, lines: &[String], count: usize) -> Dataset {
    let path = folder.join(format!("acme-{count}.csv"));
    std::fs::write(&path, lines[..=count].join("\n")).unwrap();
    let renamed = folder.join("acme.csv");
    std::fs::rename(path, &renamed).unwrap();
    let inputs = BarInputs { files: vec![renamed], ..BarInputs::default() };
    bars::build_dataset(&inputs, &bars_config()).unwrap().0
}

/// End of the last bar among the first `count`, from the whole dataset's own times.
fn end_of(lines: &[String], count: usize) -> i64 {
    let Some(date) = lines[count].split(',').next().filter(|_| count > 0) else { return i64::MIN };
    let date: jiff::civil::Date = date.parse().unwrap();
    let close = date.at(16, 0, 0, 0).to_zoned(jiff::tz::TimeZone::get("America/New_York").unwrap()).unwrap();
    i64::try_from(close.timestamp().as_nanosecond()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn bars_do_not_know_the_future(steps in prop::collection::vec((any::<i8>(), any::<u8>()), 90..200), cut in 0_usize..200) {
        let folder = tempfile::tempdir().unwrap();
        let lines = bars_text(&steps);
        let len = lines.len() - 1;
        let cut = cut % len;
        check(len, [cut, len - 1], |count| rows_of(&bars_of(folder.path(), &lines, count)), |count| end_of(&lines, count)).unwrap();
    }
}

#[test]
fn the_scaler_of_the_training_fold_does_not_know_the_future() {
    let folder = tempfile::tempdir().unwrap();
    let steps: Vec<(i8, u8)> = (0..300_u16)
        .map(|at| (i8::try_from(i32::from(at) * 37 % 211 - 105).unwrap(), u8::try_from(at % 28 + 3).unwrap()))
        .collect();
    let lines = bars_text(&steps);
    let split = end_of(&lines, 200);
    let fit = |count| fit_scaler(&bars_of(folder.path(), &lines, count).split_at(split, 0).unwrap().0).unwrap();
    assert_eq!(fit(300), fit(201));
}

/// The first `count` messages of a session, as a file.
fn ticks_of(folder: &Path, records: &[Vec<u8>], count: usize) -> Dataset {
    let path = folder.join("cut-2024-06-12.itch50");
    std::fs::write(&path, records[..count].concat()).unwrap();
    let mut config = TicksConfig::load(&common::root().join("configs/train/dataset-ticks.toml")).unwrap();
    (config.capture.order_count_max, config.capture.level_count_max) = (65_536, 65_536);
    config.capture.symbol_count_max = 64;
    ticks::build_dataset(&TickInputs { files: vec![path], date: None }, &config).unwrap().0
}

fn records() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    write_binary_file(&mut Session::new(GeneratorConfig::every_type(11, 6, 6_000)).unwrap(), &mut bytes).unwrap();
    let (mut records, mut rest) = (Vec::new(), bytes.as_slice());
    while let [high, low, ..] = rest {
        let len = 2 + usize::from(u16::from_be_bytes([*high, *low]));
        let (record, next) = rest.split_at(len);
        records.push(record.to_vec());
        rest = next;
    }
    records
}

/// Time of a message: six bytes behind type, locate and tracking number, of the length-prefixed record.
fn time_of(record: &[u8]) -> i64 {
    let mut nanos = [0; 8];
    nanos[2..].copy_from_slice(&record[7..13]);
    GeneratorConfig::demo(1).midnight.0 + i64::try_from(u64::from_be_bytes(nanos)).unwrap()
}

#[test]
fn ticks_do_not_know_the_future() {
    let folder = tempfile::tempdir().unwrap();
    let records = records();
    let cuts = [1, 500, 1_999, 3_000, 4_321, 5_500].map(|cut: usize| cut.min(records.len() - 1));
    // Messages of one nanosecond may lie on both sides of a cut: everything before that nanosecond is told.
    let until = |count: usize| time_of(&records[count - 1]) - 1;
    check(records.len(), cuts, |count| rows_of(&ticks_of(folder.path(), &records, count)), until).unwrap();
}

/// Price one step later less price now: knows the future. Average of two past prices: does not.
fn own_feature(prices: &[f32], is_leaking: bool) -> Vec<Row> {
    let row = |at: usize| {
        let neighbour = if is_leaking { prices.get(at + 1) } else { at.checked_sub(1).map(|before| &prices[before]) };
        let values = vec![prices[at] - neighbour.copied().unwrap_or(prices[at])];
        Row { instrument: "OWN".to_owned(), time_ns: i64::try_from(at).unwrap(), values }
    };
    (0..prices.len()).map(row).collect()
}

#[test]
fn a_leaking_feature_is_caught_and_an_honest_one_passes() {
    let prices: Vec<f32> = (0..50_u8).map(|at| f32::from(at) + f32::from(at % 7)).collect();
    let run = |is_leaking| {
        check(
            50,
            [10, 30],
            |count| own_feature(&prices[..count], is_leaking),
            |count| i64::try_from(count).unwrap() - 1,
        )
    };
    run(false).unwrap();
    let fault = run(true).unwrap_err();
    assert!(matches!(fault, LookaheadFault::Value { cut: 10, time_ns: 9, column: 0, .. }), "{fault}");
    let normalised = |count: usize| {
        // A scaler over the whole input is a leak too.
        let mean = prices[..count].iter().sum::<f32>() / f32::from(u8::try_from(count).unwrap());
        let rows = own_feature(&prices[..count], false).into_iter();
        rows.map(|row| Row { values: row.values.iter().map(|value| value - mean).collect(), ..row }).collect()
    };
    check(50, [10], normalised, |count| i64::try_from(count).unwrap() - 1).unwrap_err();
}

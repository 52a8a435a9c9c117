//! The eight features of source 004 and the robust scaler against the reference values.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helpers fail as it does")]

mod common;

use peregrine_dataset::bars::{Bar, BarFeature, Known, SEED_004};
use peregrine_stats::RobustScaler;
use serde_json::Value;

/// Numbers of a list; non-finite ones are strings.
fn numbers(value: &Value) -> Vec<f64> {
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap());
    value.as_array().unwrap().iter().map(number).collect()
}

fn close(what: &str, got: f64, expected: f64, tolerance: &Value) {
    let get = |key: &str| tolerance[key].as_f64().unwrap_or(0.0);
    let bound = get("abs") + get("rel") * expected.abs();
    assert!((got - expected).abs() <= bound, "{what}: got {got}, expected {expected} ± {bound}");
}

/// What `bars::Prepared` does with a table: clean it by the rules of the source, then make the rows.
fn seed_rows(inputs: &Value) -> (Vec<usize>, Vec<usize>, Vec<[f64; 8]>) {
    let columns = ["open", "high", "low", "close", "volume"].map(|name| numbers(&inputs[name]));
    let mut cleaned = Vec::new();
    let mut bars = Vec::new();
    let [opens, highs, lows, closes, volumes] = &columns;
    for (row, open) in opens.iter().copied().enumerate() {
        let [high, low, close, volume] = [highs, lows, closes, volumes].map(|column| column[row]);
        if [open, high, low, close, volume].iter().all(|value| !value.is_nan()) && volume > 0.0 {
            cleaned.push(row);
            bars.push(Bar { time_ns: 0, open, high, low, close, volume });
        }
    }
    let (mut kept, mut rows) = (Vec::new(), Vec::new());
    for at in 0..bars.len() {
        let is_warm = SEED_004.iter().all(|feature| at >= feature.look_back());
        let row = SEED_004.map(|feature| feature.value(&bars[..=at], &Known::NOTHING));
        if is_warm && row.iter().all(|value| !value.is_nan()) {
            kept.push(at);
            rows.push(row);
        }
    }
    (cleaned, kept, rows)
}

fn positions(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|at| usize::try_from(at.as_u64().unwrap()).unwrap()).collect()
}

#[test]
fn oracle_features_of_source_004_are_equal_in_every_case() {
    let Some(path) = common::oracle("features_seed004.json") else { return };
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let names: Vec<&str> =
        file["definition"]["columns_in_order"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(names, SEED_004.map(BarFeature::name));
    let cases = file["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    let mut value_count = 0;
    for case in cases {
        let (id, expected) = (case["id"].as_str().unwrap(), &case["expected"]);
        assert_eq!(case["kind"], "features", "{id}");
        let (cleaned, kept, rows) = seed_rows(&case["inputs"]);
        assert_eq!(cleaned, positions(&expected["cleaned_rows"]), "{id}: cleaned rows");
        assert_eq!(kept, positions(&expected["kept_rows"]), "{id}: kept rows");
        value_count += common_rows(id, &rows, case);
    }
    eprintln!("features_seed004.json: {} cases, {value_count} values", cases.len());
    assert!(value_count > 0);
}

fn common_rows(id: &str, rows: &[[f64; 8]], case: &Value) -> usize {
    let expected = case["expected"]["features"].as_array().unwrap();
    assert_eq!(rows.len(), expected.len(), "{id}: rows");
    let mut count = 0;
    for (row, expected) in rows.iter().zip(expected) {
        for ((feature, value), expected) in SEED_004.iter().zip(row).zip(numbers(expected)) {
            close(&format!("{id}: {}", feature.name()), *value, expected, &case["tolerance"]);
            count += 1;
        }
    }
    count + scaled_rows(id, rows, case)
}

/// The scaler is fitted on the first rows and applied to the rest.
fn scaled_rows(id: &str, rows: &[[f64; 8]], case: &Value) -> usize {
    let expected = &case["expected"];
    if expected["center"].is_null() {
        return 0;
    }
    let fit_count = usize::try_from(case["inputs"]["scaler_fit_rows"].as_u64().unwrap()).unwrap();
    let (center, scale) = (numbers(&expected["center"]), numbers(&expected["scale"]));
    let rest = expected["transformed_rest"].as_array().unwrap();
    assert_eq!(rest.len(), rows.len() - fit_count, "{id}: rest");
    for column in 0..8 {
        let mut values: Vec<f64> = rows[..fit_count].iter().map(|row| row[column]).collect();
        let (median, range) = RobustScaler::fit_in_place(&mut values).unwrap();
        close(&format!("{id}: center"), median, center[column], &case["tolerance"]);
        close(&format!("{id}: scale"), range, scale[column], &case["tolerance"]);
        for (row, expected) in rows[fit_count..].iter().zip(rest) {
            let scaled = (row[column] - median) / range;
            close(&format!("{id}: scaled"), scaled, numbers(expected)[column], &case["tolerance"]);
        }
    }
    8 * (2 + rest.len())
}

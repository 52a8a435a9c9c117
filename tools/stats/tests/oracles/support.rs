//! Reads the reference values in `../shared/oracles` (override: `PEREGRINE_ORACLES`) and holds results against them.

use std::path::PathBuf;

use serde_json::Value;

/// The cases of an oracle file, or `None` (said on stderr) where the folder is missing.
pub(crate) fn cases(file: &str) -> Option<Vec<Value>> {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracles");
    let folder = std::env::var_os("PEREGRINE_ORACLES").map_or_else(default, PathBuf::from);
    let Ok(text) = std::fs::read_to_string(folder.join(file)) else {
        eprintln!("skipped: no real data at {}", folder.join(file).display());
        return None;
    };
    let cases = serde_json::from_str::<Value>(&text).unwrap()["cases"].as_array().unwrap().clone();
    assert!(!cases.is_empty(), "{file} has no case");
    Some(cases)
}

/// A number, or one of the strings that stand for what JSON cannot hold.
pub(crate) fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some("NaN") => f64::NAN,
        Some("Infinity") => f64::INFINITY,
        Some("-Infinity") => f64::NEG_INFINITY,
        Some(other) => panic!("not a number: {other}"),
        None => value.as_f64().unwrap_or_else(|| panic!("not a number: {value}")),
    }
}

/// Every number of a value, nested arrays row by row.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    match value.as_array() {
        Some(items) => items.iter().flat_map(numbers).collect(),
        None => vec![number(value)],
    }
}

/// Whole numbers ≥ 0.
pub(crate) fn indices(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|item| usize::try_from(item.as_u64().unwrap()).unwrap()).collect()
}

/// One case: its inputs, and its expected fields, each of which must be checked once.
pub(crate) struct Case<'a> {
    value: &'a Value,
    left: Vec<String>,
}

impl<'a> Case<'a> {
    pub(crate) fn new(value: &'a Value) -> Self {
        Self { value, left: value["expected"].as_object().unwrap().keys().cloned().collect() }
    }

    pub(crate) fn id(&self) -> &'a str {
        self.value["id"].as_str().unwrap()
    }

    pub(crate) fn kind(&self) -> &'a str {
        self.value["kind"].as_str().unwrap()
    }

    pub(crate) fn input(&self, key: &str) -> &'a Value {
        let value = &self.value["inputs"][key];
        assert!(!value.is_null(), "{}: no input {key}", self.id());
        value
    }

    pub(crate) fn expected(&self, key: &str) -> &'a Value {
        &self.value["expected"][key]
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        !self.expected(key).is_null()
    }

    pub(crate) fn skip(&mut self, key: &str) {
        self.left.retain(|left| left != key);
    }

    /// The pass rule of the oracles: `|got − expected| ≤ abs + rel·|expected|`, NaN equals NaN, infinity equals infinity.
    pub(crate) fn check(&mut self, key: &str, got: &[f64]) {
        self.skip(key);
        let expected = numbers(self.expected(key));
        assert_eq!(got.len(), expected.len(), "{}: {key}", self.id());
        let tolerance = &self.value["tolerance"];
        let of = |part: &str| {
            let field = tolerance["fields"][key][part].as_f64();
            field.or(tolerance[part].as_f64()).unwrap_or(0.0)
        };
        for (index, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let is_same = got == expected || (got.is_nan() && expected.is_nan());
            let bound = of("abs") + of("rel") * expected.abs();
            assert!(
                is_same || (got - expected).abs() <= bound,
                "{}: {key}[{index}]: got {got}, expected {expected} ± {bound}",
                self.id()
            );
        }
    }

    /// No expected field was left unchecked.
    pub(crate) fn finish(self) {
        assert!(self.left.is_empty(), "{}: fields without a check: {:?}", self.id(), self.left);
    }
}

//! What the integration tests share.
#![expect(dead_code, reason = "each test file uses a part of it")]

use std::path::PathBuf;

use peregrine_dataset::bars::{BarInputs, BarsConfig};

/// The repository's folder.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn shared(variable: &str, name: &str, file: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(variable).map_or_else(|| root().join("../shared").join(name), PathBuf::from);
    let path = folder.join(file);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no real data at {}", path.display());
    None
}

/// A file of the real data, or `None` (said on stderr) where it is missing.
pub(crate) fn data(file: &str) -> Option<PathBuf> {
    shared("PEREGRINE_DATA", "data", file)
}

/// A file of reference values, or `None` (said on stderr) where it is missing.
pub(crate) fn oracle(file: &str) -> Option<PathBuf> {
    shared("PEREGRINE_ORACLES", "oracles", file)
}

/// The shipped profile of bars.
pub(crate) fn bars_profile() -> BarsConfig {
    BarsConfig::load(&root().join("configs/train/dataset-bars.toml")).unwrap()
}

/// The daily files of these names, with market context.
pub(crate) fn daily(names: &[&str]) -> Option<BarInputs> {
    let file = |name: &str| data(&format!("daily/{name}"));
    Some(BarInputs {
        files: names.iter().map(|name| file(&format!("{name}.zip"))).collect::<Option<_>>()?,
        vix: Some(file("vix_daily_1990_2021q1.csv")?),
        yields: Some(file("ust_yields_daily_1990_2021.csv")?),
    })
}

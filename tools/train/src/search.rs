//! Hyper-parameter search: one configuration file, a list or a grid of values in its `[search]` section, one run each.

use toml::{Table, Value};

use crate::config::TrainConfig;
use crate::error::TrainError;

/// Most runs that one file may ask for.
pub const SEARCH_RUNS_MAX: usize = 10_000;

fn fault(what: impl Into<String>) -> TrainError {
    TrainError::Config { what: what.into() }
}

/// The configurations of a file, in order. Without a `[search]` section there is one. With it:
///
/// ```toml
/// [search.grid]                       # every combination, the first key slowest
/// "optimizer.learning_rate" = [1e-3, 3e-4]
/// seed = [1, 2, 3]
/// ```
/// or
/// ```toml
/// [[search.list]]                     # one run each
/// "optimizer.learning_rate" = 1e-3
/// seed = 1
/// ```
/// A key is a key of the configuration, sections joined by dots, and must be there already.
///
/// # Errors
/// [`TrainError::Config`] for a key that the configuration has not, both forms at once or neither, an empty grid or list, or
/// more than [`SEARCH_RUNS_MAX`] runs; the errors of [`TrainConfig::from_toml`] for each configuration.
pub fn configurations(text: &str) -> Result<Vec<TrainConfig>, TrainError> {
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| fault(error.to_string()))?;
    let Some(search) = table.remove("search") else { return Ok(vec![TrainConfig::from_toml(text)?]) };
    let search = search.as_table().ok_or_else(|| fault("search must be a section"))?;
    if let Some(key) = search.keys().find(|key| !matches!(key.as_str(), "grid" | "list")) {
        return Err(fault(format!("search.{key} is unknown, allowed are search.grid and search.list")));
    }
    let runs = match (search.get("grid"), search.get("list")) {
        (Some(grid), None) => grid_runs(grid)?,
        (None, Some(list)) => list_runs(list)?,
        (Some(_), Some(_)) | (None, None) => return Err(fault("search must hold either grid or list")),
    };
    let configured = |run: &Table| {
        let mut table = table.clone();
        for (key, value) in run {
            set(&mut table, key, value.clone())?;
        }
        TrainConfig::from_toml(&table.to_string())
    };
    runs.iter().map(configured).collect()
}

fn grid_runs(grid: &Value) -> Result<Vec<Table>, TrainError> {
    let grid = grid.as_table().ok_or_else(|| fault("search.grid must be a section"))?;
    let mut runs = vec![Table::new()];
    for (key, values) in grid {
        let values = values.as_array().filter(|values| !values.is_empty());
        let values = values.ok_or_else(|| fault(format!("search.grid.\"{key}\" must be a list with values")))?;
        if runs.len().saturating_mul(values.len()) > SEARCH_RUNS_MAX {
            return Err(fault(format!("search.grid has more than {SEARCH_RUNS_MAX} runs")));
        }
        let with = |run: &Table, value: &Value| {
            let mut run = run.clone();
            run.insert(key.clone(), value.clone());
            run
        };
        runs = runs.iter().flat_map(|run| values.iter().map(move |value| with(run, value))).collect();
    }
    Ok(runs)
}

fn list_runs(list: &Value) -> Result<Vec<Table>, TrainError> {
    let runs = list.as_array().filter(|runs| !runs.is_empty() && runs.len() <= SEARCH_RUNS_MAX);
    let runs = runs.ok_or_else(|| fault(format!("search.list must have 1 to {SEARCH_RUNS_MAX} entries")))?;
    let table = |run: &Value| run.as_table().cloned().ok_or_else(|| fault("search.list must hold sections"));
    runs.iter().map(table).collect()
}

fn set(table: &mut Table, key: &str, value: Value) -> Result<(), TrainError> {
    let unknown = || fault(format!("search: the configuration has no key `{key}`"));
    let (section, rest) = match key.split_once('.') {
        None => {
            *table.get_mut(key).ok_or_else(unknown)? = value;
            return Ok(());
        }
        Some(parts) => parts,
    };
    let inner = table.get_mut(section).and_then(Value::as_table_mut).ok_or_else(unknown)?;
    set(inner, rest, value).map_err(|_| unknown())
}

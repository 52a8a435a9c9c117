//! Typed settings from TOML, and back into a flat table for the manifest.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::DatasetError;

pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, DatasetError> {
    let text = std::fs::read_to_string(path).map_err(DatasetError::io(path))?;
    toml::from_str(&text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.get(..start).map(|before| u64::try_from(before.matches('\n').count()).unwrap_or(0) + 1);
        DatasetError::input(path, line, error.message(), "every key is mandatory; docs/dataset.md lists them")
    })
}

/// `section.key` → value as TOML.
pub(crate) fn flatten<T: Serialize>(settings: &T) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    if let Ok(value) = toml::Value::try_from(settings) {
        walk("", &value, &mut flat);
    }
    flat
}

fn walk(prefix: &str, value: &toml::Value, flat: &mut BTreeMap<String, String>) {
    let Some(table) = value.as_table() else {
        drop(flat.insert(prefix.to_owned(), value.to_string()));
        return;
    };
    for (key, value) in table {
        walk(&if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") }, value, flat);
    }
}

/// Serde for values that are written as text: dates and times of day.
pub(crate) mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

//! Writes a seeded, untrained model and its manifest:
//! `cargo run -p peregrine-model --example seed_model -- SIZE SEED FEATURES.json OUT.safetensors`.
//!
//! `FEATURES.json` is what the feature engine says of itself: `{"names": […], "hash": "…"}`, and with a scaler also
//! `"median": […], "iqr": […]`. The same arguments give the same bytes, on every machine. The manifest stands beside the
//! model, `OUT.manifest.json`.

use std::path::Path;

use peregrine_model::{FeatureSet, Model, ModelMeta, Size};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Features {
    names: Vec<String>,
    hash: String,
    median: Option<Vec<f32>>,
    iqr: Option<Vec<f32>>,
}

impl From<Features> for FeatureSet {
    fn from(features: Features) -> Self {
        let unscaled = Self::unscaled(features.names, &features.hash);
        let (median, iqr) = (features.median.unwrap_or(unscaled.median), features.iqr.unwrap_or(unscaled.iqr));
        Self { names: unscaled.names, hash: unscaled.hash, median, iqr }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [size, seed, features, out] = arguments.as_slice() else {
        return Err("give SIZE SEED FEATURES.json OUT.safetensors".into());
    };
    let size = Size::ALL.into_iter().find(|known| known.name() == size);
    let size = size.ok_or("SIZE is one of nano, micro, small, medium")?;
    let features: Features = serde_json::from_str(&std::fs::read_to_string(features)?)?;
    let bytes = Model::seeded_bytes(&ModelMeta::untrained(size, seed.parse()?, features.into()))?;
    let model = Model::load(&bytes)?;
    std::fs::write(out, &bytes)?;
    std::fs::write(Path::new(out).with_extension("manifest.json"), model.manifest(bytes.len()) + "\n")?;
    Ok(())
}

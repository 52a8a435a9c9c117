//! Writes a seeded, untrained model and its manifest:
//! `cargo run -p peregrine-model --example seed_model -- SIZE SEED FEATURES.json OUT.safetensors`; the bundled one is
//! `micro 1 strategy/model/models/features.json strategy/model/models/untrained-micro-seed1.safetensors`.
//!
//! `FEATURES.json` is a [`FeatureSet`]: names in order, the definition's hash, and a scaler. The same arguments give the same bytes, on every machine. The manifest stands beside the
//! model, `OUT.manifest.json`.

use std::path::Path;

use peregrine_model::{FeatureSet, Model, ModelMeta, Size};
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [size, seed, features, out] = arguments.as_slice() else {
        return Err("give SIZE SEED FEATURES.json OUT.safetensors".into());
    };
    let size = Size::ALL.into_iter().find(|known| known.name() == size);
    let size = size.ok_or("SIZE is one of nano, micro, small, medium")?;
    let features: FeatureSet = serde_json::from_str(&std::fs::read_to_string(features)?)?;
    let bytes = Model::seeded_bytes(&ModelMeta::untrained(size, seed.parse()?, features))?;
    let model = Model::load(&bytes)?;
    std::fs::write(out, &bytes)?;
    std::fs::write(Path::new(out).with_extension("manifest.json"), model.manifest(bytes.len()) + "\n")?;
    Ok(())
}

//! The bundled model is what `examples/seed_model.rs` writes for its features, and says that it is untrained.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use peregrine_model::{FeatureSet, Model, ModelMeta, Size, Training};

const BUNDLED: &[u8] = include_bytes!("../models/untrained-micro-seed1.safetensors");
const MANIFEST: &str = include_str!("../models/untrained-micro-seed1.manifest.json");

fn features() -> FeatureSet {
    serde_json::from_str(include_str!("../models/features.json")).unwrap()
}

#[test]
fn the_command_reproduces_the_bundled_file_and_its_manifest() {
    let bytes = Model::seeded_bytes(&ModelMeta::untrained(Size::Micro, 1, features())).unwrap();
    assert!(bytes == BUNDLED, "run the command that examples/seed_model.rs names, and commit what it writes");
    let model = Model::load(BUNDLED).unwrap();
    assert_eq!(model.manifest(BUNDLED.len()) + "\n", MANIFEST);
    assert_eq!(model.meta().training, Training::Untrained);
    assert!(BUNDLED.len() < 1 << 20);
}

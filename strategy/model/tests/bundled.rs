//! The models that lie in the repository: the seeded initialisation is what `examples/seed_model.rs` writes for its
//! features and says that it is untrained; the demonstration's model is trained, and its manifest is its own.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use peregrine_model::{FeatureSet, Model, ModelMeta, Size, Training};

const BUNDLED: &[u8] = include_bytes!("../models/untrained-micro-seed1.safetensors");
const MANIFEST: &str = include_str!("../models/untrained-micro-seed1.manifest.json");

const DEMO: &[u8] = include_bytes!("../models/demo-micro.safetensors");
const DEMO_MANIFEST: &str = include_str!("../models/demo-micro.manifest.json");

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

#[test]
fn the_demonstrations_model_is_trained_on_these_features_and_is_the_one_of_its_manifest() {
    let model = Model::load(DEMO).unwrap();
    let (meta, features) = (model.meta(), features());
    assert_eq!(meta.training, Training::Trained);
    assert_eq!(meta.size, Size::Micro);
    assert_eq!((&meta.features.names, &meta.features.hash), (&features.names, &features.hash));
    assert!(meta.features.median != features.median, "the scaler was measured on the training rows");
    let manifest: serde_json::Value = serde_json::from_str(DEMO_MANIFEST).unwrap();
    assert_eq!(manifest["sha256"], model.sha256_hex());
    assert_eq!(manifest["train_sha256"].as_str(), meta.training_data_sha256.as_deref());
    assert!(DEMO.len() < 1 << 20);
}

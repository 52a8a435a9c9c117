//! The model file: one seed gives one file, and nothing wrong is loaded.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::collections::BTreeMap;

use peregrine_model::{FeatureSet, METADATA_KEY, Model, ModelError, ModelMeta, Size, Tensor, Tensors, Training};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

fn meta(size: Size, seed: u64) -> ModelMeta {
    let names = (0..size.d()).map(|index| format!("feature_{index}")).collect();
    ModelMeta::untrained(size, seed, FeatureSet::unscaled(names, "test-definition"))
}

fn nano() -> Vec<u8> {
    Model::seeded_bytes(&meta(Size::Nano, 1)).unwrap()
}

fn tensors(bytes: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let tensor = |view: TensorView<'_>| Tensor {
        shape: view.shape().to_vec(),
        data: view.data().chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect(),
    };
    Tensors(file.iter().map(|(name, view)| (name.to_owned(), tensor(view))).collect())
}

/// A file with these tensors and this metadata, unchecked.
fn raw_file(tensors: &Tensors, json: &str) -> Vec<u8> {
    let bytes: BTreeMap<&String, Vec<u8>> = tensors
        .0
        .iter()
        .map(|(name, tensor)| (name, tensor.data.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let view = |(name, bytes): (&&String, _)| {
        ((*name).clone(), TensorView::new(Dtype::F32, tensors.0[*name].shape.clone(), bytes).unwrap())
    };
    let views: Vec<(String, TensorView<'_>)> =
        bytes.iter().map(|(name, bytes)| view((name, bytes.as_slice()))).collect();
    safetensors::serialize(views, Some([(METADATA_KEY.to_owned(), json.to_owned())].into())).unwrap()
}

#[test]
fn one_seed_gives_one_file() {
    for size in Size::ALL {
        let bytes = Model::seeded_bytes(&meta(size, 1)).unwrap();
        assert_eq!(bytes, Model::seeded_bytes(&meta(size, 1)).unwrap());
        assert_ne!(bytes, Model::seeded_bytes(&meta(size, 2)).unwrap());
        let model = Model::load(&bytes).unwrap();
        assert_eq!(model.meta(), &meta(size, 1));
        let again = peregrine_model::encode_safetensors(model.meta(), &tensors(&bytes)).unwrap();
        assert_eq!(again, bytes, "what is loaded is written as the same bytes");
    }
}

#[test]
fn truncation_at_every_length_is_refused() {
    let bytes = nano();
    for len in 0..bytes.len() {
        assert!(matches!(Model::load(&bytes[..len]), Err(ModelError::Container { .. })), "cut to {len} bytes");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(Model::load(&longer), Err(ModelError::Container { .. })));
}

#[test]
fn every_flipped_byte_is_refused_where_the_hash_is_known() {
    let bytes = nano();
    let sha256 = *Model::load(&bytes).unwrap().sha256();
    assert!(Model::load_expecting(&bytes, &sha256).is_ok());
    let mut flipped = bytes.clone();
    for index in 0..bytes.len() {
        flipped[index] ^= 1 << (index % 8);
        assert!(matches!(Model::load_expecting(&flipped, &sha256), Err(ModelError::Sha256 { .. })), "byte {index}");
        flipped[index] = bytes[index];
    }
}

#[test]
fn flipped_header_bytes_never_panic_and_mostly_are_refused() {
    let bytes = nano();
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let mut flipped = bytes.clone();
    let mut refused = 0;
    for index in 0..8 + header {
        flipped[index] ^= 1 << (index % 7);
        refused += usize::from(Model::load(&flipped).is_err());
        flipped[index] = bytes[index];
    }
    assert!(refused * 2 > header, "{refused} of {header}");
}

#[test]
fn every_fault_of_a_tensor_is_named() {
    let bytes = nano();
    let json = serde_json::to_string(&meta(Size::Nano, 1)).unwrap();
    let good = tensors(&bytes);
    assert_eq!(raw_file(&good, &json), bytes);
    for (name, tensor) in &good.0 {
        let mut broken = good.clone();
        broken.0.remove(name);
        assert_eq!(
            Model::load(&raw_file(&broken, &json)).unwrap_err(),
            ModelError::MissingTensor { name: name.clone() }
        );
        let mut wrong = tensor.clone();
        wrong.shape.push(1);
        broken.0.insert(name.clone(), wrong.clone());
        let expected = ModelError::Shape { name: name.clone(), expected: tensor.shape.clone(), found: wrong.shape };
        assert_eq!(Model::load(&raw_file(&broken, &json)).unwrap_err(), expected);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut tensor = tensor.clone();
            let index = tensor.data.len() - 1;
            tensor.data[index] = bad;
            broken.0.insert(name.clone(), tensor);
            let expected = ModelError::NonFiniteWeight { name: name.clone(), index, value: bad.to_string() };
            assert_eq!(Model::load(&raw_file(&broken, &json)).unwrap_err(), expected);
        }
    }
    let mut more = good.clone();
    more.0.insert("extra".to_owned(), Tensor { shape: vec![1], data: vec![0.0] });
    assert_eq!(
        Model::load(&raw_file(&more, &json)).unwrap_err(),
        ModelError::UnknownTensor { name: "extra".to_owned() }
    );
    let half = [0_u8; 2];
    let views = [("encoder.0.bias", TensorView::new(Dtype::F16, vec![1], &half).unwrap())];
    let file = safetensors::serialize(views, Some([(METADATA_KEY.to_owned(), json)].into())).unwrap();
    assert!(matches!(Model::load(&file), Err(ModelError::Dtype { .. })));
}

#[test]
fn every_fault_of_the_metadata_is_named() {
    type Change = fn(&mut ModelMeta);
    let changes: [(&str, Change); 16] = [
        ("format_version", |meta| meta.format_version = 2),
        ("d, e, h, z", |meta| meta.h = 33),
        ("horizons", |meta| meta.horizons.clear()),
        ("horizons", |meta| meta.horizons.extend(meta.horizons.clone())),
        ("horizons", |meta| meta.horizons.reverse()),
        ("horizons", |meta| meta.horizons[0].count = 0),
        ("names", |meta| meta.features.names.push("one more".to_owned())),
        ("twice", |meta| meta.features.names[1] = "feature_0".to_owned()),
        ("hash", |meta| meta.features.hash.clear()),
        ("median of `feature_3`", |meta| meta.features.median[3] = f32::INFINITY),
        ("iqr of `feature_2`", |meta| meta.features.iqr[2] = 0.0),
        ("iqr of `feature_2`", |meta| meta.features.iqr[2] = 1e-40),
        ("regimes", |meta| meta.regimes.clear()),
        ("training_data_sha256", |meta| meta.training = Training::Trained),
        ("training_data_sha256", |meta| meta.training_data_sha256 = Some("0".repeat(64))),
        ("SHA-256", |meta| meta.parent = Some("A".repeat(64))),
    ];
    for (word, change) in changes {
        let mut changed = meta(Size::Nano, 1);
        change(&mut changed);
        let error = Model::seeded(&changed).unwrap_err();
        assert!(matches!(error, ModelError::Metadata { .. }) && error.to_string().contains(word), "{word}: {error}");
    }
    let good = tensors(&nano());
    let json = serde_json::to_string(&meta(Size::Nano, 1)).unwrap();
    for wrong in ["", "{}", "[]", &json.replacen("\"seed\"", "\"sead\"", 1), &json.replacen("nano", "micro", 1)] {
        assert!(matches!(Model::load(&raw_file(&good, wrong)), Err(ModelError::Metadata { .. })), "{wrong}");
    }
}

#[test]
fn features_of_another_definition_are_refused() {
    let model = Model::load(&nano()).unwrap();
    let names: Vec<String> = model.meta().features.names.clone();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(model.check_features(names.iter().copied(), "test-definition"), Ok(()));
    let is_refused =
        |names: Vec<&str>, hash| matches!(model.check_features(names, hash), Err(ModelError::Features { .. }));
    assert!(is_refused(names.clone(), "another"));
    assert!(is_refused(names[1..].to_vec(), "test-definition"));
    assert!(is_refused([names.as_slice(), &["more"]].concat(), "test-definition"));
    let mut swapped = names.clone();
    swapped.swap(3, 4);
    assert!(is_refused(swapped, "test-definition"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_make_the_loader_panic(noise in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let mut bytes = nano();
        for (index, byte) in noise {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        peregrine_model::fuzz::model_file(&bytes);
    }
}

//! Interchange with PyTorch by safetensors: a `state_dict` with the documented names (docs/model-file.md) goes in and out.

use std::collections::{BTreeMap, HashMap};

use peregrine_dataset::hex;
use peregrine_model::{METADATA_KEY, Model, ModelError, ModelMeta, Tensor, Tensors, Training, encode_safetensors};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use crate::error::TrainError;
use crate::lstm::{self, LSTM_METADATA_KEY, LstmMeta};

/// Stands for the training data of imported weights, which nobody here knows: 64 zeros.
pub const UNKNOWN_SHA256: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn container(what: impl std::fmt::Display) -> TrainError {
    TrainError::Model(ModelError::Container { what: what.to_string() })
}

/// Every tensor of a safetensors file; all must be F32 and finite.
pub(crate) fn read_tensors(bytes: &[u8]) -> Result<Tensors, TrainError> {
    let file = SafeTensors::deserialize(bytes).map_err(container)?;
    let mut tensors = Tensors::default();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            let (name, found) = (name.to_owned(), format!("{:?}", view.dtype()));
            return Err(TrainError::Model(ModelError::Dtype { name, found }));
        }
        let data: Vec<f32> = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        if let Some((index, value)) = data.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            let (name, value) = (name.to_owned(), value.to_string());
            return Err(TrainError::Model(ModelError::NonFiniteWeight { name, index, value }));
        }
        tensors.0.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), data });
    }
    Ok(tensors)
}

/// Refuses tensors that are missing, unknown or of another shape.
pub(crate) fn check_layout(tensors: &Tensors, layout: &BTreeMap<String, Vec<usize>>) -> Result<(), TrainError> {
    for (name, expected) in layout {
        let tensor = tensors.0.get(name).ok_or_else(|| ModelError::MissingTensor { name: name.clone() })?;
        if tensor.shape != *expected {
            let (name, expected, found) = (name.clone(), expected.clone(), tensor.shape.clone());
            return Err(TrainError::Model(ModelError::Shape { name, expected, found }));
        }
    }
    match tensors.0.keys().find(|name| !layout.contains_key(*name)) {
        Some(name) => Err(TrainError::Model(ModelError::UnknownTensor { name: name.clone() })),
        None => Ok(()),
    }
}

/// The metadata value of a key, when the file has it.
fn metadata_of(bytes: &[u8], key: &str) -> Result<Option<String>, TrainError> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(container)?;
    Ok(header.metadata().as_ref().and_then(|map| map.get(key)).cloned())
}

/// The metadata of a world model's file, which is checked as the kernel checks it.
pub(crate) fn world_meta(bytes: &[u8]) -> Result<ModelMeta, TrainError> {
    Ok(Model::load(bytes)?.meta().clone())
}

/// Writes the tensors of an artefact (world model or LSTM) as a PyTorch `state_dict`: a safetensors file with the same names
/// and shapes, which `safetensors.torch.load_file` reads and `load_state_dict` takes.
///
/// # Errors
/// [`TrainError::Model`] when the file is no sound artefact.
pub fn export_state_dict(artefact: &[u8]) -> Result<Vec<u8>, TrainError> {
    let tensors = if metadata_of(artefact, METADATA_KEY)?.is_some() {
        world_meta(artefact)?;
        read_tensors(artefact)?
    } else {
        lstm::parse(artefact)?.1
    };
    let bytes: Vec<(&String, &Tensor, Vec<u8>)> = tensors
        .0
        .iter()
        .map(|(name, tensor)| (name, tensor, tensor.data.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let mut views = Vec::with_capacity(bytes.len());
    for (name, tensor, data) in &bytes {
        views.push((name.as_str(), TensorView::new(Dtype::F32, tensor.shape.clone(), data).map_err(container)?));
    }
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(format)).map_err(container)
}

/// Makes an artefact of a PyTorch `state_dict` and of the metadata (features, scaler, horizons, …) of `template`, an artefact
/// of the same kind and size. A world model gets the template's SHA-256 as its parent. What the template was trained on and
/// by which hyper-parameters does not hold for the weights that come: in their place stands the `state_dict`'s SHA-256
/// (`imported.state_dict_sha256`) and [`UNKNOWN_SHA256`] for the data, and such weights count as trained unless they are the template's own.
///
/// # Errors
/// [`TrainError::Model`], naming the tensor that is missing, unknown, of another shape or type, or not finite.
pub fn import_state_dict(state_dict: &[u8], template: &[u8]) -> Result<Vec<u8>, TrainError> {
    let tensors = read_tensors(state_dict)?;
    if metadata_of(template, LSTM_METADATA_KEY)?.is_some() {
        let (meta, of_template) = lstm::parse(template)?;
        let layout = of_template.0.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
        check_layout(&tensors, &layout)?;
        if tensors == of_template {
            return lstm::encode(&meta, &tensors);
        }
        let meta = LstmMeta {
            training_data_sha256: UNKNOWN_SHA256.to_owned(),
            hyper_parameters: imported(state_dict),
            ..meta
        };
        return lstm::encode(&meta, &tensors);
    }
    let model = Model::load(template)?;
    let meta = ModelMeta { parent: Some(model.sha256_hex()), ..model.meta().clone() };
    if tensors == read_tensors(template)? {
        return Ok(encode_safetensors(&meta, &tensors)?);
    }
    let (training, hyper_parameters) = (Training::Trained, imported(state_dict));
    let meta = ModelMeta { training, training_data_sha256: Some(UNKNOWN_SHA256.to_owned()), hyper_parameters, ..meta };
    Ok(encode_safetensors(&meta, &tensors)?)
}

fn imported(state_dict: &[u8]) -> BTreeMap<String, String> {
    BTreeMap::from([("imported.state_dict_sha256".to_owned(), hex(&Sha256::digest(state_dict)))])
}

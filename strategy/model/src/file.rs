//! The model file: one safetensors file whose tensors have PyTorch's names, shapes and gate order.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use crate::meta::{METADATA_KEY, ModelMeta};
use crate::size::POSITION_WIDTH;
use crate::step::CONTROLLER_WIDTH;

/// What is wrong with a model file, and where.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// The container itself: length, header or offsets.
    #[error("not a safetensors file: {what}; was it cut short or changed on the way?")]
    Container {
        /// What the reader said.
        what: String,
    },
    /// The metadata is missing, is not JSON, has unknown fields, or does not fit together.
    #[error("metadata `{METADATA_KEY}`: {what}")]
    Metadata {
        /// What is wrong.
        what: String,
    },
    /// A tensor that the size needs is missing.
    #[error("tensor `{name}` is missing")]
    MissingTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor that the layout does not know.
    #[error("tensor `{name}` is not part of the layout")]
    UnknownTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor of another shape.
    #[error("tensor `{name}` has shape {found:?}, the size needs {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape that the named size needs.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor that is not 32-bit floats.
    #[error("tensor `{name}` is {found}, only F32 is read")]
    Dtype {
        /// The tensor.
        name: String,
        /// The type in the file.
        found: String,
    },
    /// A weight that is NaN or infinite.
    #[error("tensor `{name}`, element {index}: {value} is not finite")]
    NonFiniteWeight {
        /// The tensor.
        name: String,
        /// Index in row-major order, from 0.
        index: usize,
        /// The value.
        value: String,
    },
    /// The file is not the one expected.
    #[error("the file's SHA-256 is {found}, expected {expected}")]
    Sha256 {
        /// Expected, in hex.
        expected: String,
        /// Found, in hex.
        found: String,
    },
    /// The engine computes other features than those that the model was made for.
    #[error("features differ: {what}")]
    Features {
        /// The first difference.
        what: String,
    },
    /// A layer's tensors do not fit together.
    #[error(transparent)]
    Length(#[from] crate::layers::LengthError),
    /// The packed weights do not fit the kernel's layout: a fault of this crate, not of the file.
    #[error("internal: the packed weights do not fit the kernel")]
    Packing,
}

/// One tensor, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensor {
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// Elements, the last axis fastest.
    pub data: Vec<f32>,
}

/// Tensors by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensors(pub BTreeMap<String, Tensor>);

impl Tensors {
    pub(crate) fn get(&self, name: &str) -> Result<&Tensor, ModelError> {
        self.0.get(name).ok_or_else(|| ModelError::MissingTensor { name: name.to_owned() })
    }

    pub(crate) fn data(&self, name: &str) -> Result<&[f32], ModelError> {
        self.get(name).map(|tensor| tensor.data.as_slice())
    }

    /// The rows of a matrix.
    pub(crate) fn rows(&self, name: &str) -> Result<std::slice::ChunksExact<'_, f32>, ModelError> {
        let tensor = self.get(name)?;
        Ok(tensor.data.chunks_exact(tensor.shape.last().copied().unwrap_or(1).max(1)))
    }

    /// The length of the last axis.
    pub(crate) fn columns(&self, name: &str) -> Result<usize, ModelError> {
        Ok(self.get(name)?.shape.last().copied().unwrap_or(1))
    }

    /// Checks names, shapes and finiteness against the layout of `meta`.
    fn check(&self, meta: &ModelMeta) -> Result<(), ModelError> {
        let layout = layout(meta);
        for (name, expected) in &layout {
            let tensor = self.get(name)?;
            if tensor.shape != *expected || tensor.data.len() != expected.iter().product::<usize>() {
                let (expected, found) = (expected.clone(), tensor.shape.clone());
                return Err(ModelError::Shape { name: (*name).to_owned(), expected, found });
            }
            if let Some((index, value)) = tensor.data.iter().enumerate().find(|(_, value)| !value.is_finite()) {
                let (name, value) = ((*name).to_owned(), value.to_string());
                return Err(ModelError::NonFiniteWeight { name, index, value });
            }
        }
        match self.0.keys().find(|name| !layout.contains_key(name.as_str())) {
            Some(name) => Err(ModelError::UnknownTensor { name: name.clone() }),
            None => Ok(()),
        }
    }
}

/// Names and shapes of every tensor of a model with this metadata (see `docs/model-file.md`).
pub(crate) fn layout(meta: &ModelMeta) -> BTreeMap<&'static str, Vec<usize>> {
    let size = meta.size;
    let (d, e, h, z) = (size.d(), size.e(), size.h(), size.z());
    let (s, horizons, regimes) = (h + z, meta.horizons.len(), meta.regimes.len());
    BTreeMap::from([
        ("encoder.0.weight", vec![e, d]),
        ("encoder.0.bias", vec![e]),
        ("encoder.2.weight", vec![e, e]),
        ("encoder.2.bias", vec![e]),
        ("gru.weight_ih", vec![3 * h, z]),
        ("gru.weight_hh", vec![3 * h, h]),
        ("gru.bias_ih", vec![3 * h]),
        ("gru.bias_hh", vec![3 * h]),
        ("prior.weight", vec![2 * z, h]),
        ("prior.bias", vec![2 * z]),
        ("posterior.weight", vec![2 * z, h + e]),
        ("posterior.bias", vec![2 * z]),
        ("return_mean.weight", vec![horizons, s]),
        ("return_mean.bias", vec![horizons]),
        ("return_log_var.weight", vec![horizons, s]),
        ("return_log_var.bias", vec![horizons]),
        ("up.weight", vec![1, s]),
        ("up.bias", vec![1]),
        ("regime.weight", vec![regimes, s]),
        ("regime.bias", vec![regimes]),
        ("controller.0.weight", vec![CONTROLLER_WIDTH, s + POSITION_WIDTH]),
        ("controller.0.bias", vec![CONTROLLER_WIDTH]),
        ("controller.2.weight", vec![1, CONTROLLER_WIDTH]),
        ("controller.2.bias", vec![1]),
        ("decoder.0.weight", vec![e, s]),
        ("decoder.0.bias", vec![e]),
        ("decoder.2.weight", vec![d, e]),
        ("decoder.2.bias", vec![d]),
    ])
}

/// Writes a model file: the same bytes for the same metadata and tensors.
///
/// # Errors
/// [`ModelError::Metadata`] and the tensor errors, as for loading: what is written can be read.
pub fn encode_safetensors(meta: &ModelMeta, tensors: &Tensors) -> Result<Vec<u8>, ModelError> {
    check_meta(meta)?;
    tensors.check(meta)?;
    let json = serde_json::to_string(meta).map_err(|error| ModelError::Metadata { what: error.to_string() })?;
    let bytes: Vec<(&String, &Tensor, Vec<u8>)> = tensors
        .0
        .iter()
        .map(|(name, tensor)| (name, tensor, tensor.data.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let mut views = Vec::with_capacity(bytes.len());
    for (name, tensor, data) in &bytes {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), data).map_err(container)?;
        views.push((name.as_str(), view));
    }
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), json)]);
    safetensors::serialize(views, Some(metadata)).map_err(container)
}

/// Reads and checks a model file.
pub(crate) fn parse(bytes: &[u8]) -> Result<(ModelMeta, Tensors), ModelError> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(container)?;
    let missing = || ModelError::Metadata { what: "is missing".to_owned() };
    let metadata = header.metadata().as_ref().ok_or_else(missing)?;
    let json = metadata.get(METADATA_KEY).ok_or_else(missing)?;
    if let Some(key) = metadata.keys().find(|key| *key != METADATA_KEY) {
        return Err(ModelError::Metadata { what: format!("there is another key, `{key}`") });
    }
    let meta: ModelMeta =
        serde_json::from_str(json).map_err(|error| ModelError::Metadata { what: error.to_string() })?;
    check_meta(&meta)?;
    let file = SafeTensors::deserialize(bytes).map_err(container)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(ModelError::Dtype { name: name.to_owned(), found: format!("{:?}", view.dtype()) });
        }
        let (words, _) = view.data().as_chunks::<4>();
        let data = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
        tensors.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), data });
    }
    let tensors = Tensors(tensors);
    tensors.check(&meta)?;
    Ok((meta, tensors))
}

fn check_meta(meta: &ModelMeta) -> Result<(), ModelError> {
    meta.fault().map_or(Ok(()), |what| Err(ModelError::Metadata { what }))
}

fn container(error: safetensors::SafeTensorError) -> ModelError {
    ModelError::Container { what: error.to_string() }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

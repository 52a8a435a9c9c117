//! The model in memory: weights packed at load into aligned panels, in the order in which the kernel reads them.

use std::ops::Range;
use std::sync::Arc;

use crate::file::{ModelError, Tensors};
use crate::format::{F32, Int8, Int16, Plan, Precision, pack_tiles};
use crate::heads::REGIME_COUNT_MAX;
use crate::latent::Latent;
use crate::matvec::{Rows, pack_dense, pack_vector};
use crate::meta::ModelMeta;
use crate::simd::{Block, LANE_COUNT};
use crate::size::{POSITION_WIDTH, Size, advance_blocks, blocks, latent_blocks, observe_blocks};
use crate::step::{CONTROLLER_WIDTH, REGIME_LANE, UP_LANE};

/// A loaded model, immutable. Nothing is allocated after load.
#[derive(Clone, Debug)]
pub struct Model {
    meta: ModelMeta,
    tensors: Arc<Tensors>,
    sha256: [u8; 32],
    precision: Precision,
    regime_count: usize,
    horizon_count: u32,
    observe: Vec<Block>,
    advance: Vec<Block>,
    decoder: Vec<Block>,
    start: Vec<Block>,
    warm_features: Vec<f32>,
}

impl Model {
    /// Reads a model file, checking everything that can be checked without knowing which file it should be.
    ///
    /// # Errors
    /// [`ModelError`], naming what is wrong and where.
    pub fn load(bytes: &[u8]) -> Result<Self, ModelError> {
        let (meta, tensors) = crate::file::parse(bytes)?;
        Self::pack(meta, Arc::new(tensors), crate::file::sha256(bytes), Precision::F32)
    }

    /// The same file with its weights kept in another precision, made from the 32-bit floats of the file. Whether its
    /// decisions are good enough is for [`accuracy_gate`](crate::accuracy_gate) to say.
    ///
    /// # Errors
    /// [`ModelError::Packing`]: a fault of this crate.
    pub fn quantise(&self, precision: Precision) -> Result<Self, ModelError> {
        Self::pack(self.meta.clone(), Arc::clone(&self.tensors), self.sha256, precision)
    }

    /// Reads a model file that must have this SHA-256 (the registry's or the manifest's).
    ///
    /// # Errors
    /// [`ModelError::Sha256`] when it has another, and those of [`load`](Self::load).
    pub fn load_expecting(bytes: &[u8], sha256: &[u8; 32]) -> Result<Self, ModelError> {
        let found = crate::file::sha256(bytes);
        if found != *sha256 {
            return Err(ModelError::Sha256 { expected: crate::file::hex(sha256), found: crate::file::hex(&found) });
        }
        Self::load(bytes)
    }

    /// A seeded initialisation with the size, seed and features of `meta`: what [`Model::seeded_bytes`] writes, loaded.
    ///
    /// # Errors
    /// [`ModelError::Metadata`] when `meta` does not fit together.
    pub fn seeded(meta: &ModelMeta) -> Result<Self, ModelError> {
        Self::load(&Self::seeded_bytes(meta)?)
    }

    /// The file of a seeded initialisation: the same bytes for the same `meta`, on every machine.
    ///
    /// # Errors
    /// [`ModelError::Metadata`] when `meta` does not fit together.
    pub fn seeded_bytes(meta: &ModelMeta) -> Result<Vec<u8>, ModelError> {
        crate::file::encode_safetensors(meta, &crate::seed::tensors(meta)?)
    }

    /// The metadata of the file.
    #[must_use]
    pub fn meta(&self) -> &ModelMeta {
        &self.meta
    }

    /// The named size.
    #[must_use]
    #[inline]
    pub fn size(&self) -> Size {
        self.meta.size
    }

    /// How the weights are kept in memory.
    #[must_use]
    #[inline]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// SHA-256 of the file.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// SHA-256 of the file as 64 lower-case hex digits.
    #[must_use]
    pub fn sha256_hex(&self) -> String {
        crate::file::hex(&self.sha256)
    }

    /// The manifest that stands beside a file of `len` bytes: what it is, in JSON, for people and for the registry.
    #[must_use]
    pub fn manifest(&self, len: usize) -> String {
        let meta = &self.meta;
        let manifest = serde_json::json!({
            "sha256": self.sha256_hex(),
            "len": len,
            "size": meta.size,
            "training": meta.training,
            "seed": meta.seed,
            "observations": meta.observations,
            "feature_hash": meta.features.hash,
            "parent": meta.parent,
        });
        format!("{manifest:#}")
    }

    /// Checks that the model was made for these features, in this order, under this definition.
    ///
    /// # Errors
    /// [`ModelError::Features`], naming the first difference.
    pub fn check_features<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
        definition_hash: &str,
    ) -> Result<(), ModelError> {
        let features = &self.meta.features;
        let mut names = names.into_iter();
        for (index, expected) in features.names.iter().enumerate() {
            let found = names.next().unwrap_or("nothing");
            if found != expected {
                let what = format!("feature {index} is `{expected}` in the model, `{found}` in the engine");
                return Err(ModelError::Features { what });
            }
        }
        if let Some(name) = names.next() {
            return Err(ModelError::Features { what: format!("the engine's `{name}` is not in the model") });
        }
        if features.hash == definition_hash {
            return Ok(());
        }
        let what = format!("the definition's hash is {} in the model, {definition_hash} in the engine", features.hash);
        Err(ModelError::Features { what })
    }

    pub(crate) fn start(&self) -> &[Block] {
        &self.start
    }

    #[inline]
    pub(crate) fn observe_weights(&self) -> &[Block] {
        &self.observe
    }

    #[inline]
    pub(crate) fn advance_weights(&self) -> &[Block] {
        &self.advance
    }

    pub(crate) fn decoder_weights(&self) -> &[Block] {
        &self.decoder
    }

    #[inline]
    pub(crate) fn regime_count(&self) -> usize {
        self.regime_count
    }

    #[inline]
    pub(crate) fn horizon_count(&self) -> u32 {
        self.horizon_count
    }

    pub(crate) fn warm_features(&self) -> &[f32] {
        &self.warm_features
    }

    /// Packs checked tensors.
    pub(crate) fn pack(
        meta: ModelMeta,
        tensors: Arc<Tensors>,
        sha256: [u8; 32],
        precision: Precision,
    ) -> Result<Self, ModelError> {
        let size = meta.size;
        let (observe, advance) = match precision {
            Precision::F32 => (pack_observe::<F32>(&meta, &tensors)?, pack_advance::<F32>(&meta, &tensors)?),
            Precision::Int16 => (pack_observe::<Int16>(&meta, &tensors)?, pack_advance::<Int16>(&meta, &tensors)?),
            Precision::Int8 => (pack_observe::<Int8>(&meta, &tensors)?, pack_advance::<Int8>(&meta, &tensors)?),
        };
        let mut model = Self {
            sha256,
            precision,
            regime_count: meta.regimes.len(),
            horizon_count: u32::try_from(meta.horizons.len()).unwrap_or(0),
            observe,
            advance,
            decoder: pack_decoder(&meta, &tensors)?,
            start: vec![Block::ZERO; latent_blocks(blocks(size.h()), blocks(size.z()))],
            warm_features: meta.features.median.clone(),
            meta,
            tensors,
        };
        let mut start = std::mem::take(&mut model.start);
        let is_derived = crate::kernel::derive(&model, &mut Latent { size, blocks: &mut start });
        model.start = start;
        is_derived.map(|()| model).ok_or(ModelError::Packing)
    }
}

fn pack_observe<P: Plan>(meta: &ModelMeta, tensors: &Tensors) -> Result<Vec<Block>, ModelError> {
    let size = meta.size;
    let (d, e, h, z) = (size.d(), size.e(), size.h(), size.z());
    let (db, eb, zb) = (blocks(d), blocks(e), blocks(z));
    let mut to = Vec::new();
    pack_vector(&meta.features.median, db, &mut to);
    let inv_iqr: Vec<f32> = meta.features.iqr.iter().map(|iqr| iqr.recip()).collect();
    pack_vector(&inv_iqr, db, &mut to);
    pack_vector(tensors.data("encoder.0.bias")?, eb, &mut to);
    pack_dense::<P::Fine>(&rows(tensors, "encoder.0.weight", 0..d)?, db, &mut to);
    pack_vector(tensors.data("encoder.2.bias")?, eb, &mut to);
    pack_dense::<P::Fine>(&rows(tensors, "encoder.2.weight", 0..e)?, eb, &mut to);
    pack_dense::<P::Fine>(&mean_and_log_var(&rows(tensors, "posterior.weight", h..h + e)?, z), eb, &mut to);
    pack_tiles::<F32>(&head_rows(tensors, h..h + z)?, zb, 2, &mut to);
    let len = to.len();
    pack_tiles::<F32>(&rows(tensors, "controller.0.weight", h + z..h + z + POSITION_WIDTH)?, 1, 1, &mut to);
    to.truncate(len + POSITION_WIDTH);
    pack_vector(tensors.data("controller.2.weight")?, 1, &mut to);
    pack_vector(tensors.data("controller.2.bias")?, 1, &mut to);
    debug_assert_eq!(to.len(), observe_blocks::<P>(db, eb, zb));
    Ok(to)
}

fn pack_advance<P: Plan>(meta: &ModelMeta, tensors: &Tensors) -> Result<Vec<Block>, ModelError> {
    let (h, z) = (meta.size.h(), meta.size.z());
    let (hb, zb) = (blocks(h), blocks(z));
    let mut to = Vec::new();
    let cell = GruTensors {
        weight_ih: &rows(tensors, "gru.weight_ih", 0..z)?,
        weight_hh: &rows(tensors, "gru.weight_hh", 0..h)?,
        bias_ih: tensors.data("gru.bias_ih")?,
        bias_hh: tensors.data("gru.bias_hh")?,
    };
    pack_gru::<P>(&cell, h, zb, &mut to);
    for bias in ["prior.bias", "posterior.bias"] {
        for half in tensors.data(bias)?.chunks(z) {
            pack_vector(half, zb, &mut to);
        }
    }
    let mut products = mean_and_log_var(&rows(tensors, "prior.weight", 0..h)?, z);
    products.extend(mean_and_log_var(&rows(tensors, "posterior.weight", 0..h)?, z));
    pack_dense::<P::Fine>(&products, hb, &mut to);
    pack_vector(&head_biases(tensors)?, 2, &mut to);
    pack_tiles::<F32>(&head_rows(tensors, 0..h)?, hb, 2, &mut to);
    debug_assert_eq!(to.len(), advance_blocks::<P>(hb, zb));
    Ok(to)
}

fn pack_decoder(meta: &ModelMeta, tensors: &Tensors) -> Result<Vec<Block>, ModelError> {
    let size = meta.size;
    let (d, e, h, z) = (size.d(), size.e(), size.h(), size.z());
    let mut to = Vec::new();
    pack_vector(tensors.data("decoder.0.bias")?, blocks(e), &mut to);
    pack_dense::<F32>(&rows(tensors, "decoder.0.weight", 0..h)?, blocks(h), &mut to);
    pack_dense::<F32>(&rows(tensors, "decoder.0.weight", h..h + z)?, blocks(z), &mut to);
    pack_vector(tensors.data("decoder.2.bias")?, blocks(d), &mut to);
    pack_dense::<F32>(&rows(tensors, "decoder.2.weight", 0..e)?, blocks(e), &mut to);
    Ok(to)
}

/// Every row of a matrix, cut to `columns`.
fn rows<'a>(tensors: &'a Tensors, name: &str, columns: Range<usize>) -> Result<Rows<'a>, ModelError> {
    Ok(tensors.rows(name)?.map(|row| row.get(columns.clone())).collect())
}

/// Rows of means, then of log-variances, each padded to whole blocks.
fn mean_and_log_var<'a>(rows: &Rows<'a>, z: usize) -> Rows<'a> {
    let padding = blocks(z) * LANE_COUNT - z;
    rows.chunks(z).flat_map(|half| half.iter().copied().chain(std::iter::repeat_n(None, padding))).collect()
}

/// Rows of the heads' block (return means, log-variances, up-move, regimes), then of the controller's hidden units.
fn head_rows(tensors: &Tensors, columns: Range<usize>) -> Result<Rows<'_>, ModelError> {
    let mut all = Vec::with_capacity(LANE_COUNT + CONTROLLER_WIDTH);
    for (name, lane) in HEADS {
        all.resize(lane, None);
        all.extend(rows(tensors, &format!("{name}.weight"), columns.clone())?);
    }
    Ok(all)
}

fn head_biases(tensors: &Tensors) -> Result<Vec<f32>, ModelError> {
    let mut biases = Vec::with_capacity(LANE_COUNT + CONTROLLER_WIDTH);
    for (name, lane) in HEADS {
        biases.resize(lane, 0.0);
        biases.extend_from_slice(tensors.data(&format!("{name}.bias"))?);
    }
    Ok(biases)
}

/// The layers whose `z` half is one tile, and the lane where each starts.
const HEADS: [(&str, usize); 5] = [
    ("return_mean", 0),
    ("return_log_var", UP_LANE / 2),
    ("up", UP_LANE),
    ("regime", REGIME_LANE),
    ("controller.0", LANE_COUNT),
];

const _: () = assert!(REGIME_LANE + REGIME_COUNT_MAX == LANE_COUNT);

/// A GRU cell's tensors as PyTorch has them: rows in the order r, z, n.
pub(crate) struct GruTensors<'a> {
    pub(crate) weight_ih: &'a Rows<'a>,
    pub(crate) weight_hh: &'a Rows<'a>,
    pub(crate) bias_ih: &'a [f32],
    pub(crate) bias_hh: &'a [f32],
}

/// Packs a GRU cell block by block for `gru_unit`.
pub(crate) fn pack_gru<'a, P: Plan>(cell: &GruTensors<'a>, h: usize, input_blocks: usize, to: &mut Vec<Block>) {
    for first in (0..h).step_by(LANE_COUNT) {
        let take = LANE_COUNT.min(h - first);
        let bias = |from: &[f32], gate: usize| -> Vec<f32> {
            from.iter().skip(gate * h + first).take(take).copied().collect()
        };
        for gate in 0..2 {
            let both: Vec<f32> =
                bias(cell.bias_ih, gate).iter().zip(bias(cell.bias_hh, gate)).map(|(a, b)| a + b).collect();
            pack_vector(&both, 1, to);
        }
        pack_vector(&bias(cell.bias_ih, 2), 1, to);
        pack_vector(&bias(cell.bias_hh, 2), 1, to);
        let gates = |rows: &Rows<'a>| -> Rows<'a> {
            let gate = |gate: usize| {
                let gate_rows = rows.iter().skip(gate * h + first).take(take).copied();
                gate_rows.chain(std::iter::repeat_n(None, LANE_COUNT - take))
            };
            (0..3).flat_map(gate).collect()
        };
        pack_tiles::<P::Fine>(&gates(cell.weight_ih), input_blocks, 3, to);
        pack_tiles::<P::Recurrent>(&gates(cell.weight_hh), blocks(h), 3, to);
    }
}

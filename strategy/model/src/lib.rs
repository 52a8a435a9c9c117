//! The latent-dynamics kernel of the world model: scalar, AVX2 and AVX-512, bit-identical, and the model file.
//!
//! The model is a recurrent latent-variable model of the market (Hafner et al., *Learning Latent Dynamics for Planning
//! from Pixels*, 2019). One step is split in two calls, so that little of it lies between an event and its order:
//! [`Kernel::advance`] makes everything that depends on the state alone, off the critical path, and
//! [`Kernel::observe`] takes the features of one event and gives the [`Heads`].
//!
//! ```
//! use peregrine_model::{Backend, FeatureSet, Kernel, LatentStore, Model, ModelMeta, PositionInput, Size};
//!
//! let features = FeatureSet::unscaled((0..16).map(|i| format!("feature_{i}")).collect(), "0123abcd");
//! let model = Model::seeded(&ModelMeta::untrained(Size::Nano, 1, features))?;
//! let kernel = Kernel::new(Backend::best()).expect("the best backend is one that this machine has");
//! let mut latents = LatentStore::new(&model, 3);
//! let mut latent = latents.latent_mut(0).expect("three instruments were asked for");
//! let heads = kernel.observe(&model, &mut latent, &[0.25; 16], PositionInput::default())?;
//! assert!(heads.action.abs() <= 1.0);
//! kernel.advance(&model, &mut latent);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(clippy::indexing_slicing)]

mod accuracy;
mod file;
mod format;
pub mod fuzz;
mod heads;
mod integers;
mod kernel;
mod latent;
pub mod layers;
mod lstm;
mod many;
mod math;
mod matvec;
mod meta;
mod model;
pub mod reference;
mod seed;
mod simd;
mod size;
mod step;

pub use accuracy::{AccuracyError, AccuracyReport, DecisionRule, FLIP_SHARE_MAX, accuracy_gate, seeded_walk};
pub use file::{ModelError, Tensor, Tensors, encode_safetensors};
pub use format::Precision;
pub use heads::{
    COST_SCALE_BPS, HORIZON_COUNT_MAX, Heads, INPUT_CLIP, NonFinite, PositionInput, REGIME_COUNT_MAX, Regime,
};
pub use kernel::{Backend, Kernel};
pub use latent::{Latent, LatentStore};
pub use meta::{FORMAT_VERSION, FeatureSet, Horizon, HorizonUnit, METADATA_KEY, ModelMeta, Observations, Training};
pub use model::Model;
pub use size::Size;

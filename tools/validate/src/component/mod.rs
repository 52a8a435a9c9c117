//! Level 0: checks of the artefact's parts, on the user's own data and on inputs that no data hold.

mod controller;
mod precision;
mod sound;
mod units;

use peregrine_model::{Kernel, LatentStore, Model, PositionInput};
use serde::Serialize;

pub use controller::{ControllerFacts, CostRung};
pub use precision::PrecisionFacts;
pub use units::{InputEffect, LayerUnits};

use crate::collect::{Fold, Trace, features};
use crate::error::ValidateError;
use crate::settings::{ComponentSettings, PrecisionSettings};
use crate::verdict::Check;

/// States on which inputs are moved and the controller is asked.
const PROBE_STATES: usize = 100;

/// What Level 0 found beside its verdicts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComponentFacts {
    /// Backends of this machine that were held against each other, by name.
    pub backends: Vec<String>,
    /// Largest difference from the f64 reference over all heads and states, as a share of 1 + |value|.
    pub reference_difference: f64,
    /// What each input moves.
    pub inputs: Vec<InputEffect>,
    /// Units of each layer.
    pub layers: Vec<LayerUnits>,
    /// What the controller does.
    pub controller: ControllerFacts,
    /// What narrower weights change: one entry per precision.
    pub precisions: Vec<PrecisionFacts>,
}

/// What the checks work on.
pub(crate) struct Subject<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) model: &'a Model,
    pub(crate) kernel: Kernel,
    pub(crate) folds: [Fold<'a>; 2],
    pub(crate) traces: [&'a Trace; 2],
    pub(crate) settings: &'a ComponentSettings,
}

impl Subject<'_> {
    /// The first rows of the training data, at most as many as the settings say.
    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        let d = self.model.meta().d;
        let [training, _] = self.folds;
        let sequences = training.data.sequences.iter();
        let rows = sequences.flat_map(move |sequence| (0..sequence.rows()).map(move |row| features(sequence, row, d)));
        rows.take(self.settings.rows)
    }

    /// Follows the training data and calls `probe` at about [`PROBE_STATES`] rows, before each is observed, with the state
    /// and the row. `probe` gets a copy that it may spoil.
    fn probe(
        &self,
        mut probe: impl FnMut(&mut LatentStore, &[f32]) -> Result<(), ValidateError>,
    ) -> Result<(), ValidateError> {
        let mut latents = LatentStore::new(self.model, 1);
        let stride = (self.rows().count() / PROBE_STATES).max(1);
        for (index, raw) in self.rows().enumerate() {
            if index % stride == stride - 1 {
                probe(&mut latents.clone(), raw)?;
            }
            if let Some(mut latent) = latents.latent_mut(0) {
                // A refused row counts in `finite_on_data`; the state goes on from where the kernel left it.
                self.kernel.observe(self.model, &mut latent, raw, PositionInput::default()).ok();
                self.kernel.advance(self.model, &mut latent);
            }
        }
        Ok(())
    }
}

/// All checks of Level 0.
pub(crate) fn check(
    subject: &Subject<'_>,
    narrow: &PrecisionSettings,
) -> Result<(Vec<Check>, ComponentFacts), ValidateError> {
    let mut checks = vec![
        sound::loads(subject),
        sound::trained(subject),
        sound::training_data(subject),
        sound::held_out_apart(subject),
        sound::finite_on_data(subject),
        sound::finite_on_extremes(subject),
        sound::refuses_non_finite(subject),
        sound::deterministic(subject),
    ];
    let (check, backends) = sound::backends_agree(subject);
    checks.push(check);
    let (check, reference_difference) = sound::equals_reference(subject)?;
    checks.push(check);
    let (check, inputs) = units::inputs_used(subject)?;
    checks.push(check);
    let (check, layers) = units::units_alive(subject)?;
    checks.push(check);
    checks.push(units::prior_moves(subject));
    checks.push(units::free_run(subject)?);
    let (controller_checks, controller) = controller::check(subject)?;
    checks.extend(controller_checks);
    let (check, precisions) = precision::check(subject, narrow)?;
    checks.push(check);
    Ok((checks, ComponentFacts { backends, reference_difference, inputs, layers, controller, precisions }))
}

//! Bodies of the fuzz targets.
#![doc(hidden)]

use crate::{Kernel, LatentStore, Model, PositionInput};

/// A model file: never panics, and what is accepted can be run.
pub fn model_file(data: &[u8]) {
    if let Ok(model) = Model::load(data) {
        let mut store = LatentStore::new(&model, 1);
        if let Some(mut latent) = store.latent_mut(0) {
            let features = model.meta().features.median.clone();
            let result = Kernel::SCALAR.observe(&model, &mut latent, &features, PositionInput::default());
            std::hint::black_box(result.is_ok());
            Kernel::SCALAR.advance(&model, &mut latent);
        }
    }
}

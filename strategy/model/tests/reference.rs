//! The kernel against the f64 reference, whole step by whole step, on each size and backend.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use peregrine_model::reference::Reference;
use peregrine_model::{Backend, FeatureSet, Kernel, Latent, LatentStore, Model, ModelMeta, PositionInput, Size};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn near(what: &str, got: f32, expected: f64, bound: f64) {
    assert!((f64::from(got) - expected).abs() <= bound, "{what}: got {got}, expected {expected} ± {bound}");
}

fn uniform(rng: &mut ChaCha8Rng, bound: f32) -> f32 {
    ((rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0) * bound
}

fn follow(size: Size, kernel: Kernel, steps: usize) {
    let names = (0..size.d()).map(|index| format!("feature_{index}")).collect();
    let mut features = FeatureSet::unscaled(names, "test-definition");
    for (index, (median, iqr)) in features.median.iter_mut().zip(&mut features.iqr).enumerate() {
        (*median, *iqr) = (0.5 - index as f32, 0.5 + 0.125 * index as f32);
    }
    let bytes = Model::seeded_bytes(&ModelMeta::untrained(size, 11, features)).unwrap();
    let (model, mut reference) = (Model::load(&bytes).unwrap(), Reference::load(&bytes).unwrap());
    let mut store = LatentStore::new(&model, 1);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for step in 0..steps {
        let x: Vec<f32> = (0..size.d()).map(|_| uniform(&mut rng, 20.0)).collect();
        let position =
            PositionInput { position: uniform(&mut rng, 1.0), half_spread_bps: uniform(&mut rng, 9.0), fee_bps: 0.3 };
        let mut latent = store.latent_mut(0).unwrap();
        let got = kernel.observe(&model, &mut latent, &x, position).unwrap();
        let expected = reference.observe(&x, [position.position, position.half_spread_bps, position.fee_bps]);
        let what = |head: &str| format!("{size:?} {:?} step {step} {head}", kernel.backend());
        for horizon in 0..4 {
            near(&what("mean"), got.return_mean[horizon], expected.return_mean[horizon], 2e-9);
            near(&what("log_var"), got.return_log_var[horizon], expected.return_log_var[horizon], 1e-4);
        }
        near(&what("up"), got.up_probability, expected.up_probability, 1e-5);
        near(&what("action"), got.action, expected.action, 2e-5);
        near(&what("surprise"), got.surprise, expected.surprise, 1e-4 * (1.0 + expected.surprise));
        let best = expected.regimes.iter().copied().fold(0.0, f64::max);
        near(&what("confidence"), got.regime.confidence, best, 1e-5);
        near(&what("regime"), got.regime.confidence, expected.regimes[got.regime.index as usize], 1e-5);
        let mut decoded = vec![0.0; size.d()];
        assert!(kernel.reconstruct(&model, &mut latent, &mut decoded));
        for (got, expected) in decoded.iter().zip(reference.reconstruct()) {
            near(&what("reconstruction"), *got, expected, 5e-5);
        }
        for (got, expected) in latent.z_log_var().zip(&reference.z_log_var) {
            near(&what("z_log_var"), got, *expected, 2e-5);
        }
        imagine_ahead(&kernel, &model, &latent, &reference);
        kernel.advance(&model, &mut latent);
        reference.advance();
        for (got, expected) in latent.prior_log_var().zip(reference.prior().1) {
            near(&what("prior_log_var"), got, expected, 2e-5);
        }
        for (got, expected) in latent.h().zip(&reference.h) {
            near(&what("h"), got, *expected, 2e-5);
        }
    }
}

/// Five steps ahead without observations, on copies.
fn imagine_ahead(kernel: &Kernel, model: &Model, latent: &Latent<'_>, reference: &Reference) {
    let (mut store, mut reference) = (LatentStore::new(model, 1), reference.clone());
    let mut ahead = store.latent_mut(0).unwrap();
    assert!(ahead.copy_from(latent));
    for step in 1..=5 {
        kernel.imagine(model, &mut ahead);
        reference.imagine();
        let what = |head: &str| format!("{:?} {:?}, {step} steps ahead, {head}", model.size(), kernel.backend());
        for ((got, expected), mean) in ahead.z().zip(&reference.z).zip(ahead.prior_mean()) {
            near(&what("z"), got, *expected, 1e-4);
            assert_eq!(got, mean);
        }
        let position = PositionInput { position: 0.5, half_spread_bps: 2.0, fee_bps: 0.3 };
        let got = kernel.heads(model, &mut ahead, position).unwrap();
        let expected = reference.heads([0.5, 2.0, 0.3]);
        near(&what("mean"), got.return_mean[0], expected.return_mean[0], 4e-9);
        near(&what("up"), got.up_probability, expected.up_probability, 2e-5);
        near(&what("action"), got.action, expected.action, 4e-5);
        assert_eq!((got.surprise, expected.surprise), (0.0, 0.0));
        let mut decoded = vec![0.0; model.size().d()];
        assert!(kernel.reconstruct(model, &mut ahead, &mut decoded));
        for (got, expected) in decoded.iter().zip(reference.reconstruct()) {
            near(&what("reconstruction"), *got, expected, 1e-4);
        }
    }
}

#[test]
fn the_kernel_follows_the_reference_on_every_size_and_backend() {
    for kernel in Backend::ALL.into_iter().filter_map(Kernel::new) {
        follow(Size::Nano, kernel, 200);
        follow(Size::Micro, kernel, 200);
        follow(Size::Small, kernel, 60);
        follow(Size::Medium, kernel, 20);
    }
}

/// A seeded `nano` model with every weight of some tensors multiplied.
fn magnified(factors: &[(&str, f32)]) -> Model {
    let names = (0..16).map(|index| format!("feature_{index}")).collect();
    let meta = ModelMeta::untrained(Size::Nano, 1, FeatureSet::unscaled(names, "test-definition"));
    let bytes = Model::seeded_bytes(&meta).unwrap();
    let mut tensors = peregrine_model::Tensors::default();
    for (name, view) in safetensors::SafeTensors::deserialize(&bytes).unwrap().iter() {
        let factor = factors.iter().find(|(magnified, _)| *magnified == name).map_or(1.0, |(_, factor)| *factor);
        let data = view.data().chunks_exact(4).map(|word| factor * f32::from_le_bytes(word.try_into().unwrap()));
        let data = data.collect();
        tensors.0.insert(name.to_owned(), peregrine_model::Tensor { shape: view.shape().to_vec(), data });
    }
    Model::load(&peregrine_model::encode_safetensors(&meta, &tensors).unwrap()).unwrap()
}

/// Wherever it overflows: before the latent, or behind one that is large and finite.
#[test]
fn a_model_that_overflows_gives_no_heads_and_goes_back_to_its_start() {
    let overflows = ["encoder.2.weight", "return_mean.weight", "up.weight", "regime.weight", "controller.0.weight"];
    for overflowing in overflows {
        let model = magnified(&[("posterior.weight", 1e4), (overflowing, 1e38)]);
        for kernel in Backend::ALL.into_iter().filter_map(Kernel::new) {
            let mut store = LatentStore::new(&model, 1);
            let start: Vec<u8> = store.bytes().collect();
            let mut latent = store.latent_mut(0).unwrap();
            let result = kernel.observe(&model, &mut latent, &[7.0; 16], PositionInput::default());
            assert_eq!(result, Err(peregrine_model::NonFinite::Output), "{overflowing}, {:?}", kernel.backend());
            assert_eq!(store.bytes().collect::<Vec<u8>>(), start);
        }
    }
    let model = magnified(&[("posterior.weight", 1e4)]);
    let mut store = LatentStore::new(&model, 1);
    let mut latent = store.latent_mut(0).unwrap();
    let kernel = Kernel::new(Backend::Scalar).unwrap();
    let heads = kernel.observe(&model, &mut latent, &[7.0; 16], PositionInput::default());
    assert!(heads.is_ok(), "the large latent alone is no overflow: {heads:?}");
}

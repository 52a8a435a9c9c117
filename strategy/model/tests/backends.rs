//! The backends give the same bits: random inputs and long rollouts, every size. `REQUIRE_BACKENDS=Scalar,Avx2,Avx512`
//! makes a missing backend a failure.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as the test does")]

use peregrine_model::{
    Backend, FeatureSet, Heads, Kernel, LatentStore, Model, ModelMeta, NonFinite, PositionInput, Precision, Size,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn model(size: Size, seed: u64) -> Model {
    let names = (0..size.d()).map(|index| format!("feature_{index}")).collect();
    let mut features = FeatureSet::unscaled(names, "test-definition");
    for (index, (median, iqr)) in features.median.iter_mut().zip(&mut features.iqr).enumerate() {
        (*median, *iqr) = (0.1 * index as f32, 1.0 + 0.25 * index as f32);
    }
    Model::seeded(&ModelMeta::untrained(size, seed, features)).unwrap()
}

#[test]
fn horizons_that_a_model_does_not_have_are_zeros() {
    let size = Size::Micro;
    let names = (0..size.d()).map(|index| format!("feature_{index}")).collect();
    let meta = ModelMeta::untrained(size, 3, FeatureSet::unscaled(names, "test-definition"));
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for count in 1..=meta.horizons.len() {
        let horizons = meta.horizons.iter().copied().take(count).collect();
        let model = Model::seeded(&ModelMeta { horizons, ..meta.clone() }).unwrap();
        for precision in Precision::ALL {
            let model = model.quantise(precision).unwrap();
            for kernel in kernels() {
                let mut store = LatentStore::new(&model, 1);
                for _ in 0..50 {
                    let mut latent = store.latent_mut(0).unwrap();
                    let x = features(&mut rng, size.d());
                    let heads = kernel.observe(&model, &mut latent, &x, PositionInput::default()).unwrap();
                    kernel.advance(&model, &mut latent);
                    let outputs = heads.return_mean.iter().zip(&heads.return_log_var);
                    let is_there: Vec<bool> = outputs.map(|pair| pair != (&0.0, &0.0)).collect();
                    let expected: Vec<bool> = (0..heads.return_mean.len()).map(|index| index < count).collect();
                    assert_eq!(
                        is_there,
                        expected,
                        "{count} horizons, {precision:?}, {:?}: {heads:?}",
                        kernel.backend()
                    );
                    assert_eq!(heads.horizon_count as usize, count);
                }
            }
        }
    }
}

/// Every backend of this machine; says what is skipped, and fails if it was required.
fn kernels() -> Vec<Kernel> {
    let required = std::env::var("REQUIRE_BACKENDS").unwrap_or_default();
    let is_required = |backend: Backend| required.split(',').any(|name| name.trim() == format!("{backend:?}"));
    let mut kernels = Vec::new();
    for backend in Backend::ALL {
        match Kernel::new(backend) {
            Some(kernel) => kernels.push(kernel),
            None if is_required(backend) => panic!("required backend {backend:?} is not on this machine"),
            None => eprintln!("skipped: backend {backend:?} is not on this machine"),
        }
    }
    kernels
}

fn uniform(rng: &mut ChaCha8Rng, bound: f32) -> f32 {
    ((rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0) * bound
}

/// Heads as bits: equality that tells −0 from 0.
fn bits(heads: &Heads) -> Vec<u32> {
    let floats = heads.return_mean.iter().chain(&heads.return_log_var);
    let rest = [heads.up_probability, heads.regime.confidence, heads.action, heads.surprise];
    let counts = [heads.horizon_count, heads.regime.index];
    floats.chain(&rest).map(|x| x.to_bits()).chain(counts).collect()
}

/// Features of which some are huge, tiny, zero or beyond the clip.
fn features(rng: &mut ChaCha8Rng, d: usize) -> Vec<f32> {
    let bound = [1e-30, 0.1, 1.0, 4.0, 100.0, 1e30][rng.next_u32() as usize % 6];
    (0..d).map(|_| if rng.next_u32().is_multiple_of(16) { 0.0 } else { uniform(rng, bound) }).collect()
}

fn compare_backends(size: Size, steps: usize, observations_per_step: usize) {
    for precision in Precision::ALL {
        compare_precision(&model(size, 7).quantise(precision).unwrap(), steps, observations_per_step);
    }
}

fn compare_precision(model: &Model, steps: usize, observations_per_step: usize) {
    let (size, kernels) = (model.size(), kernels());
    let mut stores: Vec<LatentStore> = kernels.iter().map(|_| LatentStore::new(model, 2)).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(size.h() as u64);
    for step in 0..steps {
        for _ in 0..observations_per_step {
            let x = features(&mut rng, size.d());
            let position = PositionInput {
                position: uniform(&mut rng, 1.0),
                half_spread_bps: uniform(&mut rng, 50.0),
                fee_bps: uniform(&mut rng, 3.0),
            };
            let heads: Vec<Vec<u32>> = kernels
                .iter()
                .zip(&mut stores)
                .map(|(kernel, store)| {
                    bits(&kernel.observe(model, &mut store.latent_mut(1).unwrap(), &x, position).unwrap())
                })
                .collect();
            assert!(
                heads.iter().all(|other| *other == heads[0]),
                "{size:?} {:?}, step {step}: {heads:x?}",
                model.precision()
            );
        }
        for (kernel, store) in kernels.iter().zip(&mut stores) {
            if step % 5 == 0 {
                kernel.imagine(model, &mut store.latent_mut(1).unwrap());
            }
            kernel.advance(model, &mut store.latent_mut(1).unwrap());
        }
        if step % 16 == 0 {
            let states: Vec<Vec<u8>> = stores.iter().map(|store| store.bytes().collect()).collect();
            assert!(
                states.iter().all(|other| *other == states[0]),
                "{size:?} {:?}: the states differ after step {step}",
                model.precision()
            );
        }
    }
}

#[test]
fn nano_is_bit_identical_on_every_backend() {
    compare_backends(Size::Nano, 2_500, 4);
}

#[test]
fn micro_is_bit_identical_on_every_backend() {
    compare_backends(Size::Micro, 2_500, 4);
}

#[test]
fn small_is_bit_identical_on_every_backend() {
    compare_backends(Size::Small, 1_000, 10);
}

#[test]
fn medium_is_bit_identical_on_every_backend() {
    compare_backends(Size::Medium, 500, 20);
}

#[test]
fn heads_on_the_latent_are_those_that_observe_gave() {
    for size in Size::ALL {
        let model = model(size, 2);
        for kernel in kernels() {
            let mut store = LatentStore::new(&model, 1);
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let mut latent = store.latent_mut(0).unwrap();
            for _ in 0..50 {
                let x: Vec<f32> = (0..size.d()).map(|_| uniform(&mut rng, 10.0)).collect();
                let position = PositionInput { position: uniform(&mut rng, 1.0), ..PositionInput::default() };
                let given = kernel.observe(&model, &mut latent, &x, position).unwrap();
                assert_eq!(bits(&kernel.heads(&model, &mut latent, position).unwrap()), bits(&given));
                let other = PositionInput { position: position.position + 1.0, ..position };
                assert_ne!(kernel.heads(&model, &mut latent, other).unwrap().action, given.action);
                kernel.advance(&model, &mut latent);
            }
            let bad = PositionInput { position: f32::NAN, ..PositionInput::default() };
            assert_eq!(kernel.heads(&model, &mut latent, bad), Err(NonFinite::Position));
        }
    }
}

#[test]
fn a_bad_input_gives_no_heads_and_leaves_the_latent_as_it_was() {
    let model = model(Size::Micro, 1);
    for kernel in kernels() {
        let mut store = LatentStore::new(&model, 1);
        let good = vec![0.5; 32];
        let mut latent = store.latent_mut(0).unwrap();
        kernel.observe(&model, &mut latent, &good, PositionInput::default()).unwrap();
        kernel.advance(&model, &mut latent);
        let before: Vec<u8> = store.bytes().collect();
        for (index, bad) in [(0_u8, f32::NAN), (17, f32::INFINITY), (31, f32::NEG_INFINITY)] {
            let mut x = good.clone();
            x[usize::from(index)] = bad;
            let result = kernel.observe(&model, &mut store.latent_mut(0).unwrap(), &x, PositionInput::default());
            assert_eq!(result, Err(NonFinite::Feature { index: u32::from(index) }), "{:?}", kernel.backend());
        }
        for count in [0_u8, 31, 33] {
            let x = vec![0.5; usize::from(count)];
            let result = kernel.observe(&model, &mut store.latent_mut(0).unwrap(), &x, PositionInput::default());
            assert_eq!(result, Err(NonFinite::Feature { index: u32::from(count.min(32)) }));
        }
        let position = PositionInput { fee_bps: f32::NAN, ..PositionInput::default() };
        let result = kernel.observe(&model, &mut store.latent_mut(0).unwrap(), &good, position);
        assert_eq!(result, Err(NonFinite::Position));
        assert_eq!(store.bytes().collect::<Vec<u8>>(), before);
    }
}

#[test]
fn a_latent_of_another_size_is_refused() {
    let (nano, micro) = (model(Size::Nano, 1), model(Size::Micro, 1));
    for kernel in kernels() {
        let mut store = LatentStore::new(&nano, 1);
        let before: Vec<u8> = store.bytes().collect();
        let mut latent = store.latent_mut(0).unwrap();
        let result = kernel.observe(&micro, &mut latent, &[0.5; 32], PositionInput::default());
        assert_eq!(result, Err(NonFinite::Size));
        kernel.advance(&micro, &mut latent);
        kernel.imagine(&micro, &mut latent);
        let result = kernel.heads(&micro, &mut latent, PositionInput::default());
        assert_eq!(result, Err(NonFinite::Size));
        let mut other = LatentStore::new(&micro, 1);
        assert!(!latent.copy_from(&other.latent_mut(0).unwrap()));
        assert_eq!(store.bytes().collect::<Vec<u8>>(), before);
    }
}

#[test]
fn instruments_do_not_touch_each_other() {
    let model = model(Size::Nano, 3);
    let kernel = Kernel::new(Backend::best()).unwrap();
    let mut store = LatentStore::new(&model, 3);
    let fresh: Vec<u8> = store.bytes().collect();
    let mut latent = store.latent_mut(1).unwrap();
    kernel.observe(&model, &mut latent, &[0.5; 16], PositionInput::default()).unwrap();
    kernel.advance(&model, &mut latent);
    let after: Vec<u8> = store.bytes().collect();
    let third = fresh.len() / 3;
    assert_eq!(after[..third], fresh[..third]);
    assert_ne!(after[third..2 * third], fresh[third..2 * third]);
    assert_eq!(after[2 * third..], fresh[2 * third..]);
    assert!(store.reset(&model, 1));
    assert_eq!(store.bytes().collect::<Vec<u8>>(), fresh);
    assert!(store.latent_mut(3).is_none());
}

#[test]
fn a_seeded_model_responds() {
    let model = model(Size::Micro, 1);
    let kernel = Kernel::new(Backend::best()).unwrap();
    let mut store = LatentStore::new(&model, 1);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (mut low, mut high, mut mean_size, mut surprises) = (1.0_f32, -1.0_f32, 0.0, Vec::new());
    let mut x = [0.0_f32; 32];
    for _ in 0..4_000 {
        let meta = &model.meta().features;
        let mut raw = Vec::new();
        for ((x, median), iqr) in x.iter_mut().zip(&meta.median).zip(&meta.iqr) {
            *x = 0.9 * *x + uniform(&mut rng, 0.56);
            raw.push(*x * iqr + median);
        }
        let mut latent = store.latent_mut(0).unwrap();
        let heads = kernel.observe(&model, &mut latent, &raw, PositionInput::default()).unwrap();
        (low, high) = (low.min(heads.action), high.max(heads.action));
        mean_size += heads.return_mean[0].abs() / 4_000.0;
        surprises.push(heads.surprise);
        kernel.advance(&model, &mut latent);
    }
    surprises.sort_by(f32::total_cmp);
    eprintln!("action {low}..{high}, |mean| {mean_size}, surprise p50 {} p99 {}", surprises[2_000], surprises[3_960]);
    assert!(low < -0.8 && high > 0.8, "{low}..{high}");
    assert!((2e-5..5e-4).contains(&mean_size), "{mean_size}");
}

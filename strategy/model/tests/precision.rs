//! Narrow weights: what they are, held against slow twins, and that they pass the accuracy gate.
//!
//! Negative controls (each was tried, and failed the tests named): the saturating 8-bit multiply-add of AVX2
//! (`products_of_extreme_bytes_do_not_saturate`, `integers_are…`, the backends' tests); a gate that compares a model with itself
//! (`seeded_models…`, `the_gate_refuses…`); reset and update gate exchanged (`reference.rs`, `oracles.rs`).

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use peregrine_model::layers::{Activations, Linear};
use peregrine_model::{
    AccuracyError, Backend, DecisionRule, FLIP_SHARE_MAX, FeatureSet, Kernel, LatentStore, Model, ModelMeta,
    PositionInput, Precision, Size, Tensor, Tensors, accuracy_gate, encode_safetensors,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;

/// The thresholds of the shipped profiles.
const RULE: DecisionRule =
    DecisionRule { action_threshold: 0.3, action_hysteresis: 0.1, half_spread_bps: 0.5, fee_bps: 0.3 };

fn uniform(rng: &mut ChaCha8Rng, bound: f32) -> f32 {
    ((rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0) * bound
}

fn meta(size: Size, seed: u64) -> ModelMeta {
    let names = (0..size.d()).map(|index| format!("feature_{index}")).collect();
    ModelMeta::untrained(size, seed, FeatureSet::unscaled(names, "test-definition"))
}

fn kernels() -> impl Iterator<Item = Kernel> {
    Backend::ALL.into_iter().filter_map(Kernel::new)
}

/// A seeded file whose tensors went through `change`.
fn changed(meta: &ModelMeta, mut change: impl FnMut(&str, &mut [f32])) -> Model {
    let bytes = Model::seeded_bytes(meta).unwrap();
    let mut tensors = Tensors::default();
    for (name, view) in SafeTensors::deserialize(&bytes).unwrap().iter() {
        let words = view.data().chunks_exact(4);
        let mut data: Vec<f32> = words.map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect();
        change(name, &mut data);
        tensors.0.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), data });
    }
    Model::load(&encode_safetensors(meta, &tensors).unwrap()).unwrap()
}

/// Features that wander as in the seeded initialisation's walk.
fn walk(d: usize, steps: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut x = vec![0.0_f32; d];
    let mut all = Vec::with_capacity(d * steps);
    for _ in 0..steps {
        x.iter_mut().for_each(|x| *x = 0.9 * *x + uniform(&mut rng, 0.56));
        all.extend(&x);
    }
    all
}

/// Every state and every head, step by step.
fn trace(kernel: &Kernel, model: &Model, features: &[f32]) -> Vec<u32> {
    let mut store = LatentStore::new(model, 1);
    let mut all = Vec::new();
    for x in features.chunks_exact(model.size().d()) {
        let mut latent = store.latent_mut(0).unwrap();
        let heads = kernel.observe(model, &mut latent, x, PositionInput::default()).unwrap();
        kernel.advance(model, &mut latent);
        let floats = heads.return_mean.into_iter().chain(heads.return_log_var).chain(latent.h()).chain(latent.z());
        let rest = [heads.up_probability, heads.action, heads.surprise, heads.regime.confidence];
        all.extend(floats.chain(rest).map(f32::to_bits));
    }
    all
}

/// `y ≈ b + W·x` with integers up to `most` (of weights, of inputs), by the definition: one scale per row, one for the
/// vector, the nearest integers.
fn linear_of_integers(weight: &[f32], bias: &[f32], x: &[f32], most: (f64, f64)) -> Vec<f64> {
    let scale = |values: &[f32], most: f64| f64::from(values.iter().fold(0.0_f32, |max, x| max.max(x.abs()))) / most;
    let integers = |values: &[f32], most: f64| -> Vec<f64> {
        let scale = scale(values, most);
        values.iter().map(|x| if scale > 0.0 { (f64::from(*x) / scale).round_ties_even() } else { 0.0 }).collect()
    };
    let rows = weight.chunks_exact(x.len()).zip(bias);
    let dot = |row: &[f32]| -> f64 { integers(row, most.0).iter().zip(integers(x, most.1)).map(|(w, x)| w * x).sum() };
    rows.map(|(row, bias)| f64::from(*bias) + scale(row, most.0) * scale(x, most.1) * dot(row)).collect()
}

/// A layer in `precision` on every backend against its definition and against each other.
fn check_layer((inputs, outputs): (usize, usize), precision: Precision, rng: &mut ChaCha8Rng) {
    let most = match precision {
        Precision::Int16 if inputs <= 256 => (4_095.0, 2_047.0),
        Precision::Int16 if inputs <= 512 => (4_095.0, 1_023.0),
        Precision::Int16 => (4_095.0, 511.0),
        Precision::F32 | Precision::Int8 => (127.0, 127.0),
    };
    let mut weight: Vec<f32> = (0..inputs * outputs).map(|_| uniform(rng, 1.0)).collect();
    // Rows of very different size, one of zeros.
    for (row, size) in weight.chunks_exact_mut(inputs).zip([0.0, 1e-3, 1.0, 50.0].iter().cycle()) {
        row.iter_mut().for_each(|w| *w *= size);
    }
    let bias: Vec<f32> = (0..outputs).map(|_| uniform(rng, 0.1)).collect();
    let layer = Linear::with_precision(&weight, &bias, inputs, precision).unwrap();
    for bound in [0.0, 1e-20, 1.0, 1e10] {
        let x: Vec<f32> = (0..inputs).map(|_| uniform(rng, bound)).collect();
        let expected = linear_of_integers(&weight, &bias, &x, most);
        let mut first = None;
        for kernel in kernels() {
            let mut out = Activations::zeros(outputs);
            kernel.linear(&layer, &Activations::from_slice(&x), &mut out).unwrap();
            let bits: Vec<u32> = out.iter().map(f32::to_bits).collect();
            assert_eq!(*first.get_or_insert(bits.clone()), bits, "{inputs}×{outputs} {:?}", kernel.backend());
            for (got, expected) in out.iter().zip(&expected) {
                // An input on the edge between two integers may fall to either side: one unit of the last place.
                let unit = f64::from(bound) / most.1 * 60.0 / most.0;
                let near = 2e-6 * (expected.abs() + f64::from(bound)) + unit + 1e-7;
                assert!((f64::from(got) - expected).abs() <= near, "{inputs}×{outputs}: {got} {expected}");
            }
        }
    }
}

#[test]
fn integers_are_the_nearest_by_a_scale_per_row_and_vector() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    for widths in [(1, 1), (3, 5), (16, 16), (100, 37), (128, 64), (257, 33), (600, 17), (1_024, 16)] {
        check_layer(widths, Precision::Int16, &mut rng);
        check_layer(widths, Precision::Int8, &mut rng);
    }
    let too_wide = vec![0.5; 1_025];
    assert!(Linear::with_precision(&too_wide, &[0.0], 1_025, Precision::Int16).is_err());
    assert!(Linear::with_precision(&too_wide, &[0.0], 1_025, Precision::F32).is_ok());
}

#[test]
fn a_value_that_is_none_poisons_every_sum_of_integers() {
    let layers = [Precision::Int16, Precision::Int8]
        .map(|precision| Linear::with_precision(&[0.5; 64], &[0.0; 2], 32, precision).unwrap());
    for (kernel, layer) in kernels().flat_map(|kernel| layers.iter().map(move |layer| (kernel, layer))) {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in [0, 17, 31] {
                let mut x = [1.0; 32];
                x[place] = bad;
                let mut out = Activations::zeros(2);
                kernel.linear(layer, &Activations::from_slice(&x), &mut out).unwrap();
                assert!(out.iter().all(|y| !y.is_finite()), "{bad} at {place} on {:?}", kernel.backend());
            }
        }
    }
}

#[test]
fn seeded_models_pass_the_gate_over_long_sequences() {
    let kernel = Kernel::new(Backend::best()).unwrap();
    for size in [Size::Nano, Size::Micro, Size::Small, Size::Medium] {
        let steps = if size == Size::Medium { 6_000 } else { 20_000 };
        let features = walk(size.d(), steps, 9);
        let exact = Model::seeded(&meta(size, 1)).unwrap();
        for precision in [Precision::Int16, Precision::Int8] {
            let narrow = exact.quantise(precision).unwrap();
            let report = accuracy_gate(&kernel, (&exact, &narrow), &[&features], &RULE).unwrap();
            eprintln!("{size:?} {precision:?}: {:.3} % flips, {report:?}", 100.0 * report.flip_share());
            assert_eq!(report.decision_count, steps as u64);
            assert!(report.flip_share() <= FLIP_SHARE_MAX && report.action_difference_max > 0.0);
            assert_eq!(report.verdict(), Ok(()));
        }
        let same = accuracy_gate(&kernel, (&exact, &exact), &[&features], &RULE).unwrap();
        assert_eq!((same.flip_count, same.action_difference_max, same.surprise_difference_max), (0, 0.0, 0.0));
    }
}

#[test]
fn the_gate_refuses_what_flips_too_often_and_says_so() {
    let kernel = Kernel::new(Backend::best()).unwrap();
    // One weight of each row is far larger than the rest, so that a row's scale leaves the others a few steps.
    let exact = changed(&meta(Size::Nano, 1), |name, data| {
        if name == "gru.weight_hh" {
            data.iter_mut().step_by(32).for_each(|w| *w = 6.0_f32.copysign(*w));
        }
    });
    let narrow = exact.quantise(Precision::Int8).unwrap();
    let features = walk(16, 4_000, 9);
    let report = accuracy_gate(&kernel, (&exact, &narrow), &[&features], &RULE).unwrap();
    let Err(AccuracyError::Flips { precision: "int8", decision_count: 4_000, flip_count }) = report.verdict() else {
        unreachable!("{report:?}")
    };
    assert!(flip_count > 20, "{report:?}");
    let other = Model::seeded(&meta(Size::Nano, 2)).unwrap();
    assert_eq!(accuracy_gate(&kernel, (&exact, &other), &[&features], &RULE), Err(AccuracyError::Mismatch));
    let width = AccuracyError::Width { sequence: 1, len: 17, width: 16 };
    assert_eq!(accuracy_gate(&kernel, (&exact, &narrow), &[&features, &features[..17]], &RULE), Err(width));
    let nothing = accuracy_gate(&kernel, (&exact, &narrow), &[], &RULE).unwrap();
    assert_eq!(nothing.verdict(), Err(AccuracyError::NoDecisions));
    let bad = [f32::NAN; 16];
    let refused = accuracy_gate(&kernel, (&exact, &narrow), &[&bad], &RULE);
    assert!(matches!(refused, Err(AccuracyError::Observation { sequence: 0, step: 0, .. })), "{refused:?}");
}

#[test]
fn a_narrow_model_says_what_it_is_and_keeps_its_file() {
    let exact = Model::seeded(&meta(Size::Micro, 1)).unwrap();
    for precision in Precision::ALL {
        let model = exact.quantise(precision).unwrap();
        assert_eq!((model.precision(), model.sha256()), (precision, exact.sha256()));
        assert_eq!(serde_json::to_string(&precision).unwrap(), format!("\"{}\"", precision.name()));
    }
    let kernel = Kernel::new(Backend::Scalar).unwrap();
    let features = walk(32, 3, 1);
    let f32_again = exact.quantise(Precision::Int16).unwrap().quantise(Precision::F32).unwrap();
    assert_eq!(trace(&kernel, &f32_again, &features), trace(&kernel, &exact, &features));
}

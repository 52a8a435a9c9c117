//! Every check bites: a model that knows the truth passes all, and each thing broken fails the check that is about it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod common;

use std::collections::{BTreeMap, HashMap};

use common::{Broken, Market, held_out, market, model, settings, training};
use peregrine_dataset::Dataset;
use peregrine_model::{FeatureSet, Model, ModelMeta, Size, Tensor, Tensors, encode_safetensors};
use peregrine_train::{LAST_TIME_NS_KEY, LSTM_METADATA_KEY, LstmMeta, VALIDATION_SHA256_KEY};
use peregrine_validate::{Candidate, Check, Diagnosis, Outcome, ValidateError, diagnose, diagnose_candidate};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

fn judge(broken: Broken, training: &Dataset, held_out: &Dataset) -> Diagnosis {
    diagnose(&model(&training.meta.sha256, broken), training, held_out, &settings()).unwrap()
}

fn check<'a>(diagnosis: &'a Diagnosis, id: &str) -> &'a Check {
    diagnosis.checks.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("no check {id}"))
}

fn outcome(diagnosis: &Diagnosis, id: &str) -> Outcome {
    check(diagnosis, id).outcome
}

#[test]
fn the_model_that_knows_the_truth_passes_everything() {
    let found = judge(Broken::default(), &training(), &held_out(Market::default()));
    let others: Vec<&Check> = found.checks.iter().filter(|check| check.outcome != Outcome::Pass).collect();
    assert!(others.is_empty(), "{others:#?}");
    assert_eq!((found.verdict, found.exit_status()), (Outcome::Pass, 0));
}

#[test]
fn a_random_model_fails_where_it_should() {
    let mut meta = ModelMeta::untrained(Size::Nano, 3, FeatureSet::unscaled(common::names(), "0123abcd"));
    meta.horizons = common::horizons();
    let bytes = Model::seeded_bytes(&meta).unwrap();
    let found = diagnose(&bytes, &training(), &held_out(Market::default()), &settings()).unwrap();
    for id in ["trained", "reconstruction_r2", "beats_ar1", "brier_skill"] {
        assert_eq!(outcome(&found, id), Outcome::Fail, "{:#?}", check(&found, id));
    }
    // Far ahead it is no worse than the mean, which beats a random walk there; near by it is far worse.
    assert_eq!(outcome(&found, "beats_random_walk"), Outcome::Warn, "{:#?}", check(&found, "beats_random_walk"));
    for id in
        ["loads", "deterministic", "backends_agree", "equals_reference", "refuses_non_finite", "finite_on_extremes"]
    {
        assert_eq!(outcome(&found, id), Outcome::Pass, "{:#?}", check(&found, id));
    }
    assert_eq!((found.verdict, found.exit_status()), (Outcome::Fail, 1));
}

#[test]
fn a_collapsed_encoder_is_found() {
    let found = judge(Broken { is_collapsed: true, ..Broken::default() }, &training(), &held_out(Market::default()));
    for id in ["latent_rank", "reconstruction_r2", "inputs_used"] {
        assert_eq!(outcome(&found, id), Outcome::Fail, "{:#?}", check(&found, id));
    }
    assert!(
        check(&found, "latent_rank").reason.starts_with("effective rank of z is 1"),
        "{:#?}",
        check(&found, "latent_rank")
    );
    assert_ne!(outcome(&found, "disentanglement"), Outcome::Pass);
}

#[test]
fn dead_inputs_are_named_and_constant_ones_excused() {
    let seen = market(Market { rows: 4_000, seed: 1, has_constant: true, ..Market::default() });
    let unseen = held_out(Market { has_constant: true, ..Market::default() });
    let found = judge(Broken { blind_inputs: 3, ..Broken::default() }, &seen, &unseen);
    let dead = check(&found, "inputs_used");
    assert_eq!(dead.outcome, Outcome::Fail);
    assert!(dead.reason.contains("dead: feature_0, feature_1, feature_2;"), "{}", dead.reason);
    assert!(dead.reason.contains("not judged: feature_8"), "{}", dead.reason);
    let one = judge(Broken { blind_inputs: 1, ..Broken::default() }, &training(), &held_out(Market::default()));
    assert_eq!(outcome(&one, "inputs_used"), Outcome::Warn);
}

#[test]
fn a_shuffled_held_out_set_is_found() {
    let found = judge(Broken::default(), &training(), &held_out(Market { is_shuffled: true, ..Market::default() }));
    for id in ["horizon_decay", "beats_ar1"] {
        assert_ne!(outcome(&found, id), Outcome::Pass, "{:#?}", check(&found, id));
    }
    assert_eq!(outcome(&found, "surprise"), Outcome::Fail, "{:#?}", check(&found, "surprise"));
    assert_eq!(outcome(&found, "reconstruction_r2"), Outcome::Pass);
}

#[test]
fn a_constant_probability_has_no_skill_and_a_wrong_one_no_calibration() {
    let (seen, unseen) = (training(), held_out(Market::default()));
    let rate = judge(Broken { up_always: Some(0.5), ..Broken::default() }, &seen, &unseen);
    assert_eq!(outcome(&rate, "calibration"), Outcome::Pass, "{:#?}", check(&rate, "calibration"));
    assert_ne!(outcome(&rate, "brier_skill"), Outcome::Pass, "{:#?}", check(&rate, "brier_skill"));
    let wrong = judge(Broken { up_always: Some(0.7), ..Broken::default() }, &seen, &unseen);
    for id in ["calibration", "brier_skill"] {
        assert_eq!(outcome(&wrong, id), Outcome::Fail, "{:#?}", check(&wrong, id));
    }
    let sure = judge(Broken { up_factor: 6.0, ..Broken::default() }, &seen, &unseen);
    assert_eq!(outcome(&sure, "calibration"), Outcome::Fail, "{:#?}", check(&sure, "calibration"));
}

#[test]
fn a_leaking_feature_is_too_good_to_be_honest() {
    let seen = market(Market { rows: 4_000, seed: 1, leaks: true, ..Market::default() });
    let unseen = held_out(Market { leaks: true, ..Market::default() });
    let found = judge(Broken { trusts_first: true, ..Broken::default() }, &seen, &unseen);
    let leak = check(&found, "return_look_ahead");
    assert_eq!(leak.outcome, Outcome::Fail);
    assert!(leak.value > 0.95 && leak.reason.contains("holds the future"), "{leak:#?}");
}

#[test]
fn nothing_is_found_where_nothing_is() {
    let seen = market(Market { rows: 4_000, seed: 1, is_silent: true, ..Market::default() });
    let unseen = held_out(Market { is_silent: true, ..Market::default() });
    let found = judge(Broken::default(), &seen, &unseen);
    for id in ["return_r2", "brier_skill"] {
        assert_ne!(outcome(&found, id), Outcome::Pass, "{:#?}", check(&found, id));
    }
}

#[test]
fn dead_dynamics_are_found() {
    let found = judge(Broken { has_no_dynamics: true, ..Broken::default() }, &training(), &held_out(Market::default()));
    for id in ["prior_moves", "beats_ar1"] {
        assert_eq!(outcome(&found, id), Outcome::Fail, "{:#?}", check(&found, id));
    }
}

#[test]
fn an_overflow_on_extreme_inputs_is_found() {
    let found = judge(Broken { overflows: true, ..Broken::default() }, &training(), &held_out(Market::default()));
    let extreme = check(&found, "finite_on_extremes");
    assert_eq!(extreme.outcome, Outcome::Fail);
    assert!(extreme.reason.contains("every input at the upper clip"), "{}", extreme.reason);
}

#[test]
fn a_controller_that_likes_costs_is_found() {
    let found = judge(Broken { likes_costs: true, ..Broken::default() }, &training(), &held_out(Market::default()));
    assert_eq!(outcome(&found, "controller_costs"), Outcome::Fail, "{:#?}", check(&found, "controller_costs"));
}

#[test]
fn one_regime_is_no_regime() {
    let found = judge(Broken { has_one_regime: true, ..Broken::default() }, &training(), &held_out(Market::default()));
    for id in ["regimes_in_use", "regime_silhouette"] {
        assert_eq!(outcome(&found, id), Outcome::Fail, "{:#?}", check(&found, id));
    }
}

/// The same weights in a file that says more of its training.
fn with_hyper_parameters(bytes: &[u8], hyper_parameters: BTreeMap<String, String>) -> Vec<u8> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let mut tensors = Tensors::default();
    for (name, view) in file.iter() {
        let data = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        tensors.0.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), data });
    }
    let meta = ModelMeta { hyper_parameters, ..Model::load(bytes).unwrap().meta().clone() };
    encode_safetensors(&meta, &tensors).unwrap()
}

#[test]
fn held_out_data_must_be_apart() {
    let seen = training();
    let same = judge(Broken::default(), &seen, &seen);
    assert_eq!(outcome(&same, "held_out_apart"), Outcome::Fail);
    let overlapping = market(Market { rows: 3_000, seed: 2, start: 3_000, ..Market::default() });
    assert_eq!(outcome(&judge(Broken::default(), &seen, &overlapping), "held_out_apart"), Outcome::Fail);
    let before = market(Market { rows: 3_000, seed: 2, start: -5_000, ..Market::default() });
    assert_eq!(outcome(&judge(Broken::default(), &seen, &before), "held_out_apart"), Outcome::Warn);
    let seen_until = |time: i64| BTreeMap::from([(LAST_TIME_NS_KEY.to_owned(), time.to_string())]);
    let unseen = held_out(Market::default());
    let first = unseen.sequences[0].time_ns[0];
    for (until, expected) in [(first - 1, Outcome::Pass), (first, Outcome::Fail)] {
        let bytes = with_hyper_parameters(&model(&seen.meta.sha256, Broken::default()), seen_until(until));
        let found = diagnose(&bytes, &seen, &unseen, &settings()).unwrap();
        assert_eq!(outcome(&found, "held_out_apart"), expected, "{:#?}", check(&found, "held_out_apart"));
    }
    let stopped = BTreeMap::from([(VALIDATION_SHA256_KEY.to_owned(), unseen.meta.sha256.clone())]);
    let bytes = with_hyper_parameters(&model(&seen.meta.sha256, Broken::default()), stopped);
    let found = diagnose(&bytes, &seen, &unseen, &settings()).unwrap();
    assert_eq!(outcome(&found, "held_out_apart"), Outcome::Fail);
    let other = diagnose(&model(&"cd".repeat(32), Broken::default()), &seen, &held_out(Market::default()), &settings());
    assert_eq!(outcome(&other.unwrap(), "training_data"), Outcome::Warn);
}

/// The model that passes everything, with every mark on its other side.
#[test]
fn every_threshold_bites() {
    let mut strict = settings();
    let part = &mut strict.component;
    (part.reference_difference_max, part.input_effect_min, part.unit_deviation_min) = (0.0, 1.0, 1.0);
    (part.prior_movement_min, part.free_run_abs_max, part.action_deviation_min) = (1.0, 1.0, 1.0);
    (strict.reconstruction.r2_pass, strict.reconstruction.r2_fail) = (1.0, 0.999);
    let latent = &mut strict.latent;
    (latent.rank_share_pass, latent.active_variance_min, latent.kl_per_dimension_max) = (1.0, 100.0, 0.0);
    (latent.neighbour_lift_min, latent.total_correlation_max, latent.correlation_min) = (1_000.0, 0.0, 1.0);
    (strict.regime.silhouette_pass, strict.regime.share_min) = (1.0, 0.9);
    strict.horizon.growth_exponent_max = 0.0;
    (strict.calibration.ece_pass, strict.calibration.ece_fail, strict.calibration.rows_min) = (0.0, 0.0, 10_000_000);
    (strict.returns.r2_suspicious, strict.returns.variance_log_ratio_max) = (0.0, 0.0);
    let (seen, unseen) = (training(), held_out(Market::default()));
    let found = diagnose(&model(&seen.meta.sha256, Broken::default()), &seen, &unseen, &strict).unwrap();
    let fail = "equals_reference inputs_used units_alive prior_moves free_run controller_acts reconstruction_r2 active_units \
                regimes_in_use growth_exponent calibration return_look_ahead";
    let warn = "latent_rank latent_kl smoothness disentanglement context_ties regime_silhouette return_variance";
    for (ids, expected) in [(fail, Outcome::Fail), (warn, Outcome::Warn)] {
        for id in ids.split_whitespace() {
            assert_eq!(outcome(&found, id), expected, "{:#?}", check(&found, id));
        }
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (seen, unseen) = (training(), held_out(Market::default()));
    let bytes = model(&seen.meta.sha256, Broken::default());
    let refused =
        |bytes: &[u8], seen: &Dataset, unseen: &Dataset| diagnose(bytes, seen, unseen, &settings()).unwrap_err();
    assert!(matches!(refused(&bytes[..100], &seen, &unseen), ValidateError::Model(_)));
    let mut other = unseen.clone();
    other.meta.features[2] = "other".to_owned();
    assert!(matches!(refused(&bytes, &seen, &other), ValidateError::Features { dataset: "held-out", .. }));
    let mut other = seen.clone();
    other.meta.horizons[1].count = 6;
    assert!(matches!(refused(&bytes, &other, &unseen), ValidateError::Horizon { dataset: "training", .. }));
    let mut other = seen.clone();
    other.sequences[0].returns.pop();
    assert!(matches!(refused(&bytes, &other, &unseen), ValidateError::Shape { column: "returns", .. }));
    let few = market(Market { rows: 120, seed: 2, start: 5_000, ..Market::default() });
    assert!(matches!(refused(&bytes, &seen, &few), ValidateError::TooFewRows { found: 70, .. }));
}

#[test]
fn rows_that_the_kernel_refuses_are_counted() {
    let mut unseen = held_out(Market::default());
    unseen.sequences[0].features[16 * 900 + 3] = f32::NAN;
    let found = judge(Broken::default(), &training(), &unseen);
    let refused = check(&found, "finite_on_data");
    assert_eq!((refused.outcome, refused.value), (Outcome::Fail, 1.0));
}

/// An LSTM whose one open unit passes on `0.1 · feature 0`, read with this slope of the logit; 0 knows nothing.
fn lstm(seen: &Dataset, slope: f64) -> Vec<u8> {
    let (inputs, hidden) = (common::D, 4);
    let zeros = |shape: Vec<usize>| Tensor { data: vec![0.0; shape.iter().product()], shape };
    let mut tensors = BTreeMap::from([
        ("lstm.weight_ih_l0", zeros(vec![4 * hidden, inputs])),
        ("lstm.weight_hh_l0", zeros(vec![4 * hidden, hidden])),
        ("lstm.bias_ih_l0", zeros(vec![4 * hidden])),
        ("lstm.bias_hh_l0", zeros(vec![4 * hidden])),
        ("fc.weight", zeros(vec![1, hidden])),
        ("fc.bias", zeros(vec![1])),
    ]);
    // Gates i, f, g, o: open, shut, tanh of the input, open.
    let bias = &mut tensors.get_mut("lstm.bias_ih_l0").unwrap().data;
    (bias[0], bias[hidden], bias[3 * hidden]) = (20.0, -20.0, 20.0);
    tensors.get_mut("lstm.weight_ih_l0").unwrap().data[2 * hidden * inputs] = 0.1;
    tensors.get_mut("fc.weight").unwrap().data[0] = common::single(10.0 * slope);
    let meta = LstmMeta {
        format_version: 1,
        observations: seen.meta.observations,
        features: FeatureSet::unscaled(common::names(), "0123abcd"),
        horizon: common::horizons()[0],
        window_rows: 8,
        hidden,
        layers: 1,
        training_data_sha256: seen.meta.sha256.clone(),
        hyper_parameters: BTreeMap::new(),
        seed: 1,
    };
    let bytes: Vec<(&str, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, tensor)| (name, tensor.shape, tensor.data.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views =
        bytes.iter().map(|(name, shape, data)| (*name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
    let metadata = HashMap::from([(LSTM_METADATA_KEY.to_owned(), serde_json::to_string(&meta).unwrap())]);
    safetensors::serialize(views, Some(metadata)).unwrap()
}

#[test]
fn the_lstm_baseline_is_beaten_or_not() {
    let (seen, unseen) = (training(), held_out(Market::default()));
    let verdict = |broken: Broken, slope: f64| {
        let (bytes, baseline) = (model(&seen.meta.sha256, broken), lstm(&seen, slope));
        let candidate = Candidate { name: "a", model: &bytes, lstm: Some(&baseline) };
        let found = diagnose_candidate(&candidate, &seen, &unseen, &settings()).unwrap();
        check(&found, "beats_lstm").clone()
    };
    let ignorant = verdict(Broken::default(), 0.0);
    assert_eq!(ignorant.outcome, Outcome::Pass, "{ignorant:#?}");
    let same = verdict(Broken::default(), 0.535);
    assert_eq!(same.outcome, Outcome::Warn, "{same:#?}");
    let knowing = verdict(Broken { up_always: Some(0.5), ..Broken::default() }, 0.535);
    assert_eq!(knowing.outcome, Outcome::Fail, "{knowing:#?}");
}

#[test]
fn an_lstm_that_does_not_fit_is_refused() {
    let (seen, unseen) = (training(), held_out(Market::default()));
    let (bytes, baseline) = (model(&seen.meta.sha256, Broken::default()), lstm(&seen, 0.0));
    let refused = |lstm: &[u8]| {
        let candidate = Candidate { name: "a", model: &bytes, lstm: Some(lstm) };
        diagnose_candidate(&candidate, &seen, &unseen, &settings()).unwrap_err().to_string()
    };
    assert!(refused(&baseline[..50]).starts_with("the LSTM baseline was refused"));
    // Of the same length, so that the file stays whole: another definition of the features.
    let text = b"0123abcd";
    let at = baseline.windows(text.len()).position(|bytes| bytes == text).unwrap();
    let mut other = baseline.clone();
    other[at] = b'9';
    assert!(refused(&other).contains("its features are not the model's"), "{}", refused(&other));
}

//! The judge of the market whose truth is known, held against predictions made by hand.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use peregrine_model::{FeatureSet, Model, ModelMeta, Size};
use peregrine_stats::random::Generator;
use peregrine_stats::state_space::MarketSpec;
use peregrine_validate::truth::{
    TruthBars, TruthData, TruthError, TruthPredictions, TruthSpec, TruthVerdict, judge_predictions, judge_truth,
    predict, truth_dataset,
};

fn spec() -> TruthSpec {
    TruthSpec { train_rows: 2_000, validation_rows: 500, held_out_rows: 6_000, ..TruthSpec::default() }
}

fn without_signal() -> TruthSpec {
    TruthSpec { market: MarketSpec::default().without_signal(), ..spec() }
}

/// What the filter with the true parameters says.
fn of_filter(data: &TruthData) -> TruthPredictions {
    let steps = &data.truth.filtered;
    TruthPredictions {
        regimes: steps.iter().map(|step| step.regime()).collect(),
        return_mean: steps.iter().map(|step| step.return_mean).collect(),
        up_probability: steps.iter().map(|step| step.up_probability).collect(),
    }
}

fn judge(predictions: &TruthPredictions, data: &TruthData) -> TruthVerdict {
    judge_predictions(predictions, &data.truth, &TruthBars::default(), 1).unwrap()
}

#[test]
fn the_filter_itself_passes() {
    let data = truth_dataset(&spec(), 1).unwrap();
    let verdict = judge(&of_filter(&data), &data);
    assert!(verdict.holds() && verdict.has_signal, "{verdict:#?}");
    assert_eq!(verdict.regimes.ratio.value, 1.0);
    assert_eq!(verdict.returns.share.unwrap().value, 1.0);
    assert_eq!(verdict.up.skill.value, verdict.up.filter_skill);
    assert_eq!((verdict.rows, verdict.up.n), (6_000, 6_000));
}

#[test]
fn each_bar_is_broken_by_what_it_is_for() {
    let data = truth_dataset(&spec(), 1).unwrap();
    let good = of_filter(&data);
    let mut generator = Generator::new(3, "wrong");
    let regimes = good.regimes.iter().map(|label| if generator.uniform() < 0.2 { generator.index(3) } else { *label });
    let mixed = TruthPredictions { regimes: regimes.collect(), ..good.clone() };
    let verdict = judge(&mixed, &data);
    assert!(!verdict.regimes.ratio.holds && !verdict.holds(), "{verdict:#?}");

    let return_mean = good.return_mean.iter().map(|mean| mean + 0.002 * generator.normal());
    let noisy = TruthPredictions { return_mean: return_mean.collect(), ..good.clone() };
    let verdict = judge(&noisy, &data);
    assert!(!verdict.returns.share.unwrap().holds && !verdict.holds(), "{verdict:#?}");

    let bold = good.up_probability.iter().map(|p| (0.5 + 2.0 * (p - 0.5)).clamp(0.0, 1.0)).collect();
    let verdict = judge(&TruthPredictions { up_probability: bold, ..good.clone() }, &data);
    assert!(!verdict.up.ece.holds && !verdict.holds(), "{verdict:#?}");

    let flat = vec![data.truth.base_rate; good.regimes.len()];
    let verdict = judge(&TruthPredictions { up_probability: flat, ..good.clone() }, &data);
    assert!(
        verdict.up.ece.holds && !verdict.up.skill.holds && !verdict.holds(),
        "calibrated is not sharp: {verdict:#?}"
    );
}

#[test]
fn regimes_may_have_any_names() {
    let data = truth_dataset(&spec(), 2).unwrap();
    let good = of_filter(&data);
    let renamed =
        TruthPredictions { regimes: good.regimes.iter().map(|label| 6 - 2 * label).collect(), ..good.clone() };
    assert_eq!(judge(&renamed, &data).regimes.ratio.value, 1.0);
}

#[test]
fn without_signal_nothing_may_be_found() {
    let data = truth_dataset(&without_signal(), 1).unwrap();
    let mut generator = Generator::new(5, "noise");
    let n = data.truth.returns.len();
    let small: Vec<f64> = (0..n).map(|_| 0.0001 * generator.normal()).collect();
    let honest = TruthPredictions { return_mean: small, up_probability: vec![0.5; n], ..of_filter(&data) };
    let verdict = judge(&honest, &data);
    assert!(!verdict.has_signal && verdict.returns.share.is_none() && verdict.holds(), "{verdict:#?}");

    let leaking: Vec<f64> = data.truth.returns.iter().map(|y| 0.05 * y + 0.001 * generator.normal()).collect();
    let verdict = judge(&TruthPredictions { return_mean: leaking, ..honest.clone() }, &data);
    assert!(!verdict.returns.model.holds && !verdict.holds(), "a look ahead is seen: {verdict:#?}");

    let fitted: Vec<f64> = (0..n).map(|_| 0.004 * generator.normal()).collect();
    let verdict = judge(&TruthPredictions { return_mean: fitted, ..honest.clone() }, &data);
    assert!(!verdict.returns.model.holds, "noise that was learnt is seen: {verdict:#?}");

    let knowing = data.truth.returns.iter().map(|y| if *y > 0.0 { 0.55 } else { 0.45 }).collect();
    let verdict = judge(&TruthPredictions { up_probability: knowing, ..honest }, &data);
    assert!(!verdict.up.skill.holds && !verdict.holds(), "{verdict:#?}");
}

#[test]
fn one_seed_gives_one_dataset_and_folds_are_apart() {
    let of = |seed| truth_dataset(&spec(), seed).unwrap();
    let (a, b, c) = (of(7), of(7), of(8));
    // The unknown last returns are NaN: the digests stand for the rows.
    assert_eq!(a.train.meta.sha256, b.train.meta.sha256);
    assert_eq!(a.held_out.meta.sha256, b.held_out.meta.sha256);
    assert_ne!(a.train.meta.sha256, c.train.meta.sha256);
    let first = |data: &peregrine_dataset::Dataset| data.sequences[0].features[..16].to_vec();
    assert_ne!(first(&a.train), first(&a.held_out));
    let starts = |data: &peregrine_dataset::Dataset| data.sequences[0].time_ns[0];
    let last = |data: &peregrine_dataset::Dataset| *data.sequences[0].time_ns.last().unwrap();
    assert!(last(&a.train) < starts(&a.validation) && last(&a.validation) < starts(&a.held_out));
    let held_out = &a.held_out.sequences[0];
    assert_eq!((held_out.rows(), held_out.features.len(), held_out.returns.len()), (6_000, 96_000, 24_000));
    // Horizons add up, and are unknown where the data end.
    let two: f64 = a.truth.returns[..2].iter().sum();
    assert!((f64::from(held_out.returns[1]) - two).abs() < 1e-8);
    assert!(held_out.returns[4 * 5_999 + 1].is_nan() && held_out.returns[4 * 5_999].is_finite());
}

#[test]
fn a_model_runs_by_the_kernel_and_an_untrained_one_fails() {
    let data = truth_dataset(&spec(), 1).unwrap();
    let features = FeatureSet::unscaled(data.held_out.meta.features.clone(), &data.held_out.meta.feature_hash);
    let mut meta = ModelMeta::untrained(Size::Nano, 1, features);
    let ticks = Model::seeded_bytes(&meta).unwrap();
    assert!(matches!(predict(&ticks, &data.held_out), Err(TruthError::Mismatch { .. })), "its horizons are of ticks");
    meta.observations = data.held_out.meta.observations;
    meta.horizons = data.held_out.meta.horizons.clone();
    let bytes = Model::seeded_bytes(&meta).unwrap();
    let verdict = judge_truth(&bytes, &data, &TruthBars::default(), 1).unwrap();
    assert!(!verdict.holds() && !verdict.regimes.ratio.holds && !verdict.returns.share.unwrap().holds, "{verdict:#?}");
    assert!(matches!(predict(&bytes[..100], &data.held_out), Err(TruthError::Model(_))));
}

#[test]
fn bad_specs_and_predictions_are_refused() {
    let of = |spec: TruthSpec| truth_dataset(&spec, 1);
    assert!(matches!(of(TruthSpec { held_out_rows: 0, ..spec() }), Err(TruthError::Stats(_))));
    assert!(matches!(of(TruthSpec { horizons: vec![2], ..spec() }), Err(TruthError::Stats(_))));
    let data = of(spec()).unwrap();
    let mut short = of_filter(&data);
    short.regimes.pop();
    assert!(judge_predictions(&short, &data.truth, &TruthBars::default(), 1).is_err());
    let mut wrong = of_filter(&data);
    wrong.return_mean[7] = f64::NAN;
    assert!(judge_predictions(&wrong, &data.truth, &TruthBars::default(), 1).is_err());
}

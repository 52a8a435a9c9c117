//! Models trained on a market whose truth is known, small enough for every change. The project's bars are held by
//! `peregrine-lab truth` on more rows (`scripts/deep.sh truth`); here the share of the explained variance is a lower one, and the
//! number of regimes is given.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::path::PathBuf;

use peregrine_stats::state_space::MarketSpec;
use peregrine_train::{Silent, TrainConfig, train};
use peregrine_validate::truth::{TruthBars, TruthData, TruthSpec, TruthVerdict, judge_truth, truth_dataset};

const SHARE_MIN: f64 = 0.6;

/// Of size micro.
fn market() -> MarketSpec {
    MarketSpec { features: 32, ..MarketSpec::default() }
}

fn data(market: MarketSpec) -> TruthData {
    let rows = TruthSpec { market, train_rows: 24_000, validation_rows: 6_000, ..TruthSpec::default() };
    truth_dataset(&rows, 1).unwrap()
}

/// Trains by a short form of `configs/train/truth.toml` and judges.
fn trial(data: &TruthData) -> TruthVerdict {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../configs/train/truth.toml");
    let mut config = TrainConfig::from_toml(&std::fs::read_to_string(path).unwrap()).unwrap();
    (config.schedule.epochs_max, config.schedule.patience) = (12, 12);
    let world = config.world.as_mut().unwrap();
    (world.regimes.count_min, world.regimes.count_max) = (3, 3);
    let candidate = train(&config, &data.train, &data.validation, &mut Silent).unwrap();
    let bars = TruthBars { explained_share_min: SHARE_MIN, ..TruthBars::default() };
    let verdict = judge_truth(&candidate.bytes, data, &bars, 1).unwrap();
    eprintln!("{verdict:#?}");
    verdict
}

/// The regimes are not asked for here: on so few rows the loss of the returns leaves two of the three alike in the latents.
#[test]
fn a_trained_model_finds_the_signal_and_is_calibrated_and_sharp() {
    let verdict = trial(&data(market()));
    assert!(verdict.has_signal);
    assert!(verdict.returns.share.unwrap().holds, "{:?}", verdict.returns);
    assert!(verdict.up.ece.holds && verdict.up.skill.holds, "{:?}", verdict.up);
}

#[test]
fn a_trained_model_finds_the_regimes_and_no_signal_where_there_is_none() {
    let verdict = trial(&data(market().without_signal()));
    assert!(!verdict.has_signal && verdict.holds(), "{verdict:#?}");
}

/// The control: what the rows say of the returns is taken away, and the bars on the returns must notice.
#[test]
fn a_model_trained_on_shuffled_returns_fails() {
    let verdict = trial(&data(market()).with_shuffled_targets(1));
    assert!(verdict.has_signal && !verdict.holds());
    assert!(verdict.returns.share.unwrap().value < 0.1, "{:?}", verdict.returns);
    assert!(!verdict.up.skill.holds, "{:?}", verdict.up);
}

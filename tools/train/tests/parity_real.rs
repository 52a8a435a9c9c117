//! Parity of training code and trading kernel on rows of a real hour: freshly trained, fine-tuned and retrained models of size
//! micro.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::path::PathBuf;

use peregrine_dataset::Dataset;
use peregrine_dataset::ticks::{TickInputs, TicksConfig, build_dataset};
use peregrine_train::{Folds, Keep, Silent, TrainConfig, finetune, parity, retrain, train};

/// Steps of one sequence, as the project's issue on training asks.
const STEPS: usize = 10_000;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The decision events of the hour; `None` (said on stderr) where the data are missing.
fn hour() -> Option<Dataset> {
    let folder = std::env::var_os("PEREGRINE_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let file = folder.join("itch/aapl_20120621_0930_1030_reencoded.itch50.gz");
    if !file.exists() {
        eprintln!("skipped: no real data at {}", file.display());
        return None;
    }
    let mut config = TicksConfig::load(&root().join("configs/train/dataset-ticks.toml")).unwrap();
    (config.capture.order_count_max, config.capture.level_count_max) = (262_144, 262_144);
    Some(build_dataset(&TickInputs { files: vec![file], date: None }, &config).unwrap().0)
}

/// The shipped profile, cut short: parity does not ask how well a model predicts.
fn config() -> TrainConfig {
    let text = std::fs::read_to_string(root().join("configs/train/ticks.toml")).unwrap();
    let mut config = TrainConfig::from_toml(&text).unwrap();
    config.schedule.epochs_max = 1;
    let world = config.world.as_mut().unwrap();
    (world.regimes.sample_rows, world.regimes.distill_steps) = (2_000, 50);
    (world.controller.steps, world.controller.batch) = (10, 64);
    config
}

#[test]
fn the_kernel_equals_the_training_code_over_ten_thousand_real_steps() {
    let Some(data) = hour() else { return };
    let longest = data.sequences.iter().max_by_key(|sequence| sequence.rows()).unwrap();
    assert!(longest.rows() > STEPS, "the longest sequence has {} rows", longest.rows());
    let rows = longest.features[..STEPS * data.meta.features.len()].to_vec();
    let cut = longest.time_ns[longest.rows() * 2 / 3];
    let (seen, later) = data.split_at(cut, 0).unwrap();
    let folds = Folds { train: &seen, validation: &later };
    let config = config();
    let parent = train(&config, &seen, &later, &mut Silent).unwrap();
    let tuned = finetune(&parent.bytes, &config, folds, Keep::default(), &mut Silent).unwrap();
    let fresh = retrain(&parent.bytes, &config, folds, Keep::default(), &mut Silent).unwrap();
    assert_ne!(tuned.sha256(), parent.sha256());
    for (name, candidate) in [("trained", &parent), ("fine-tuned", &tuned), ("retrained", &fresh)] {
        let report = parity(&candidate.bytes, &rows).unwrap();
        eprintln!(
            "{name}: largest difference {:.2e} per step, {:.2e} with the states carried over {} steps",
            report.per_step.max(),
            report.carried.max(),
            report.rows
        );
        assert_eq!(report.rows, STEPS);
        assert!(report.per_step.max() <= 1e-5, "{name}: {report:#?}");
        assert!(report.carried.max() <= 1e-3, "{name}: {report:#?}");
    }
}

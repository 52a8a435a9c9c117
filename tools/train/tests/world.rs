//! The world model's life: it learns, its artefact runs in the kernel, one seed gives one file, a stopped run goes on.
#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test's helpers fail as it does")]

mod common;

use peregrine_model::{Backend, Kernel, LatentStore, Model, PositionInput};
use peregrine_train::{
    Control, EpochReport, Folds, Observer, Progress, Silent, Stage, TrainError, train, train_or_resume,
};

#[test]
fn a_short_run_learns_the_signal_and_its_artefact_runs_in_the_kernel() {
    let (train_fold, validation) = (common::dataset(1, 4, 1_500), common::dataset(2, 2, 800));
    let candidate = train(&common::config(12), &train_fold, &validation, &mut Silent).unwrap();
    let metrics = &candidate.manifest.metrics;
    eprintln!("{metrics:#?} in {} s", candidate.manifest.seconds);
    let r2 = metrics["validation.r2.horizon_0"];
    assert!(r2 > 0.04, "R² {r2} of a signal of 0.1");
    let model = Model::load(&candidate.bytes).unwrap();
    let kernel = Kernel::new(Backend::best()).unwrap();
    let mut store = LatentStore::new(&model, 1);
    let mut latent = store.latent_mut(0).unwrap();
    let sequence = &validation.sequences[0];
    let (mut model_error, mut naive) = (0.0, 0.0);
    for (row, features) in sequence.features.chunks_exact(16).enumerate() {
        let heads = kernel.observe(&model, &mut latent, features, PositionInput::default()).unwrap();
        let target = f64::from(sequence.returns[row * 2]);
        if target.is_finite() {
            model_error += (target - f64::from(heads.return_mean[0])).powi(2);
            naive += target.powi(2);
        }
        kernel.advance(&model, &mut latent);
    }
    assert!(1.0 - model_error / naive > 0.04, "in the kernel: {}", 1.0 - model_error / naive);
}

struct StopAt(u64, u64);

impl Observer for StopAt {
    fn step(&mut self, _: &Progress) -> Control {
        self.1 += 1;
        if self.1 == self.0 { Control::Stop } else { Control::Continue }
    }

    fn epoch(&mut self, report: &EpochReport) -> Control {
        assert!(report.training.total.is_finite());
        Control::Continue
    }
}

/// Stops at the begin of a stage, or after so many parts of it.
struct StopIn(Stage, u32, bool);

impl Observer for StopIn {
    fn stage(&mut self, stage: Stage) -> Control {
        self.2 = stage == self.0;
        if self.2 && self.1 == 0 { Control::Stop } else { Control::Continue }
    }

    fn part(&mut self, done: u32, parts: u32) -> Control {
        assert!(done < parts);
        if self.2 && done + 1 >= self.1 { Control::Stop } else { Control::Continue }
    }
}

#[test]
fn one_seed_gives_one_file_also_after_an_interruption() {
    let (train_fold, validation) = (common::dataset(3, 3, 700), common::dataset(4, 1, 400));
    let config = common::config(3);
    let folds = Folds { train: &train_fold, validation: &validation };
    let first = train(&config, &train_fold, &validation, &mut Silent).unwrap();
    let second = train(&config, &train_fold, &validation, &mut Silent).unwrap();
    assert_eq!(first.bytes, second.bytes, "two runs of one seed differ");
    let folder = tempfile::tempdir().unwrap();
    let steps = first.manifest.epochs.len() as u64;
    assert_eq!(steps, 3);
    for stop in [1, 7, 20] {
        let path = folder.path().join(format!("stop{stop}.checkpoint"));
        let stopped = train_or_resume(&config, folds, &path, &mut StopAt(stop, 0));
        assert!(matches!(stopped, Err(TrainError::Interrupted { .. })), "{stopped:?}");
        let resumed = train_or_resume(&config, folds, &path, &mut Silent).unwrap();
        assert_eq!(first.bytes, resumed.bytes, "stopped after {stop} steps and resumed");
    }
    for (stage, parts) in [
        (Stage::Training, 0),
        (Stage::Calibrating, 0),
        (Stage::Regimes, 9),
        (Stage::Controller, 0),
        (Stage::Controller, 7),
    ] {
        let path = folder.path().join(format!("{stage:?}{parts}.checkpoint"));
        let stopped = train_or_resume(&config, folds, &path, &mut StopIn(stage, parts, false));
        assert!(matches!(stopped, Err(TrainError::Interrupted { .. })), "{stage:?}: {stopped:?}");
        let resumed = train_or_resume(&config, folds, &path, &mut Silent).unwrap();
        assert_eq!(first.bytes, resumed.bytes, "stopped in {stage:?} and resumed");
    }
    let other = peregrine_train::TrainConfig { seed: 8, ..config };
    assert_ne!(train(&other, &train_fold, &validation, &mut Silent).unwrap().bytes, first.bytes);
    let path = folder.path().join("stop7.checkpoint");
    let refused = train_or_resume(&other, folds, &path, &mut Silent);
    assert!(matches!(refused, Err(TrainError::Checkpoint { .. })), "{refused:?}");
}

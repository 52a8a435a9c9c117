//! The LSTM baseline, fine-tuning, retraining, the ledger, search, interchange, parity and refusals.
#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test's helpers fail as it does")]

mod common;

use std::path::PathBuf;

use peregrine_dataset::SourceDigest;
use peregrine_model::{Backend, Kernel, Model};
use peregrine_train::{
    Control, Folds, Keep, Ledger, LstmBaseline, Observer, Progress, Silent, TrainConfig, TrainError, TrialStatus,
    UNKNOWN_SHA256, configurations, export_state_dict, finetune, import_state_dict, parity, retrain, train,
};

fn lstm_config() -> TrainConfig {
    let text = std::fs::read_to_string(root().join("configs/train/lstm.toml")).unwrap();
    let mut config = TrainConfig::from_toml(&text).unwrap();
    config.schedule.epochs_max = 3;
    let lstm = config.lstm.as_mut().unwrap();
    (lstm.hidden, lstm.window_rows, lstm.stride_rows) = (16, 10, 3);
    config
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn every_shipped_profile_is_sound() {
    for name in ["ticks", "bars", "lstm", "demo"] {
        let text = std::fs::read_to_string(root().join(format!("configs/train/{name}.toml"))).unwrap();
        let config = TrainConfig::from_toml(&text).unwrap();
        assert_eq!(config.world.is_some(), name != "lstm");
        assert_eq!(TrainConfig::from_toml(&toml::to_string(&config).unwrap()).unwrap().sha256(), config.sha256());
    }
}

#[test]
fn a_configuration_names_the_key_that_is_wrong() {
    let good = std::fs::read_to_string(root().join("configs/train/bars.toml")).unwrap();
    let refused = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        TrainConfig::from_toml(&good.replace(from, to)).unwrap_err().to_string()
    };
    for (from, to, words) in [
        ("patience = 12", "patience = 12\nspare = 1", "unknown field `spare`"),
        ("patience = 12 ", "# ", "missing field `patience`"),
        ("lanes = 16", "lanes = 0", "world.lanes is 0, allowed is 1 to 4096"),
        ("kl_balance = 0.8", "kl_balance = 0.0", "world.loss.kl_balance is 0, allowed is above 0 to 1"),
        ("size = \"nano\"", "size = \"tiny\"", "tiny"),
        ("seed = 1", "seed = -1", "seed"),
    ] {
        let message = refused(from, to);
        assert!(message.contains(words), "{to}: {message}");
    }
    assert!(matches!(TrainConfig::from_toml("seed = 1"), Err(TrainError::Config { .. })));
}

#[test]
fn a_grid_and_a_list_become_runs_and_an_unknown_key_is_refused() {
    let base = std::fs::read_to_string(root().join("configs/train/bars.toml")).unwrap();
    assert_eq!(configurations(&base).unwrap().len(), 1);
    let grid = format!("{base}\n[search.grid]\n\"optimizer.learning_rate\" = [1e-3, 5e-4]\nseed = [1, 2, 3]\n");
    let runs = configurations(&grid).unwrap();
    assert_eq!(runs.len(), 6);
    let distinct: std::collections::BTreeSet<String> = runs.iter().map(TrainConfig::sha256).collect();
    assert_eq!(distinct.len(), 6);
    let list = format!("{base}\n[[search.list]]\nseed = 4\n[[search.list]]\n\"world.loss.kl\" = 0.5\n");
    let runs = configurations(&list).unwrap();
    assert_eq!((runs[0].seed, runs[1].world.as_ref().unwrap().loss.kl), (4, 0.5));
    let typo = format!("{base}\n[search.grid]\n\"optimizer.rate\" = [1e-3]\n");
    assert!(configurations(&typo).unwrap_err().to_string().contains("optimizer.rate"));
}

#[test]
fn the_lstm_baseline_learns_repeats_and_runs_in_the_kernel() {
    let (train_fold, validation) = (common::dataset(5, 3, 900), common::dataset(6, 1, 600));
    let first = train(&lstm_config(), &train_fold, &validation, &mut Silent).unwrap();
    let second = train(&lstm_config(), &train_fold, &validation, &mut Silent).unwrap();
    assert_eq!(first.bytes, second.bytes);
    let metrics = &first.manifest.metrics;
    assert!(metrics["validation.direction"] < std::f64::consts::LN_2 - 0.005, "{metrics:?}");
    let baseline = LstmBaseline::load(&first.bytes).unwrap();
    let kernel = Kernel::new(Backend::best()).unwrap();
    let sequence = &validation.sequences[0];
    let (mut loss, mut count) = (0.0, 0.0);
    for end in 9..sequence.rows() - 1 {
        let p = f64::from(baseline.probability(&kernel, &sequence.features[(end - 9) * 16..(end + 1) * 16]).unwrap());
        loss -= if sequence.returns[end * 2] > 0.0 { p.ln() } else { (1.0 - p).ln() };
        count += 1.0;
    }
    // The kernel's own loss over the same windows is the one that training reports.
    assert!((loss / count - metrics["validation.direction"]).abs() < 1e-4, "{} {metrics:?}", loss / count);
    assert_eq!(baseline.probability(&kernel, &[0.0; 16]), None);
}

struct StopAfter(u32);

impl Observer for StopAfter {
    fn step(&mut self, _: &Progress) -> Control {
        self.0 = self.0.saturating_sub(1);
        if self.0 == 0 { Control::Stop } else { Control::Continue }
    }
}

#[test]
fn every_run_is_one_line_of_the_ledger_whatever_becomes_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trials.sqlite");
    let (mut train_fold, validation) = (common::dataset(7, 2, 400), common::dataset(8, 1, 300));
    let source = SourceDigest { name: "a.csv".to_owned(), sha256: "ab".repeat(32), bytes: 1 };
    train_fold.meta.sources.push(source);
    let folds = Folds { train: &train_fold, validation: &validation };
    let mut ledger = Ledger::open(&path).unwrap();
    let checkpoint = folder.path().join("run.checkpoint");
    let config = common::config(1);
    let stopped = ledger.run(&config, folds, Some(&checkpoint), &mut StopAfter(2));
    assert!(matches!(stopped, Err(TrainError::Interrupted { .. })), "{stopped:?}");
    assert_eq!(ledger.trials().unwrap()[0].status, TrialStatus::Interrupted);
    let candidate = ledger.run(&config, folds, Some(&checkpoint), &mut Silent).unwrap();
    let trials = ledger.trials().unwrap();
    assert_eq!(trials.len(), 1, "a resumed run is the same trial");
    assert_eq!(trials[0].status, TrialStatus::Finished);
    assert_eq!(trials[0].artefact_sha256.as_deref(), Some(candidate.sha256()));
    // Decimal digits in JSON need not come back to the last bit.
    for (name, value) in &candidate.manifest.metrics {
        assert!((trials[0].metrics[name] - value).abs() <= 1e-12 * value.abs(), "{name}");
    }
    assert_eq!((trials[0].seed, &trials[0].train_sha256), (7, &train_fold.meta.sha256));
    let mut wrong = config.clone();
    wrong.world.as_mut().unwrap().size = peregrine_model::Size::Micro;
    assert!(matches!(ledger.run(&wrong, folds, None, &mut Silent), Err(TrainError::Dataset { .. })));
    assert_eq!(ledger.trials().unwrap()[1].status, TrialStatus::Refused);
    // Another fold of the same files is another trial on them; a run that was refused is none.
    let mut later = common::dataset(31, 2, 600);
    later.meta.sources.clone_from(&train_fold.meta.sources);
    ledger.run(&config, Folds { train: &later, validation: &validation }, None, &mut Silent).unwrap();
    let counts = ledger.trials_by_dataset().unwrap();
    assert_eq!((counts.len(), counts[0].trials, counts[0].finished), (1, 2, 2));
}

/// A horizon that no validation row reaches has no R²: a figure that is missing, not one that makes the ledger unreadable.
#[test]
fn a_horizon_without_a_known_return_leaves_the_ledger_readable() {
    let folder = tempfile::tempdir().unwrap();
    let mut validation = common::dataset(33, 1, 200);
    validation.sequences[0].returns.fill(f32::NAN);
    let mut ledger = Ledger::open(&folder.path().join("trials.sqlite")).unwrap();
    let data = common::dataset(32, 2, 600);
    ledger.run(&common::config(1), Folds { train: &data, validation: &validation }, None, &mut Silent).unwrap();
    let trials = ledger.trials().unwrap();
    assert_eq!(trials[0].status, TrialStatus::Finished);
    assert!(!trials[0].metrics.keys().any(|name| name.starts_with("validation.r2")), "{:?}", trials[0].metrics);
}

#[test]
fn writers_of_one_ledger_do_not_lose_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trials.sqlite");
    let data = common::dataset(9, 1, 50);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut ledger = Ledger::open(&path).unwrap();
                let mut wrong = common::config(1);
                wrong.world.as_mut().unwrap().size = peregrine_model::Size::Micro;
                let folds = Folds { train: &data, validation: &data };
                for _ in 0..10 {
                    assert!(ledger.run(&wrong, folds, None, &mut Silent).is_err());
                }
            });
        }
    });
    let trials = Ledger::open(&path).unwrap().trials().unwrap();
    assert_eq!(trials.len(), 40);
    assert!(trials.iter().all(|trial| trial.status == TrialStatus::Refused && trial.ended_at.is_some()));
}

#[test]
fn tuned_models_name_their_parent_and_keep_parity_with_the_kernel() {
    let (train_fold, validation) = (common::dataset(10, 2, 900), common::dataset(11, 1, 10_000));
    let folds = Folds { train: &train_fold, validation: &validation };
    let config = common::config(2);
    let parent = train(&config, &train_fold, &validation, &mut Silent).unwrap();
    let tuned = finetune(&parent.bytes, &config, folds, Keep::default(), &mut Silent).unwrap();
    let fresh = retrain(&parent.bytes, &config, folds, Keep::default(), &mut Silent).unwrap();
    let rows = &validation.sequences[0].features;
    for (name, candidate) in [("parent", &parent), ("fine-tuned", &tuned), ("retrained", &fresh)] {
        let model = Model::load(&candidate.bytes).unwrap();
        let expected = if name == "parent" { None } else { Some(parent.sha256().to_owned()) };
        assert_eq!((&model.meta().parent, &candidate.manifest.parent), (&expected, &expected));
        let report = parity(&candidate.bytes, rows).unwrap();
        eprintln!("{name}: {report:#?}");
        assert!(report.per_step.max() <= 1e-5, "{name}: {report:#?}");
        assert!(report.carried.max() <= 1e-3, "{name}: {report:#?}");
    }
    assert_eq!(tuned.manifest.config.optimizer.learning_rate, peregrine_train::FINETUNE_LEARNING_RATE);
    let (a, b) = (Model::load(&parent.bytes).unwrap(), Model::load(&tuned.bytes).unwrap());
    assert_eq!(a.meta().features, b.meta().features);
    assert_eq!(a.meta().regimes, b.meta().regimes);
    // So small a learning rate moves the losses little; a wrong unit of a head would move them much.
    let loss = |candidate: &peregrine_train::Candidate| candidate.manifest.metrics["validation.total"];
    assert!((loss(&parent) - loss(&tuned)).abs() < 0.02, "{} {}", loss(&parent), loss(&tuned));
}

#[test]
fn a_state_dict_goes_out_and_comes_back() {
    let data = common::dataset(12, 1, 400);
    let world = train(&common::config(1), &data, &data, &mut Silent).unwrap();
    let lstm = train(&lstm_config(), &data, &data, &mut Silent).unwrap();
    let out = export_state_dict(&world.bytes).unwrap();
    let back = import_state_dict(&out, &world.bytes).unwrap();
    assert_eq!(export_state_dict(&back).unwrap(), out);
    let (own, returned) = (Model::load(&world.bytes).unwrap(), Model::load(&back).unwrap());
    assert_eq!(returned.meta().parent.as_deref(), Some(world.sha256()));
    assert_eq!(returned.meta().training_data_sha256, own.meta().training_data_sha256);
    // Other weights were trained elsewhere: what the template says of its training does not hold for them.
    let other = train(&common::config(2), &data, &data, &mut Silent).unwrap();
    let foreign = import_state_dict(&export_state_dict(&other.bytes).unwrap(), &world.bytes).unwrap();
    let foreign = Model::load(&foreign).unwrap();
    assert_eq!(foreign.meta().training_data_sha256.as_deref(), Some(UNKNOWN_SHA256));
    assert_eq!(foreign.meta().hyper_parameters.keys().collect::<Vec<_>>(), ["imported.state_dict_sha256"]);
    let out = export_state_dict(&lstm.bytes).unwrap();
    assert_eq!(import_state_dict(&out, &lstm.bytes).unwrap(), lstm.bytes);
    assert!(matches!(import_state_dict(&out, &world.bytes), Err(TrainError::Model(_))));
}

#[test]
fn torch_trains_the_lstm_and_its_export_loads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lstm.safetensors");
    let python = std::env::var("PEREGRINE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = root().join("scripts/train_lstm_torch.py");
    let run =
        std::process::Command::new(&python).arg(script).arg(&file).args(["--rows", "600", "--epochs", "1"]).output();
    let Ok(run) = run else {
        eprintln!("skipped: no {python}");
        return;
    };
    if run.status.code() == Some(3) {
        eprintln!("{}", String::from_utf8_lossy(&run.stderr).trim());
        return;
    }
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let baseline = LstmBaseline::load(&std::fs::read(&file).unwrap()).unwrap();
    let check = std::fs::read_to_string(folder.path().join("lstm.safetensors.check.json")).unwrap();
    let check: serde_json::Value = serde_json::from_str(&check).unwrap();
    let window: Vec<f32> = check["window"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect();
    let found = baseline.probability(&Kernel::new(Backend::best()).unwrap(), &window).unwrap();
    let expected = check["probability"].as_f64().unwrap();
    assert!((f64::from(found) - expected).abs() < 2e-6, "{found}, torch {expected}");
    eprintln!("torch's LSTM: {found} and {expected}");
}

//! `peregrine-lab train`, `finetune`, `retrain`: from a dataset to an artefact, each run a line in the trial ledger.

use std::path::{Path, PathBuf};

use peregrine_node::commands::{note, print, print_json};
use peregrine_node::exit::{Exit, Failure};
use peregrine_runtime::StopFlag;
use peregrine_train::{Candidate, Keep, Kind, Ledger, TrainConfig, configurations, finetune, retrain};
use serde_json::json;

use crate::cli::{ParentArgs, RunArgs, TrainArgs};
use crate::commands::{not_trained, read};
use crate::fold::{Folds, folds};
use crate::progress::Screen;

/// How a candidate comes from its parent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tuning {
    /// Small steps from the parent's weights.
    Finetune,
    /// Anew.
    Retrain,
}

impl Tuning {
    fn name(self) -> &'static str {
        match self {
            Self::Finetune => "finetuned",
            Self::Retrain => "retrained",
        }
    }
}

pub(super) fn run(args: &TrainArgs, interrupted: &StopFlag) -> Result<Exit, Failure> {
    let configs = profile(&args.config)?;
    let folds = folds(&args.fold)?;
    for (index, config) in configs.iter().enumerate() {
        if configs.len() > 1 {
            note(format_args!("run {} of {}", index + 1, configs.len()));
        }
        let run = Run::new(&args.run, &stem(&args.config), config);
        let candidate = run.train(&folds, interrupted)?;
        run.conclude(&candidate)?;
    }
    Ok(Exit::Done)
}

pub(super) fn tune(args: &ParentArgs, tuning: Tuning, interrupted: &StopFlag) -> Result<Exit, Failure> {
    let configs = profile(&args.config)?;
    let [config] = configs.as_slice() else {
        return Err(Failure::usage(format_args!(
            "{}: a candidate comes from one configuration, not from a search: take the [search] section out",
            args.config.display()
        )));
    };
    let parent = read(&args.model)?;
    let folds = folds(&args.fold)?;
    let name = format!("{}-{}", stem(&args.model), tuning.name());
    let run = Run::new(&args.run, &name, config);
    let candidate = run.tune(&parent, tuning, &folds, interrupted)?;
    run.conclude(&candidate)?;
    Ok(Exit::Done)
}

/// Every configuration of a profile.
pub(super) fn profile(path: &Path) -> Result<Vec<TrainConfig>, Failure> {
    let text = read(path)?;
    let text = String::from_utf8(text)
        .map_err(|error| Failure::usage(format_args!("{} is not UTF-8 text: {error}", path.display())))?;
    configurations(&text).map_err(|error| Failure::usage(format_args!("{}: {error}", path.display())))
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "model".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// One run: its configuration and where its files lie.
pub(super) struct Run<'a> {
    args: &'a RunArgs,
    config: &'a TrainConfig,
    /// Without an ending.
    base: PathBuf,
}

impl<'a> Run<'a> {
    pub(super) fn new(args: &'a RunArgs, name: &str, config: &'a TrainConfig) -> Self {
        let short: String = config.sha256().chars().take(8).collect();
        Self::named(args, &format!("{name}-{short}"), config)
    }

    /// A run whose files bear this very name.
    pub(super) fn named(args: &'a RunArgs, name: &str, config: &'a TrainConfig) -> Self {
        Self { args, config, base: args.out.join(name) }
    }

    fn checkpoint(&self) -> PathBuf {
        self.ending("checkpoint")
    }

    /// The artefact's file.
    pub(super) fn artefact(&self) -> PathBuf {
        self.ending("safetensors")
    }

    /// The name may hold dots of its own.
    fn ending(&self, ending: &str) -> PathBuf {
        let mut path = self.base.clone().into_os_string();
        path.push(".");
        path.push(ending);
        path.into()
    }

    /// A fresh run has no checkpoint, a resumed one has.
    fn prepare(&self) -> Result<(), Failure> {
        let checkpoint = self.checkpoint();
        std::fs::create_dir_all(&self.args.out)
            .map_err(|error| Failure::file("create the folder", &self.args.out, &error, "set --out"))?;
        match (self.args.resume, checkpoint.exists()) {
            (true, false) => Err(Failure::usage(format_args!(
                "--resume: there is no checkpoint ({}): the run ended, or configuration or folder differ",
                checkpoint.display()
            ))),
            (false, true) => std::fs::remove_file(&checkpoint)
                .map_err(|error| Failure::file("remove the old checkpoint", &checkpoint, &error, "set --out")),
            (true, true) | (false, false) => Ok(()),
        }
    }

    fn ledger(&self) -> Result<Ledger, Failure> {
        Ledger::open(&self.args.ledger).map_err(not_trained)
    }

    pub(super) fn train(&self, folds: &Folds, interrupted: &StopFlag) -> Result<Candidate, Failure> {
        self.prepare()?;
        let mut screen = Screen::new(interrupted);
        self.ledger()?.run(self.config, folds.as_train(), Some(&self.checkpoint()), &mut screen).map_err(not_trained)
    }

    fn tune(&self, parent: &[u8], tuning: Tuning, folds: &Folds, interrupted: &StopFlag) -> Result<Candidate, Failure> {
        self.prepare()?;
        let (mut ledger, checkpoint) = (self.ledger()?, self.checkpoint());
        let keep = Keep { checkpoint: Some(&checkpoint), ledger: Some(&mut ledger) };
        let mut screen = Screen::new(interrupted);
        match tuning {
            Tuning::Finetune => finetune(parent, self.config, folds.as_train(), keep, &mut screen),
            Tuning::Retrain => retrain(parent, self.config, folds.as_train(), keep, &mut screen),
        }
        .map_err(not_trained)
    }

    /// Writes the artefact and takes the checkpoint away.
    pub(super) fn keep(&self, candidate: &Candidate) -> Result<(), Failure> {
        candidate.write(&self.artefact()).map_err(not_trained)?;
        let checkpoint = self.checkpoint();
        if checkpoint.exists() {
            std::fs::remove_file(&checkpoint)
                .map_err(|error| Failure::file("remove the checkpoint", &checkpoint, &error, "remove it by hand"))?;
        }
        Ok(())
    }

    /// Keeps the candidate and says where things are.
    pub(super) fn conclude(&self, candidate: &Candidate) -> Result<(), Failure> {
        self.keep(candidate)?;
        let (path, manifest) = (self.artefact(), &candidate.manifest);
        if self.args.json {
            return print_json(&json!({ "artefact": path, "manifest": manifest }));
        }
        let kind = match manifest.kind {
            Kind::WorldModel => "world model",
            Kind::Lstm => "LSTM baseline",
        };
        let mut text = format!(
            "{kind} of {} epochs in {:.1} s: {}\n  sha256 {}\n",
            manifest.epochs.len(),
            manifest.seconds,
            path.display(),
            manifest.sha256
        );
        for (name, value) in &manifest.metrics {
            text.push_str(&format!("  {name:<36} {value:.6}\n"));
        }
        print(&text)
    }
}

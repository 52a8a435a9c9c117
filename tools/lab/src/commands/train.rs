//! `peregrine-lab train`, `finetune`, `retrain`: from a dataset to an artefact, each run a line in the trial ledger.

use std::path::{Path, PathBuf};

use peregrine_dataset::digest_file;
use peregrine_node::commands::{note, print, print_json};
use peregrine_node::exit::{Exit, Failure};
use peregrine_train::{Candidate, Keep, Kind, Ledger, Manifest, TrainConfig, configurations, finetune, retrain};
use serde_json::{Value, json};

use crate::cli::{ParentArgs, RunArgs, TrainArgs};
use crate::commands::{not_trained, read};
use crate::fold::{Folds, folds, refused};
use crate::interrupt::Interrupt;
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

pub(super) fn run(args: &TrainArgs, interrupt: &Interrupt<'_>) -> Result<Exit, Failure> {
    let configs = profile(&args.config)?;
    let folds = folds(&args.fold)?;
    let name = stem(&args.config);
    let runs: Vec<Run<'_>> = configs.iter().map(|config| Run::new(&args.run, &name, config, (&folds, None))).collect();
    // Before anything is trained.
    runs.iter().try_for_each(|run| run.files.refuse_forgotten())?;
    match runs.as_slice() {
        [run] => run.train(interrupt).and_then(|candidate| run.files.say(&candidate)),
        runs => search(&args.run, runs, interrupt),
    }
}

/// Every run of a search. One that fails does not keep the others from being tried.
fn search(args: &RunArgs, runs: &[Run<'_>], interrupt: &Interrupt<'_>) -> Result<Exit, Failure> {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (number, run) in (1..).zip(runs) {
        note(format_args!("run {number} of {}", runs.len()));
        match run.train(interrupt) {
            Ok(candidate) if args.json => done.push(run.files.json(&candidate)),
            Ok(candidate) => print(&run.files.text(&candidate))?,
            // Stopped, or no place to write to: the others would fare no better.
            Err(failure) if matches!(failure.exit, Exit::Interrupted | Exit::Io) => return Err(failure),
            Err(failure) => {
                note(format_args!("run {number}: {failure}"));
                let (config, error) = (run.config.sha256(), failure.to_string());
                failed.push(json!({ "run": number, "config_sha256": config, "error": error }));
            }
        }
    }
    if args.json {
        print_json(&json!({ "runs": done, "failed": failed }))?;
    }
    match failed.len() {
        0 => Ok(Exit::Done),
        count => Err(Failure::no(format_args!(
            "{count} of {} runs failed, as said above; --resume trains them again and no other",
            runs.len()
        ))),
    }
}

pub(super) fn tune(args: &ParentArgs, tuning: Tuning, interrupt: &Interrupt<'_>) -> Result<Exit, Failure> {
    let (model, args) = (&args.model, &args.train);
    let configs = profile(&args.config)?;
    let [config] = configs.as_slice() else {
        return Err(Failure::usage(format_args!(
            "{}: a candidate comes from one configuration, not from a search: take the [search] section out",
            args.config.display()
        )));
    };
    let parent = Parent { bytes: read(model)?, sha256: digest_file(model).map_err(refused)?.sha256, tuning };
    let folds = folds(&args.fold)?;
    let stem = stem(model);
    let run = Run::new(&args.run, first_name(&stem), config, (&folds, Some(&parent)));
    run.files.refuse_forgotten()?;
    run.train(interrupt).and_then(|candidate| run.files.say(&candidate))
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

/// A candidate's name without what its own tuning appended, so that names do not grow from one generation to the next.
fn first_name(stem: &str) -> &str {
    let ends = [Tuning::Finetune, Tuning::Retrain].map(|tuning| stem.find(&format!("-{}-", tuning.name())));
    ends.into_iter().flatten().min().and_then(|end| stem.get(..end)).unwrap_or(stem)
}

fn short(sha256: &str) -> &str {
    sha256.get(..8).unwrap_or(sha256)
}

/// The model that a run comes from.
pub(super) struct Parent {
    bytes: Vec<u8>,
    sha256: String,
    tuning: Tuning,
}

/// One run: what is trained on what, and where its files lie.
pub(super) struct Run<'a> {
    pub(super) args: &'a RunArgs,
    pub(super) config: &'a TrainConfig,
    pub(super) folds: &'a Folds,
    pub(super) parent: Option<&'a Parent>,
    pub(super) files: Files<'a>,
}

impl<'a> Run<'a> {
    /// A run whose files bear the digests of all that makes them: configuration, both folds, parent.
    fn new(
        args: &'a RunArgs,
        name: &str,
        config: &'a TrainConfig,
        (folds, parent): (&'a Folds, Option<&'a Parent>),
    ) -> Self {
        let (train, validation) = (&folds.train.meta.sha256, &folds.validation.meta.sha256);
        let mut name = name.to_owned();
        if let Some(parent) = parent {
            name += &format!("-{}-{}", parent.tuning.name(), short(&parent.sha256));
        }
        name += &format!("-{}-{}-{}", short(&config.sha256()), short(train), short(validation));
        Self { args, config, folds, parent, files: Files::new(args, name) }
    }

    /// The candidate: trained, or read where `--resume` finds it finished. Its files are in their place.
    pub(super) fn train(&self, interrupt: &Interrupt<'_>) -> Result<Candidate, Failure> {
        let (artefact, checkpoint) = (&self.files.artefact, &self.files.checkpoint);
        if self.args.resume {
            if let Some(candidate) = self.finished() {
                note(format_args!("finished before: {}", artefact.display()));
                return Ok(candidate);
            }
            if !checkpoint.exists() {
                note(format_args!("no checkpoint ({}): the run begins", checkpoint.display()));
            }
        }
        interrupt.check()?;
        let mut ledger = Ledger::open(&self.args.ledger).map_err(not_trained)?;
        let (folds, mut screen) = (self.folds.as_train(), Screen::new(interrupt));
        let trained = match self.parent {
            None => ledger.run(self.config, folds, Some(checkpoint), &mut screen),
            Some(parent) => {
                let keep = Keep { checkpoint: Some(checkpoint), ledger: Some(&mut ledger) };
                match parent.tuning {
                    Tuning::Finetune => finetune(&parent.bytes, self.config, folds, keep, &mut screen),
                    Tuning::Retrain => retrain(&parent.bytes, self.config, folds, keep, &mut screen),
                }
            }
        };
        let candidate = trained.map_err(not_trained)?;
        candidate.write(artefact).map_err(not_trained)?;
        if checkpoint.exists() {
            std::fs::remove_file(checkpoint)
                .map_err(|error| Failure::file("remove the checkpoint", checkpoint, &error, "remove it by hand"))?;
        }
        Ok(candidate)
    }

    /// The candidate of this very run, where its files are there and belong together.
    fn finished(&self) -> Option<Candidate> {
        let manifest = std::fs::read(self.files.artefact.with_extension("manifest.json")).ok()?;
        let manifest: Manifest = serde_json::from_slice(&manifest).ok()?;
        let is_whole = digest_file(&self.files.artefact).is_ok_and(|file| file.sha256 == manifest.sha256);
        // Fine-tuning sets some keys by its own rules: there the digest in the file's name stands for the configuration.
        let is_own_config = self.parent.is_some_and(|parent| parent.tuning == Tuning::Finetune)
            || manifest.config_sha256 == self.config.sha256();
        let is_own = is_own_config
            && manifest.train_sha256 == self.folds.train.meta.sha256
            && manifest.validation_sha256 == self.folds.validation.meta.sha256
            && manifest.parent.as_ref() == self.parent.map(|parent| &parent.sha256);
        let bytes = std::fs::read(&self.files.artefact).ok().filter(|_| is_whole && is_own)?;
        Some(Candidate { bytes, manifest })
    }
}

/// Where the files of a run lie.
pub(super) struct Files<'a> {
    args: &'a RunArgs,
    pub(super) artefact: PathBuf,
    checkpoint: PathBuf,
}

impl<'a> Files<'a> {
    /// The files of this name.
    pub(super) fn new(args: &'a RunArgs, name: String) -> Self {
        let file = |ending: &str| args.out.join(format!("{name}.{ending}"));
        Self { args, artefact: file("safetensors"), checkpoint: file("checkpoint") }
    }

    /// A run that was interrupted is not thrown away because `--resume` was forgotten.
    pub(super) fn refuse_forgotten(&self) -> Result<(), Failure> {
        if self.args.resume || !self.checkpoint.exists() {
            return Ok(());
        }
        Err(Failure::usage(format_args!(
            "there is the checkpoint of an interrupted run: go on from it with --resume, or remove {}",
            self.checkpoint.display()
        )))
    }

    /// Says where things are.
    fn say(&self, candidate: &Candidate) -> Result<Exit, Failure> {
        if self.args.json {
            print_json(&self.json(candidate))?;
        } else {
            print(&self.text(candidate))?;
        }
        Ok(Exit::Done)
    }

    /// For machines.
    fn json(&self, candidate: &Candidate) -> Value {
        json!({ "artefact": self.artefact, "manifest": candidate.manifest })
    }

    /// For people.
    pub(super) fn text(&self, candidate: &Candidate) -> String {
        let manifest = &candidate.manifest;
        let kind = match manifest.kind {
            Kind::WorldModel => "world model",
            Kind::Lstm => "LSTM baseline",
        };
        let mut text = format!(
            "{kind} of {} epochs in {:.1} s: {}\n  sha256 {}\n",
            manifest.epochs.len(),
            manifest.seconds,
            self.artefact.display(),
            manifest.sha256
        );
        for (name, value) in &manifest.metrics {
            text.push_str(&format!("  {name:<36} {value:.6}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::first_name;

    #[test]
    fn names_do_not_grow_from_generation_to_generation() {
        assert_eq!(first_name("bars-12345678"), "bars-12345678");
        assert_eq!(first_name("bars-12345678-finetuned-9abcdef0-1"), "bars-12345678");
        assert_eq!(first_name("bars-12345678-retrained-9abcdef0-finetuned-1"), "bars-12345678");
    }
}

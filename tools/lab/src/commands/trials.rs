//! `peregrine-lab trials`: the ledger of every run, for the number of trials that a deflated Sharpe ratio needs.

use peregrine_node::commands::{print, print_json};
use peregrine_node::exit::{Exit, Failure};
use peregrine_train::{Ledger, Trial};

use crate::cli::TrialsArgs;
use crate::commands::not_trained;

pub(super) fn run(args: &TrialsArgs) -> Result<Exit, Failure> {
    if !args.ledger.exists() {
        return Err(Failure::usage(format_args!(
            "no trial ledger ({}): train something, or set --ledger",
            args.ledger.display()
        )));
    }
    let ledger = Ledger::open(&args.ledger).map_err(not_trained)?;
    let mut trials = ledger.trials().map_err(not_trained)?;
    let mut datasets = ledger.trials_by_dataset().map_err(not_trained)?;
    if let Some(data) = &args.data {
        let is_named = |sha256: &str| sha256.starts_with(data.as_str());
        trials.retain(|trial| is_named(&trial.sources_sha256) || is_named(&trial.train_sha256));
        datasets.retain(|dataset| trials.iter().any(|trial| trial.sources_sha256 == dataset.sources_sha256));
    }
    if args.json {
        print_json(&serde_json::json!({ "datasets": datasets, "trials": trials }))?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for dataset in &datasets {
        text.push_str(&format!(
            "data {} · {} trials, {} of them finished\n",
            short(&dataset.sources_sha256),
            dataset.trials,
            dataset.finished
        ));
        for trial in trials.iter().filter(|trial| trial.sources_sha256 == dataset.sources_sha256) {
            text.push_str(&line(trial));
        }
    }
    if text.is_empty() {
        text.push_str("no trial on this data\n");
    }
    print(&text)?;
    Ok(Exit::Done)
}

fn short(hex: &str) -> String {
    hex.chars().take(12).collect()
}

fn line(trial: &Trial) -> String {
    let artefact = trial.artefact_sha256.as_deref().map_or_else(|| "–".to_owned(), short);
    format!(
        "  {} {:<11} config {} seed {} artefact {artefact}{}\n",
        trial.started_at,
        trial.status.name(),
        short(&trial.config_sha256),
        trial.seed,
        trial.error.as_deref().map_or_else(String::new, |error| format!(" ({error})"))
    )
}

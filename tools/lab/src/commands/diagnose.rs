//! `peregrine-lab diagnose`: a model judged on training and held-out data, as a page, as JSON and as a table.

use std::path::Path;

use peregrine_dataset::Dataset;
use peregrine_node::commands::{note, print};
use peregrine_node::exit::{Exit, Failure};
use peregrine_validate::{Candidate, DiagnoseSettings, Diagnosis, Outcome, ValidateError, diagnose_candidate};

use crate::cli::DiagnoseArgs;
use crate::commands::{read, write};
use crate::fold::{moment, open, purge_rows, refused, time};

pub(super) fn run(args: &DiagnoseArgs) -> Result<Exit, Failure> {
    let settings = settings(&args.config)?;
    let (model, lstm) = (read(&args.model)?, args.lstm.as_deref().map(read).transpose()?);
    let (training, held_out) = folds(args)?;
    let name = args.model.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy());
    let candidate = Candidate { name: &name, model: &model, lstm: lstm.as_deref() };
    let diagnosis = diagnose_candidate(&candidate, &training, &held_out, &settings).map_err(not_judged)?;
    let text = keep(&diagnosis, &args.out)?;
    print(if args.json { &text.json } else { &text.table })?;
    Ok(exit_of(&diagnosis))
}

/// Reads thresholds and sample sizes.
pub(super) fn settings(path: &Path) -> Result<DiagnoseSettings, Failure> {
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    DiagnoseSettings::from_toml(&text).map_err(|error| Failure::usage(format_args!("{}: {error}", path.display())))
}

/// Model and data that do not belong together.
pub(super) fn not_judged(error: ValidateError) -> Failure {
    Failure::usage(error)
}

fn folds(args: &DiagnoseArgs) -> Result<(Dataset, Dataset), Failure> {
    let mut data = open(&args.data)?;
    let purge = purge_rows(&data);
    if args.from.is_some() || args.until.is_some() {
        let from = args.from.as_deref().map_or(Ok(i64::MIN), |text| moment("--from", text))?;
        let until = args.until.as_deref().map_or(Ok(i64::MAX), |text| moment("--until", text))?;
        data = data.window(from, until, purge).map_err(refused)?;
    }
    let cut = moment("--held-out-from", &args.held_out_from)?;
    let train_until = args.train_until.as_deref().map(|text| moment("--train-until", text)).transpose()?;
    if train_until.is_some_and(|train_until| train_until > cut) {
        return Err(Failure::usage(
            "--train-until is later than --held-out-from: rows of the training would be held out",
        ));
    }
    let (before, held_out) = data.split_at(cut, purge).map_err(refused)?;
    let training = match train_until {
        Some(train_until) => before.window(i64::MIN, train_until, purge).map_err(refused)?,
        None => before,
    };
    note(format_args!(
        "{} rows as training data (… {}), {} held out (from {})",
        training.rows(),
        time(train_until.unwrap_or(cut)),
        held_out.rows(),
        time(cut)
    ));
    Ok((training, held_out))
}

/// What a diagnosis says, for machines and for people.
pub(super) struct Said {
    pub(super) json: String,
    pub(super) table: String,
}

/// Writes the page and the JSON into `out`.
pub(super) fn keep(diagnosis: &Diagnosis, out: &Path) -> Result<Said, Failure> {
    let page = diagnosis.to_html().map_err(not_judged)?;
    let (html_path, json_path) = (out.join("diagnosis.html"), out.join("diagnosis.json"));
    write(&html_path, page.as_bytes())?;
    let json = diagnosis.to_json();
    write(&json_path, json.as_bytes())?;
    let mut table = String::new();
    for check in &diagnosis.checks {
        table.push_str(&format!("{:<5} {}: {}\n", check.outcome.name(), check.id, check.reason));
    }
    let (verdict, html, file) = (diagnosis.verdict.name(), html_path.display(), json_path.display());
    table.push_str(&format!("\nverdict: {verdict}\n{html}\n{file}\n"));
    Ok(Said { json, table })
}

/// The answer of a diagnosis.
pub(super) fn exit_of(diagnosis: &Diagnosis) -> Exit {
    if diagnosis.verdict == Outcome::Fail { Exit::No } else { Exit::Done }
}

//! `peregrine-lab dataset`: from files of the market to rows that a model sees.

use std::path::Path;

use peregrine_dataset::Manifest;
use peregrine_dataset::bars::{self, BarInputs, BarsConfig};
use peregrine_dataset::ticks::{self, TickInputs, TicksConfig};
use peregrine_node::commands::{print, print_json};
use peregrine_node::exit::{Exit, Failure};

use crate::cli::{BarsArgs, DatasetCommand, TicksArgs};
use crate::fold::{refused, time};

pub(super) fn run(command: &DatasetCommand) -> Result<Exit, Failure> {
    match command {
        DatasetCommand::Ticks(args) => of_ticks(args),
        DatasetCommand::Bars(args) => of_bars(args),
        DatasetCommand::Show { dataset, json } => {
            let manifest = Manifest::read(dataset).map_err(refused)?;
            show(&manifest, dataset, *json)
        }
    }
}

fn of_ticks(args: &TicksArgs) -> Result<Exit, Failure> {
    let config = TicksConfig::load(&args.config).map_err(refused)?;
    let date = args.date.as_deref().map(|text| text.parse()).transpose();
    let date = date.map_err(|error| Failure::usage(format_args!("--date: {error}; write it as 2026-01-05")))?;
    let inputs = TickInputs { files: args.files.clone(), date };
    folder(&args.out)?;
    let manifest = ticks::build_file(&inputs, &config, &args.out).map_err(refused)?;
    show(&manifest, &args.out, args.json)
}

fn of_bars(args: &BarsArgs) -> Result<Exit, Failure> {
    let config = BarsConfig::load(&args.config).map_err(refused)?;
    let inputs = BarInputs { files: args.files.clone(), vix: args.vix.clone(), yields: args.yields.clone() };
    folder(&args.out)?;
    let manifest = bars::build_file(&inputs, &config, &args.out).map_err(refused)?;
    show(&manifest, &args.out, args.json)
}

/// Makes the folder that a file is to lie in.
pub(super) fn folder(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), std::fs::create_dir_all).map_err(|error| {
        Failure::file("create the folder", folder.unwrap_or(path), &error, "name a place that can be written")
    })
}

/// Says what a dataset holds.
fn show(manifest: &Manifest, path: &Path, json: bool) -> Result<Exit, Failure> {
    if json {
        let value = serde_json::to_value(manifest).map_err(Failure::io)?;
        print_json(&value)?;
        return Ok(Exit::Done);
    }
    let meta = &manifest.meta;
    let range = manifest
        .time_range_ns
        .map_or_else(|| "no row".to_owned(), |(first, last)| format!("{} … {}", time(first), time(last)));
    let mut text = format!(
        "{}\n  {} rows in {} sequences, {range}\n  {} features, definition {}\n  sha256 {}\n",
        path.display(),
        manifest.rows,
        manifest.sequences,
        meta.features.len(),
        meta.feature_hash,
        meta.sha256
    );
    for source in &meta.sources {
        text.push_str(&format!("  from {} ({} bytes, sha256 {})\n", source.name, source.bytes, source.sha256));
    }
    for (reason, finding) in &manifest.integrity.findings {
        text.push_str(&format!(
            "  integrity: {} {:?}: {} rows, first {}\n",
            reason.code(),
            finding.action,
            finding.rows,
            finding.first
        ));
    }
    print(&text)?;
    Ok(Exit::Done)
}

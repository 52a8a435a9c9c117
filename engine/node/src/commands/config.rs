//! `peregrine config check` and `peregrine config print`.

use serde_json::json;

use crate::cli::{ConfigArgs, ConfigCommand};
use crate::commands::{load_profile, print, print_json};
use crate::config::{ConfigError, KeyDoc, Loaded, SECTIONS, schema_text};
use crate::exit::{Exit, Failure};
use crate::run::{LatencyFile, hex};

pub(super) fn run(command: &ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Check(args) | ConfigCommand::Print(args) if args.schema => schema(args.json)?,
        ConfigCommand::Check(args) if args.json => return check_json(args),
        ConfigCommand::Check(args) => check(args)?,
        ConfigCommand::Print(args) => {
            let loaded = load_profile(&args.config, &args.set)?;
            if args.json { print_json(&values(&loaded))? } else { print(&loaded.print())? }
        }
    }
    Ok(Exit::Done)
}

fn schema(is_json: bool) -> Result<(), Failure> {
    if !is_json {
        return print(&schema_text());
    }
    let key = |key: &KeyDoc| json!({"key": key.key, "doc": key.doc.trim(), "type": key.kind, "bound": key.bound});
    let sections = SECTIONS.iter().map(|(name, keys)| ((*name).to_owned(), keys.iter().map(key).collect()));
    print_json(&serde_json::Value::Object(sections.collect()))
}

fn check(args: &ConfigArgs) -> Result<(), Failure> {
    let loaded = load_profile(&args.config, &args.set)?;
    LatencyFile::of(&loaded)?;
    print(&format!("{}: sound, effective SHA-256 {}\n", args.config.display(), hex(&loaded.config.sha256())))
}

/// The answer for machines: violations are part of it, not of standard error.
fn check_json(args: &ConfigArgs) -> Result<Exit, Failure> {
    let file = args.config.display().to_string();
    match Loaded::read(&args.config, &args.set).and_then(|loaded| LatencyFile::of(&loaded).map(|_| loaded)) {
        Ok(loaded) => {
            let sha256 = hex(&loaded.config.sha256());
            print_json(&json!({"file": file, "is_sound": true, "sha256": sha256, "violations": []}))?;
            Ok(Exit::Done)
        }
        Err(ConfigError::Violations(list)) => {
            let list: Vec<_> = list
                .iter()
                .map(|v| json!({"key": v.key, "file": v.file.display().to_string(), "line": v.line, "what": v.what}))
                .collect();
            print_json(&json!({"file": file, "is_sound": false, "sha256": null, "violations": list}))?;
            Ok(Exit::Usage)
        }
        Err(error @ (ConfigError::Read { .. } | ConfigError::Syntax { .. })) => Err(error.into()),
    }
}

/// Every key with its value and where that came from.
fn values(loaded: &Loaded) -> serde_json::Value {
    let table: toml::Table = loaded.config.canonical().parse().unwrap_or_default();
    let sections = table.into_iter().map(|(section, keys)| {
        let keys = keys.as_table().cloned().unwrap_or_default().into_iter().map(|(key, value)| {
            let entry = json!({"value": value, "origin": loaded.origin(&section, &key)});
            (key, entry)
        });
        (section.clone(), serde_json::Value::Object(keys.collect()))
    });
    serde_json::Value::Object(sections.collect())
}

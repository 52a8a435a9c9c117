//! Every `peregrine` line of the README is a command line that the program takes.

use std::fs;
use std::path::Path;

use clap::Parser;
use peregrine_node::cli::Cli;

#[test]
fn the_readme_names_commands_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join("README.md")).unwrap();
    let mut checked = 0;
    for line in text.lines() {
        let command = line.split('#').next().unwrap_or_default().trim();
        let words = match command.strip_prefix("cargo run --release -- ") {
            Some(words) => format!("peregrine {words}"),
            None if command.starts_with("peregrine ") => command.to_owned(),
            None => continue,
        };
        if let Err(error) = Cli::try_parse_from(words.split_whitespace()) {
            panic!("`{words}` in the README: {error}");
        }
        checked += 1;
    }
    assert!(checked >= 12, "only {checked} command lines were found");
}

#[test]
fn every_file_and_folder_that_the_readme_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join("README.md")).unwrap();
    let quoted = text.split('`').skip(1).step_by(2);
    let folders = ["engine/", "feeds/", "strategy/", "risk/", "tools/", "benches/", "configs/", "docs/", "scripts/"];
    for path in quoted.filter(|path| folders.iter().any(|folder| path.starts_with(folder)) && !path.contains(' ')) {
        assert!(root.join(path).exists(), "the README names {path}, which is not there");
    }
}

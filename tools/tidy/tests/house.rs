//! The house rules hold for every file of the project, and each rule is seen to bite.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use peregrine_tidy::{Source, floor_violations, root, size_violations, sources, unsafe_violations, word_violations};

fn none(violations: Vec<String>) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

fn all(rule: fn(&Source) -> Vec<String>) -> Vec<String> {
    sources().unwrap().iter().flat_map(rule).collect()
}

fn made(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn no_edge_runs_up_or_sideways() {
    none(floor_violations().unwrap());
}

#[test]
fn no_file_or_function_is_too_long() {
    none(all(size_violations));
    let long = format!("fn long() {{\n{}}}\n", "    work();\n".repeat(60));
    assert_eq!(size_violations(&made("risk/src/long.rs", &long)).len(), 1);
    assert_eq!(size_violations(&made("tools/tidy/src/long.rs", &long)).len(), 0);
    let tested = format!("#[cfg(test)]\nmod tests {{\n{long}{}}}\n", "// more\n".repeat(700));
    assert_eq!(size_violations(&made("risk/src/tested.rs", &tested)).len(), 0);
}

#[test]
fn unsafe_code_stays_in_its_crates() {
    none(all(unsafe_violations));
    let opened = concat!("#[expect(unsafe", "_code, reason = \"\")]");
    assert_eq!(unsafe_violations(&made("risk/src/lib.rs", opened)).len(), 1);
    assert_eq!(unsafe_violations(&made("engine/runtime/src/lib.rs", opened)).len(), 0);
}

#[test]
fn no_banned_word_is_used() {
    none(all(word_violations));
    assert_eq!(word_violations(&made("risk/src/lib.rs", concat!("to", "do!()"))).len(), 1);
}

#[test]
fn the_top_folder_holds_the_house_and_nothing_else() {
    let known = [
        "ARCHITECTURE.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "benches",
        "clippy.toml",
        "configs",
        "docs",
        "engine",
        "feeds",
        "risk",
        "rust-toolchain.toml",
        "rustfmt.toml",
        "scripts",
        "strategy",
        "tools",
    ];
    let output = std::process::Command::new("git").args(["ls-files"]).current_dir(root()).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    for path in list.lines() {
        let top = path.split('/').next().unwrap();
        assert!(known.contains(&top) || top.starts_with('.'), "{top} is not part of the house");
    }
}

/// A control whose line was edited away breaks nothing and proves nothing.
#[test]
fn every_negative_control_finds_its_line() {
    let table = std::fs::read_to_string(root().join("scripts/negative_controls.tsv")).unwrap();
    let mut stale = Vec::new();
    for (number, line) in (1..).zip(table.lines()) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [_, file, from, to, what] = columns[..] else {
            stale.push(format!("scripts/negative_controls.tsv:{number}: {} columns, not 5", columns.len()));
            continue;
        };
        assert!(!what.is_empty() && from != to, "line {number}");
        let times = std::fs::read_to_string(root().join(file)).unwrap_or_default().matches(from).count();
        if times != 1 {
            stale.push(format!("scripts/negative_controls.tsv:{number}: found {times} times in {file}: {from}"));
        }
    }
    none(stale);
}

//! `peregrine-lab convert` as a user types it: exit status, manifest, what is left behind, and the way back.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const LAB: &str = env!("CARGO_BIN_EXE_peregrine-lab");
const ROWS: &str = "34200.1,1,100,10,5000000,1\n34200.2,1,101,7,5001000,-1\n34200.3,4,101,2,5001000,-1\n";

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, words: &str) -> Output {
        Command::new(LAB).current_dir(self.0.path()).args(words.split_whitespace()).output().unwrap()
    }

    /// Runs a command that must end with `status`; what it said on standard output and error.
    fn ends(&self, words: &str, status: i32) -> (String, String) {
        let output = self.run(words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{words}: {said}");
        (String::from_utf8(output.stdout).unwrap(), said)
    }
}

#[test]
fn a_file_becomes_a_session_with_its_manifest_and_dbn_and_the_same_session_again() {
    let folder = Folder::new();
    folder.write("ACME_2026-01-05_message.csv", ROWS);
    let (text, said) = folder.ends("convert ACME_2026-01-05_message.csv --out out/acme-20260105.itch50", 0);
    assert!(text.contains("session of 2026-01-05") && text.ends_with("  sound\n") && said.is_empty(), "{text}{said}");
    let manifest = std::fs::read_to_string(folder.path("out/acme-20260105.itch50.manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["sources"][0]["name"], "ACME_2026-01-05_message.csv");
    assert_eq!(manifest["conversion"]["messages"]["A"], 2);
    assert_eq!(manifest["conversion"]["symbols"][0]["symbol"], "ACME");
    assert_eq!(manifest["output"]["bytes"], std::fs::metadata(folder.path("out/acme-20260105.itch50")).unwrap().len());

    let (text, _) = folder.ends("convert out/acme-20260105.itch50 --to dbn --out acme.mbo.dbn --json", 0);
    let dbn: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(dbn["conversion"]["instruments"]["1"], "ACME");
    let (_, said) = folder.ends("convert acme.mbo.dbn --out again.itch50", 0);
    assert!(said.contains("--date 2026-01-05"), "{said}");
    let bytes = |name| std::fs::read(folder.path(name)).unwrap();
    assert_eq!(bytes("out/acme-20260105.itch50").len(), bytes("again.itch50").len());
}

#[test]
fn the_exit_status_says_what_became_of_it() {
    let folder = Folder::new();
    folder.write("ACME_2026-01-05.csv", &format!("{ROWS}nonsense\n"));
    let (text, _) = folder.ends("convert ACME_2026-01-05.csv --out day-20260106.itch50", 1);
    assert!(text.contains("! dropped   1 × a row that is not what the format says; first line 4"), "{text}");
    let (_, said) = folder.ends("convert ACME_2026-01-05.csv --out strict.itch50 --strict", 1);
    assert!(said.contains("line 4") && !folder.path("strict.itch50").exists(), "{said}");
    assert!(!folder.path("strict.itch50.partial").exists());

    folder.write("ACME.csv", ROWS);
    let usage = [
        ("convert ACME.csv --out a.itch50", "--date"),
        ("convert ACME.csv --out a.itch50 --date tomorrow", "--date"),
        ("convert ACME.csv --out a.itch50 --date 2026-01-05 --zone Mars/Base", "Mars/Base"),
        ("convert ACME.csv --out a.itch50 --date 2026-01-05 --price-scale 3", "--price-scale"),
        ("convert ACME.csv --out a.itch50 --date 2026-01-05 --price-scale 100000", "line 1"),
        ("convert ACME.csv --out a.itch50 --date 2026-01-05 --lot 2", "--lot"),
        ("convert ACME.csv ACME.csv --out a.itch50", "one at a time"),
        ("convert ACME.csv --out a.dbn --to dbn --strict", "--strict"),
        ("convert day-20260106.itch50 --out a.dbn.zst --to dbn", ".dbn"),
        ("convert ACME.csv --out a.itch50 --date 2026-01-05 --schema mbp-10", "--to dbn"),
    ];
    for (words, needle) in usage {
        let (_, said) = folder.ends(words, 2);
        assert!(said.contains(needle), "{words}: {said}");
    }
    folder.write("other", "what is this?\n");
    for words in
        ["convert other --out a.itch50", "convert nowhere --out a.itch50", "convert other --to dbn --out a.dbn"]
    {
        folder.ends(words, 3);
    }
    assert!(!folder.path("a.itch50").exists() && !folder.path("a.dbn").exists());
}

const SCHEMAS: [&str; 9] =
    ["mbo", "mbp-1", "mbp-10", "tbbo", "trades", "definition", "status", "statistics", "imbalance"];

#[test]
fn a_session_becomes_dbn_of_every_schema_and_what_can_be_one_becomes_a_session_again() {
    let folder = Folder::new();
    folder.write("ACME_2026-01-05_message.csv", ROWS);
    folder.ends("convert ACME_2026-01-05_message.csv --out acme-20260105.itch50", 0);
    for schema in SCHEMAS {
        let dbn = format!("acme.{schema}.dbn");
        let words = format!("convert acme-20260105.itch50 --to dbn --schema {schema} --out {dbn}");
        let (text, said) = folder.ends(&words, 0);
        assert!(text.contains(&format!("DBN, schema {schema},")) && text.ends_with("  sound\n"), "{text}{said}");
        let manifest = std::fs::read_to_string(folder.path(&format!("{dbn}.manifest.json"))).unwrap();
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(manifest["conversion"]["schema"], schema);
        let back = format!("convert {dbn} --out {schema}-20260105.itch50 --date 2026-01-05");
        if matches!(schema, "definition" | "statistics") {
            let (_, said) = folder.ends(&back, 2);
            assert!(said.contains("no session can be made") && said.contains(schema), "{said}");
            assert!(!folder.path(&format!("{schema}-20260105.itch50")).exists());
        } else {
            let (text, _) = folder.ends(&back, 0);
            assert!(text.ends_with("  sound\n"), "{text}");
        }
    }
    let rows = |name: &str| {
        let manifest = std::fs::read_to_string(folder.path(&format!("{name}-20260105.itch50.manifest.json"))).unwrap();
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        manifest["conversion"]["messages"].clone()
    };
    // Two orders and an execution: two levels, and of the execution a print and a smaller level.
    assert_eq!((&rows("mbp-10")["A"], &rows("mbp-10")["P"], &rows("mbp-10")["X"]), (&2.into(), &1.into(), &1.into()));
    assert_eq!((&rows("trades")["P"], &rows("status")["H"]), (&1.into(), &2.into()));
    let (_, said) = folder.ends("convert acme-20260105.itch50 --to dbn --schema ohlcv-1s --out a.dbn", 2);
    assert!(SCHEMAS.iter().all(|schema| said.contains(schema)), "{said}");
}

//! The commands as a user types them, over small generated data: exit status, one JSON document, resuming, folds.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helpers fail as it does")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const LAB: &str = env!("CARGO_BIN_EXE_peregrine-lab");
/// Sixteen features that need no context and at most sixty bars.
const FEATURES: &str = r#"features = ["ret_1", "ret_5", "ret_20", "vol_ratio", "momentum_norm", "volume_z", "range_norm",
    "sma_spread", "ret_60", "volatility_20", "volatility_60", "drawdown_60", "parkinson_20", "open_gap", "close_location",
    "volume_trend"]"#;

fn config(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/train").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// A profile with other values for some keys, each of which must be there.
fn with(text: &str, changes: &[(&str, &str)]) -> String {
    let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    for (key, value) in changes {
        let line = lines.iter_mut().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
        *line = format!("{key} = {value}");
    }
    lines.join("\n") + "\n"
}

/// A folder with files of bars and profiles, in which the program runs.
struct Lab {
    folder: TempDir,
}

impl Lab {
    /// Two instruments with 700 daily bars each, from 2001-01-02 on.
    fn new() -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap() };
        let mut chance = 7_u32;
        for name in ["acme", "beta"] {
            let (mut day, mut close) = (jiff::civil::date(2001, 1, 1), 50.0);
            let mut text = String::from("date,open,high,low,close,volume\n");
            for _ in 0..700 {
                day = day.tomorrow().unwrap();
                while matches!(day.weekday(), jiff::civil::Weekday::Saturday | jiff::civil::Weekday::Sunday) {
                    day = day.tomorrow().unwrap();
                }
                let mut uniform = || {
                    chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    f64::from(chance >> 8) / f64::from(1 << 24) - 0.5
                };
                let open = close * (1.0 + 0.004 * uniform());
                close *= 1.0 + 0.03 * (uniform() + uniform());
                let (high, low) = (open.max(close) * 1.004, open.min(close) * 0.996);
                text += &format!("{day},{open},{high},{low},{close},{:.0}\n", 2_000.0 * (1.0 + uniform()));
            }
            lab.write(&format!("{name}.csv"), &text);
        }
        let bars = config("dataset-bars.toml");
        let (before, rest) = bars.split_once("features = [").unwrap();
        let (_, after) = rest.split_once("]\n").unwrap();
        lab.write("dataset.toml", &format!("{before}{FEATURES}\n{after}"));
        lab.write("world.toml", &Self::world());
        lab
    }

    /// A world model of a few steps.
    fn world() -> String {
        let changes = [
            ("epochs_max", "2"),
            ("checkpoint_steps", "1"),
            ("lanes", "8"),
            ("chunk_rows", "16"),
            ("burn_in_rows", "8"),
            ("sample_rows", "400"),
            ("distill_steps", "20"),
            ("steps", "5"),
            ("batch", "16"),
            ("imagined_rows", "4"),
        ];
        with(&config("bars.toml"), &changes)
    }

    /// With the dataset of both files.
    fn with_data() -> Self {
        let lab = Self::new();
        let words = "dataset bars acme.csv beta.csv --config dataset.toml --out bars.parquet";
        assert_eq!(lab.run(words).status.code(), Some(0));
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(LAB);
        command.current_dir(self.folder.path()).args(words.split_whitespace());
        command
    }

    fn run(&self, words: &str) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs a command that must end with `status`, and gives what it said on standard error.
    fn ends(&self, words: &str, status: i32) -> String {
        let output = self.run(words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{words}: {said}");
        said
    }

    /// The one JSON document that a command prints, which must end with `status`.
    fn json(&self, words: &str, status: i32) -> Value {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{words}: {said}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            let text = String::from_utf8_lossy(&output.stdout);
            unreachable!("{words}: not one document: {error}: {text}")
        })
    }

    /// The files of the folder of models with this ending, sorted.
    fn models(&self, ending: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path("models")).into_iter().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.to_string_lossy().ends_with(ending));
        files.sort();
        files
    }

    fn trials(&self) -> Vec<String> {
        let trials = self.json("trials --ledger trials.sqlite --json", 0);
        trials["trials"].as_array().unwrap().iter().map(|trial| trial["status"].as_str().unwrap().to_owned()).collect()
    }
}

const KEPT: &str = "--out models --ledger trials.sqlite";
const FOLD: &str = "--data bars.parquet --train-until 2002-09-01 --until 2003-03-01";

/// Which artefact, and when it was made.
fn made(answer: &Value) -> [String; 3] {
    let manifest = &answer["manifest"];
    [&answer["artefact"], &manifest["sha256"], &manifest["finished_at"]].map(|text| text.as_str().unwrap().to_owned())
}

fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

/// The status of a process that must end within `seconds`; one that does not is killed.
fn ended(child: &mut Child, seconds: u64) -> Option<i32> {
    let limit = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < limit {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

#[test]
fn the_exit_status_says_what_kind_of_end_it_was() {
    let lab = Lab::with_data();
    lab.ends("--help", 0);
    for words in ["", "train", "train --config world.toml --data bars.parquet --resumee", "trials --ledger none.sqlite"]
    {
        lab.ends(words, 2);
    }
    let train = format!("train --config world.toml {KEPT}");
    let said = lab.ends(&format!("{train} --data bars.parquet --train-until yesterday"), 2);
    assert!(said.contains("--train-until yesterday: no date"), "{said}");
    let said = lab.ends(&format!("{train} --data bars.parquet --train-until 2050-01-01"), 2);
    assert!(said.contains("--train-until must lie between"), "{said}");
    lab.ends(&format!("{train} --data none.parquet"), 3);
    lab.write("odd.csv", "date,open,high,low,close,volume\n2001-01-02,1,1,1,one,1\n");
    let build = "dataset bars odd.csv --config dataset.toml --out bars.parquet";
    let said = lab.ends(build, 1);
    assert!(said.contains("unreadable_line") && said.contains("odd.csv, line 2"), "{said}");
    // What was refused left the dataset before it alone.
    assert_eq!(lab.json("dataset show bars.parquet --json", 0)["meta"]["sources"][0]["name"], "acme.csv");
}

#[test]
fn a_search_goes_on_behind_a_bad_run_and_resumes_what_is_missing() {
    let lab = Lab::with_data();
    let search =
        "\n[[search.list]]\nseed = 1\n[[search.list]]\n\"world.size\" = \"micro\"\n[[search.list]]\nseed = 2\n";
    lab.write("search.toml", &(Lab::world() + search));
    let words = format!("train --config search.toml {FOLD} {KEPT} --json");
    let answer = lab.json(&words, 1);
    assert_eq!((answer["runs"].as_array().unwrap().len(), answer["failed"].as_array().unwrap().len()), (2, 1));
    assert_eq!(answer["failed"][0]["run"], 2);
    assert!(answer["failed"][0]["error"].as_str().unwrap().contains("16 features"), "{answer}");
    assert_eq!((lab.models(".safetensors").len(), lab.models(".checkpoint").len()), (2, 0));
    let finished = |trials: &[String]| trials.iter().filter(|status| *status == "finished").count();
    assert_eq!(finished(&lab.trials()), 2);

    let resumed = lab.json(&format!("{words} --resume"), 1);
    let runs = |answer: &Value| answer["runs"].as_array().unwrap().iter().map(made).collect::<Vec<_>>();
    assert_eq!(runs(&resumed), runs(&answer), "what is finished is read, not trained again");
    assert_eq!(finished(&lab.trials()), 2);
    // One of them lost its artefact, another one is new.
    std::fs::remove_file(answer["runs"][0]["artefact"].as_str().map(|path| lab.path(path)).unwrap()).unwrap();
    lab.write("search.toml", &(Lab::world() + &search.replace("\"world.size\" = \"micro\"", "seed = 3")));
    let resumed = lab.json(&format!("{words} --resume"), 0);
    assert_eq!(resumed["runs"].as_array().unwrap().len(), 3);
    assert_eq!(resumed["runs"][0]["manifest"]["sha256"], answer["runs"][0]["manifest"]["sha256"], "one seed, one file");
    assert_eq!(finished(&lab.trials()), 4);
}

#[test]
fn ctrl_c_keeps_the_checkpoint_and_nothing_but_resume_or_a_person_takes_it_away() {
    let lab = Lab::with_data();
    lab.write("long.toml", &with(&Lab::world(), &[("epochs_max", "60"), ("patience", "60")]));
    let words = format!("train --config long.toml {FOLD} {KEPT}");
    let whole = lab.json(&format!("train --config long.toml {FOLD} --out whole --ledger other.sqlite --json"), 0);
    let mut child = lab.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while lab.models(".checkpoint").is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before its first checkpoint");
        std::thread::sleep(Duration::from_millis(1));
    }
    interrupt(&child);
    assert_eq!(ended(&mut child, 30), Some(130));
    assert_eq!((lab.models(".checkpoint").len(), lab.models(".safetensors").len()), (1, 0));
    let said = lab.ends(&words, 2);
    assert!(said.contains("--resume") && said.contains(".checkpoint"), "{said}");
    assert_eq!(lab.models(".checkpoint").len(), 1, "forgetting --resume throws nothing away");
    let resumed = lab.json(&format!("{words} --resume --json"), 0);
    assert_eq!(resumed["manifest"]["sha256"], whole["manifest"]["sha256"], "as if it had never stopped");
    assert_eq!((lab.models(".checkpoint").len(), lab.models(".safetensors").len()), (0, 1));
    assert_eq!(lab.trials(), ["finished"], "pausing does not make it two trials");
}

#[test]
fn ctrl_c_ends_a_command_that_does_not_train_at_once() {
    let lab = Lab::with_data();
    // A file that never ends to be opened.
    assert!(Command::new("mkfifo").arg(lab.path("pipe.csv")).status().unwrap().success());
    let words = "dataset bars pipe.csv --config dataset.toml --out bars.parquet";
    let mut child = lab.command(words).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none());
    interrupt(&child);
    assert_eq!(ended(&mut child, 5), Some(130));
    lab.ends("dataset show bars.parquet", 0);
}

#[test]
fn artefacts_of_other_data_and_other_parents_lie_beside_each_other() {
    let lab = Lab::with_data();
    let train = |words: &str| lab.json(&format!("{words} {KEPT} --json"), 0);
    let artefact = |answer: &Value| answer["artefact"].as_str().unwrap().to_owned();
    let first = train(&format!("train --config world.toml {FOLD}"));
    let later = train("train --config world.toml --data bars.parquet --train-until 2002-11-01 --until 2003-03-01");
    let shorter = train("train --config world.toml --data bars.parquet --train-until 2002-09-01 --until 2003-01-01");
    let week = |until: &str| format!("--config world.toml --data bars.parquet --from 2001-06-01 --until {until}");
    let tuned = train(&format!("finetune {} {}", artefact(&first), week("2003-02-01")));
    let tuned_later = train(&format!("finetune {} {}", artefact(&first), week("2003-02-08")));
    let of_other = train(&format!("finetune {} {}", artefact(&later), week("2003-02-08")));
    let retrained = train(&format!("retrain {} {}", artefact(&first), week("2003-02-08")));
    let grandchild = train(&format!("finetune {} {}", artefact(&tuned), week("2003-02-08")));
    let all = [&first, &later, &shorter, &tuned, &tuned_later, &of_other, &retrained, &grandchild];
    let names: std::collections::BTreeSet<String> = all.into_iter().map(artefact).collect();
    assert_eq!(names.len(), all.len(), "{names:?}");
    assert_eq!(lab.models(".safetensors").len(), all.len());
    assert_eq!(tuned["manifest"]["parent"], first["manifest"]["sha256"]);
    assert_eq!(artefact(&grandchild).len(), artefact(&tuned).len(), "names do not grow");
    // A candidate that is finished is not made again.
    let words = format!("finetune {} {} {KEPT} --resume --json", artefact(&first), week("2003-02-01"));
    assert_eq!(made(&lab.json(&words, 0)), made(&tuned));
    assert_eq!(lab.trials().len(), all.len());
}

#[test]
fn windows_wider_than_the_data_are_cut_inside_the_data() {
    let lab = Lab::with_data();
    let words = "train --config world.toml --data bars.parquet --from 1990-01-01 --until 2100-01-01";
    let wide = lab.json(&format!("{words} {KEPT} --json"), 0);
    let words = "train --config world.toml --data bars.parquet --out plain --ledger trials.sqlite --json";
    let plain = lab.json(words, 0);
    assert_eq!(wide["manifest"]["train_sha256"], plain["manifest"]["train_sha256"]);
    assert_eq!(wide["manifest"]["validation_sha256"], plain["manifest"]["validation_sha256"]);
}

#[test]
fn a_diagnosis_sees_the_split_that_was_trained() {
    let lab = Lab::with_data();
    let trained = lab.json(&format!("train --config world.toml {FOLD} {KEPT} --json"), 0);
    let model = trained["artefact"].as_str().unwrap();
    lab.write("diagnose.toml", &with(&config("diagnose.toml"), &[("bootstrap_draws", "100"), ("rows", "200")]));
    let outcome = |words: &str, id: &str| {
        let words = format!("diagnose {model} --data bars.parquet --config diagnose.toml --json {words}");
        let output = lab.run(&words);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let diagnosis: Value = serde_json::from_str(&text).unwrap_or_else(|error| {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            unreachable!("{words}: {error}: {text}{said}")
        });
        let expected = i32::from(diagnosis["verdict"] == "fail");
        assert_eq!(output.status.code(), Some(expected), "the status is the verdict");
        let checks = diagnosis["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["id"] == id).unwrap();
        (check["outcome"].as_str().unwrap().to_owned(), diagnosis["training"]["data"]["sha256"].clone())
    };
    let (found, sha256) = outcome("--train-until 2002-09-01 --held-out-from 2003-03-01", "training_data");
    assert_eq!((found.as_str(), &sha256), ("pass", &trained["manifest"]["train_sha256"]));
    assert_eq!(outcome("--held-out-from 2003-03-01", "training_data").0, "warn", "validation rows among them");
    let apart = |words: &str| outcome(words, "held_out_apart").0;
    assert_eq!(apart("--train-until 2002-09-01 --held-out-from 2003-03-01"), "pass");
    assert_eq!(apart("--train-until 2002-09-01 --held-out-from 2002-09-01 --until 2003-03-01"), "fail");
    let words = "--config diagnose.toml --train-until 2003-04-01 --held-out-from 2003-03-01";
    let said = lab.ends(&format!("diagnose {model} --data bars.parquet {words}"), 2);
    assert!(said.contains("--train-until is later than --held-out-from"), "{said}");
}

#[test]
fn every_json_answer_is_one_document() {
    let lab = Lab::new();
    let built = lab.json("dataset bars acme.csv beta.csv --config dataset.toml --out bars.parquet --json", 0);
    assert_eq!(lab.json("dataset show bars.parquet --json", 0), built);
    lab.write("lstm.toml", &with(&config("lstm.toml"), &[("epochs_max", "1"), ("hidden", "4"), ("window_rows", "8")]));
    let one = lab.json(&format!("train --config lstm.toml {FOLD} {KEPT} --json"), 0);
    assert_eq!(one["manifest"]["kind"], "lstm");
    let trials = lab.json("trials --ledger trials.sqlite --json", 0);
    assert_eq!(trials["trials"].as_array().unwrap().len(), 1);
    let data = one["manifest"]["train_sha256"].as_str().unwrap();
    let of_data = lab.json(&format!("trials --ledger trials.sqlite --json --data {data}"), 0);
    assert_eq!(of_data, trials);
    let none = lab.json("trials --ledger trials.sqlite --json --data ffffffff", 0);
    assert_eq!(none["trials"].as_array().unwrap().len() + none["datasets"].as_array().unwrap().len(), 0);
}

#[test]
fn the_model_of_the_demonstration_is_judged_and_the_verdict_is_the_status() {
    let lab = Lab::new();
    let small = [("epochs_max", "1"), ("sample_rows", "1000"), ("distill_steps", "20"), ("steps", "5")];
    lab.write("demo.toml", &with(&config("demo.toml"), &small));
    lab.write("diagnose.toml", &with(&config("diagnose.toml"), &[("bootstrap_draws", "100"), ("rows_max", "5000")]));
    let small = [("order_count_max", "65536"), ("level_count_max", "65536"), ("horizons", "[2, 5, 10, 20]")];
    lab.write("ticks.toml", &with(&config("dataset-ticks.toml"), &small));
    let words = "demo-model --config demo.toml --dataset-config ticks.toml --diagnose-config diagnose.toml \
                 --diagnosis judged --messages 120000 --json";
    let output = lab.run(&format!("{words} {KEPT}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        unreachable!("not one document: {error}: {}{said}", String::from_utf8_lossy(&output.stdout))
    });
    assert_eq!(answer["artefact"], "models/demo-micro.safetensors");
    assert_eq!(answer["diagnosis"]["model"]["sha256"], answer["manifest"]["sha256"]);
    let is_failed = answer["diagnosis"]["verdict"] == "fail";
    assert!(is_failed, "one epoch of little data cannot pass");
    assert_eq!(output.status.code(), Some(1), "{said}");
    let file: Value = serde_json::from_slice(&std::fs::read(lab.path("judged/diagnosis.json")).unwrap()).unwrap();
    assert_eq!(file, answer["diagnosis"]);
}

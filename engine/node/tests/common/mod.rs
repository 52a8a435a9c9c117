//! What the tests of this crate share: a generated session, a small profile, and the program itself.
#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its own part of this module")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use jiff::civil::date;
use peregrine_generate::{GeneratorConfig, Session, write_binary_file};
use peregrine_node::config::{Loaded, ProtectSection, Wiring};
use peregrine_node::input::InputPlan;
use peregrine_node::run::RunPlan;
use peregrine_node::stage::schedule::Pace;
use peregrine_source::session;
use peregrine_types::Nanos;

/// Date of the generated sessions; also in the files' names.
pub(crate) const DATE: &str = "2026-01-05";

/// The shipped profile `name`.
pub(crate) fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs").join(name)
}

/// Overrides that make a run small: no pinning, no locked memory, staging in `dir`, books for a few symbols.
pub(crate) fn small(dir: &Path) -> Vec<String> {
    let staging = dir.join("staging");
    std::fs::create_dir_all(&staging).unwrap();
    let staging = format!("log.staging_dir=\"{}\"", staging.display());
    let rest = [
        "runtime.pin_threads=false",
        "runtime.lock_memory=false",
        "book.order_count_max=65536",
        "book.level_count_max=65536",
        "feed.symbol_count_max=64",
        "log.staging_records=16384",
    ];
    rest.into_iter().map(str::to_owned).chain([staging]).collect()
}

/// How a session of the tests is generated.
pub(crate) fn generator(seed: u64, messages: u64) -> GeneratorConfig {
    let midnight = session::session_midnight(date(2026, 1, 5), session::NASDAQ_ZONE).unwrap();
    GeneratorConfig { midnight, symbol_count: 20, message_count: messages, ..GeneratorConfig::demo(seed) }
}

/// A generated session as a length-prefixed file in `dir`, its date in its name.
pub(crate) fn itch_file(dir: &Path, seed: u64, messages: u64) -> PathBuf {
    let path = dir.join(format!("session-{seed}-2026-01-05.itch50"));
    let mut out = BufWriter::new(File::create(&path).unwrap());
    write_binary_file(&mut Session::new(generator(seed, messages)).unwrap(), &mut out).unwrap();
    out.flush().unwrap();
    path
}

/// A run of the file `input` with the demo profile made small, into `dir/NAME`.
pub(crate) fn run_plan(dir: &Path, name: &str, input: &Path, wiring: Wiring) -> RunPlan {
    let mut loaded = Loaded::read(&shipped("demo.toml"), &small(dir)).unwrap();
    loaded.config.runtime.wiring = wiring;
    let feed = &loaded.config.feed;
    let input = InputPlan {
        files: vec![input.to_owned()],
        date: None,
        zone: feed.venue_zone.clone(),
        symbol_count_max: feed.symbol_count_max,
        reorder_window: Nanos(feed.reorder_window_ns),
        is_sequence_checked: true,
        mdp3: peregrine_source::market::Mdp3Plan::default(),
    };
    RunPlan {
        dir: dir.join(name),
        loaded,
        command: "test".to_owned(),
        input,
        pace: Pace::Max,
        from: None,
        to: None,
        packet_count_max: None,
        guard_script: None,
        heard: None,
        is_cut: false,
        live: None,
    }
}

/// Stops and takes near every position, and quotes that move by replacements: every kind of message.
pub(crate) fn with_held(plan: &mut RunPlan) {
    plan.loaded.config.runtime.order_slots = 32_768;
    plan.loaded.config.decide.use_replace = true;
    plan.loaded.config.protect = Some(ProtectSection {
        stop_loss_ticks: 2,
        take_profit_ticks: 2,
        is_stop_on_trade: true,
        exit_slippage_ticks: 5,
        cooldown_ns: 1_000_000,
        retry_pause_ns: 1_000_000,
        is_for_controllers: true,
    });
}

/// What the program said and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit status; `None` after a signal.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Ended {
    /// Both outputs.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// The program, to be run in `dir`.
pub(crate) fn program(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peregrine"));
    command.current_dir(dir).env("TMPDIR", dir);
    command
}

/// Runs the program with `args` in `dir`. A panic is a failure of every test.
pub(crate) fn peregrine<S: AsRef<std::ffi::OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> Ended {
    let ended = Ended::from(program(dir).args(args).output().unwrap());
    assert!(!ended.all().contains("panicked") && ended.code.is_some(), "{ended:?}");
    ended
}

/// `--set` words for the overrides of [`small`] and more.
pub(crate) fn set_words(dir: &Path, more: &[&str]) -> Vec<String> {
    let all = small(dir).into_iter().chain(more.iter().map(|word| (*word).to_owned()));
    all.flat_map(|word| ["--set".to_owned(), word]).collect()
}

/// `peregrine replay` of `files` into `dir/NAME` with the demo profile made small, `more` words added.
pub(crate) fn replay(dir: &Path, name: &str, files: &[&Path], more: &[&str]) -> (PathBuf, Ended) {
    let run = dir.join(name);
    let mut args = vec!["replay".to_owned(), "--config".to_owned(), shipped("demo.toml").display().to_string()];
    args.extend(files.iter().map(|file| file.display().to_string()));
    args.extend(["--out".to_owned(), run.display().to_string()]);
    args.extend(set_words(dir, &[]));
    args.extend(more.iter().map(|word| (*word).to_owned()));
    let ended = peregrine(dir, args);
    (run, ended)
}

/// `peregrine replay --verify RUN`.
pub(crate) fn verify(dir: &Path, run: &Path) -> Ended {
    let words = ["replay", "--verify", run.to_str().unwrap()].map(str::to_owned);
    peregrine(dir, words)
}

/// The run's `report.json` or `run.json`.
pub(crate) fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Copies a folder of files.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Inverts bit 0 of one byte.
pub(crate) fn flip(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[offset] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Where the real data is; `None` (and one line that says so) where it is not installed.
pub(crate) fn real_data(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PEREGRINE_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no real data at {}", path.display());
    None
}

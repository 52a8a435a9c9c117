//! The whole engine, as `peregrine run` starts it, trades a compressed session with faults on, and every decision is made once
//! more from its recording and log; it is killed at random moments, again and again, and comes back equal
//! (`PEREGRINE_PROGRAM_KILL_CYCLES` sets how often, 4; `PEREGRINE_PROGRAM_KILL_LIFE_MS` how long it lives at most, 600;
//! `PEREGRINE_PROGRAM_KILL_SEED`, 12, so that several can run beside each other); and it is stopped for longer than data may be
//! old.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how much was tried")]

#[path = "common/desk.rs"]
mod desk;
#[path = "common/ports.rs"]
mod ports;
#[path = "common/program.rs"]
mod program;
#[path = "common/truth.rs"]
mod truth;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use peregrine_eventlog::records::{HeardKind, HeardRecord, OrderRecord, OrderTransition};
use peregrine_eventlog::{LogReader, Stream};
use peregrine_node::exit::{Exit, Failure};
use peregrine_node::live::history;
use peregrine_node::run::{MANIFEST_NAME, Manifest};
use peregrine_runtime::StopFlag;
use peregrine_types::Nanos;
use peregrine_venue::{Addresses, Summary};
use program::{PROFILE, TAPE, changes, exchange, peregrine};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use truth::{Truth, hold_equal, said_by, setting, venue_text};

fn tape_text(lines: [u16; 2]) -> String {
    let loss = "loss_ppm = 20_000\nduplicate_ppm = 10_000\nreorder_ppm = 10_000\nreorder_delay_us = 200\n";
    let port_faults = "[port.faults]\ncut_sent_bytes = [1_500, 4_000]\ncut_received_bytes = [800, 2_500]\n\
                       lost_order_ppm = 10_000\nlost_answer_ppm = 10_000\nduplicate_fill_ppm = 200_000\n";
    tape_with(lines, port_faults, &format!("[faults.line_a]\n{loss}[faults.line_b]\n{loss}"))
}

/// A tape with these faults of port and lines.
fn tape_with(lines: [u16; 2], port_faults: &str, line_faults: &str) -> String {
    let text = venue_text();
    let head = text.split("[flow]").next().unwrap();
    head.replace("start = \"10:00:00\"\nspeed = 1", "start = \"09:29:00\"\nspeed = 60")
        .replace(
            "close = \"16:30:00\"\nend_system = \"16:31:00\"\nend_messages = \"16:32:00\"",
            "close = \"10:30:00\"\nend_system = \"10:31:00\"\nend_messages = \"10:32:00\"",
        )
        .replacen("line_a = \"127.0.0.1:9\"", &format!("line_a = \"127.0.0.1:{}\"", lines[0]), 1)
        .replacen("line_b = \"127.0.0.1:9\"", &format!("line_b = \"127.0.0.1:{}\"", lines[1]), 1)
        .replacen(
            "[[port]]\naddress = \"127.0.0.1:0\"\nusername = \"other\"",
            &format!("{port_faults}[[port]]\naddress = \"127.0.0.1:0\"\nusername = \"other\""),
            1,
        )
        + line_faults
        + "[flow]\nkind = \"generator\"\nseed = 3\nsymbol_count = 6\nmessage_count = 120_000\nhalt_count = 1\n"
}

/// An exchange with a tape, under way, and what its lines' ports are.
fn tape() -> (Addresses, [u16; 2], StopFlag, std::thread::JoinHandle<Summary>) {
    exchange(tape_text)
}

/// How a command ended that went to its end.
fn done(ended: Result<Exit, Failure>) -> Exit {
    ended.unwrap_or_else(|failure| panic!("{failure}"))
}

/// The shipped profile with quotes that move by replacements, and with stops and takes near every position.
fn held_profile(dir: &Path) -> String {
    let path = dir.join("held.toml");
    let text = format!(
        "include = [\"{PROFILE}\"]\n[runtime]\norder_slots = 16_384\n[decide]\nuse_replace = true\n\
         [protect]\nstop_loss_ticks = 3\ntake_profit_ticks = 3\nis_stop_on_trade = true\nexit_slippage_ticks = 5\n\
         cooldown_ns = 1_000_000\nretry_pause_ns = 1_000_000\nis_for_controllers = false\n"
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// The shipped profile with a drop copy.
const COPY_PROFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/live_copy.toml");

/// The exchange's copy of the first port, with its faults.
fn copy_text(faults: &str) -> String {
    format!(
        "[drop_copy]\naddress = \"127.0.0.1:0\"\nport = 0\nsender_comp_id = \"VENUE\"\ntarget_comp_id = \"DESK\"\n\
         username = \"\"\npassword = \"\"\nis_every_event = false\nreport_count_max = 10_000\n\
         [drop_copy.faults]\n{faults}\n"
    )
}

/// Repeats a recorded live run: the same decisions, byte for byte. Gives how many records of each kind it heard by.
fn verify(run: &Path) -> [usize; 5] {
    assert_eq!(done(peregrine(&["replay", "--verify", &run.display().to_string()], &[])), Exit::Done);
    let mut counts = [0; 5];
    let log = LogReader::open(run, Stream::Decide).unwrap();
    for record in log.payloads::<HeardRecord>() {
        counts[record.unwrap().1.kind as usize] += 1;
    }
    println!("heard: begin, reports, permits, withdrawals, refusals: {counts:?}");
    counts
}

/// Runs the whole engine for so many seconds on a tape with faults on, its fills held against the drop copy; gives what its
/// report says, how it ended and what the venue's stream says.
fn run_with_copy(faults: &str, seconds: &str) -> (String, Exit, Truth, Summary) {
    let folder = tempfile::tempdir().unwrap();
    let (addresses, lines, stop, venue) = exchange(|lines| tape_text(lines) + &copy_text(faults));
    let dir = folder.path().join("runs");
    let out = dir.join("one").display().to_string();
    let mut set = changes(&addresses, lines);
    set.push(format!("drop_copy.address=\"{}\"", addresses.drop_copy.unwrap()));
    // Nothing is called missing because the machine is busy.
    set.extend(["drop_copy.deadline_ms=10000", "live.is_recorded=true"].map(str::to_owned));
    let words = ["run", "--mode", "live", "--config", COPY_PROFILE, "--seconds", seconds, "--out", &out, "--json"];
    let exit = done(peregrine(&words, &set));
    let (truth, run_count) = hold_equal(&dir, addresses.ports[0], ("KILLDAY001", "desk"), &TAPE);
    assert_eq!(run_count, 1);
    let heard = verify(&dir.join("one"));
    assert!(heard[HeardKind::Report as usize] > 5 && heard[HeardKind::Permit as usize] > 2, "{heard:?}");
    let report = std::fs::read_to_string(dir.join("one/report.json")).unwrap();
    stop.request();
    (report, exit, truth, venue.join().unwrap())
}

#[test]
fn the_whole_engine_trades_a_compressed_session_with_faults_on() {
    let (report, exit, truth, summary) = run_with_copy("", "8");
    println!("{} orders, {} fills, {:?}", truth.accepted.len(), truth.fills.len(), truth.positions);
    assert!(report.contains("Our account equals the venue's stream"), "{report}");
    let copied = format!("{} of them are in its drop copy, word for word", truth.fills.len());
    assert!(!truth.fills.is_empty() && report.contains(&copied), "{report}");
    assert!(matches!(exit, Exit::Done | Exit::No), "faults may cost a verdict about the feed, no more");
    assert!(truth.accepted.len() > 5, "{} orders", truth.accepted.len());
    let cut_count = summary.ports[0].endpoint.cut_count;
    assert!(cut_count > 0 || truth.accepted.len() < 30, "{:?}", summary.ports[0]);
}

/// The copy lies about the first fill: it is named, and the run ends as one that differs.
#[test]
fn the_whole_engine_halts_when_its_drop_copy_differs() {
    let (report, exit, truth, summary) = run_with_copy("wrong_qty_ppm = 1_000_000", "8");
    assert!(summary.drop_copy.unwrap().0.fault_count > 0 && !truth.fills.is_empty(), "nothing was traded");
    assert!(report.contains("Our fills and the venue's drop copy differ: Qty differs: we have order "), "{report}");
    assert!(!report.contains("Our account equals the venue's stream") && exit == Exit::No, "{report}");
}

#[test]
fn a_recorded_paper_session_replays_to_the_same_log() {
    let folder = tempfile::tempdir().unwrap();
    let (addresses, lines, stop, venue) = tape();
    let out = |name: &str| folder.path().join(name).display().to_string();
    let (live, again) = (out("live"), out("again"));
    let mut set = changes(&addresses, lines);
    set.push("live.is_recorded=true".to_owned());
    let words = ["run", "--mode", "paper", "--config", PROFILE, "--seconds", "4", "--out", &live, "--json"];
    done(peregrine(&words, &set));
    stop.request();
    venue.join().unwrap();
    let recording = format!("{live}/feed.pcapng");
    done(peregrine(&["replay", &recording, "--config", PROFILE, "--out", &again, "--json"], &set));
    let manifest = |dir: &str| Manifest::read(Path::new(dir)).unwrap();
    let (live, again) = (manifest(&live), manifest(&again));
    assert!(live.event_count > 500, "{} events", live.event_count);
    assert_eq!((live.event_count, &live.log_hash), (again.event_count, &again.log_hash));
    assert_eq!((live.state_hash, live.decision_hash), (again.state_hash, again.decision_hash));
}

/// Not a test: one command of the program, whose output is wanted.
#[test]
#[ignore = "started by another test as a process of its own"]
fn command_process() {
    let Ok(words) = std::env::var("PEREGRINE_COMMAND_WORDS") else { return };
    let words: Vec<&str> = words.lines().collect();
    done(peregrine(&words, &[]));
}

/// Repeats what a killed run did, as far as its log and its recording go; gives how many records of the decide stream were
/// made again, and how many stand behind the recording's end.
fn verify_killed(run: &Path) -> (u64, u64) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "command_process", "--ignored", "--nocapture"])
        .env("PEREGRINE_COMMAND_WORDS", format!("replay\n--verify\n{}", run.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("identical as far as it goes"), "{said}");
    let line = said.lines().find(|line| line.starts_with("decide ")).unwrap_or_else(|| panic!("{said}"));
    let numbers = line
        .split(|c: char| !c.is_ascii_digit() && c != '\u{202f}' && c != ',')
        .filter_map(|word| word.chars().filter(char::is_ascii_digit).collect::<String>().parse().ok());
    let numbers: Vec<u64> = numbers.collect();
    println!("killed run: {line}");
    (numbers[0], numbers.get(1).copied().unwrap_or(0))
}

/// The runs below `dir` that were killed once they had heard something.
fn killed_runs(dir: &Path) -> Vec<PathBuf> {
    let runs = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let killed = runs.filter(|run| run.join(history::NOTE_NAME).exists() && !run.join(MANIFEST_NAME).exists());
    killed.filter(|run| LogReader::open(run, Stream::Decide).unwrap().records().next().is_some()).collect()
}

/// Not a test: the whole program, which the test below kills.
#[test]
#[ignore = "started by another test as a process of its own"]
fn program_process() {
    let Ok(out) = std::env::var("PEREGRINE_PROGRAM_OUT") else { return };
    let set: Vec<String> = std::env::var("PEREGRINE_PROGRAM_SET").unwrap().lines().map(str::to_owned).collect();
    let seconds = std::env::var("PEREGRINE_PROGRAM_SECONDS").unwrap();
    let profile = std::env::var("PEREGRINE_PROGRAM_PROFILE").unwrap();
    let mode = std::env::var("PEREGRINE_PROGRAM_MODE").unwrap();
    let words = ["run", "--mode", &mode, "--config", &profile, "--seconds", &seconds, "--out", &out, "--json"];
    let exit = done(peregrine(&words, &set));
    assert!(matches!(exit, Exit::Done | Exit::No), "faults may cost a verdict about the feed, no more");
}

fn spawn_program(dir: &Path, run: &str, set: &[String], seconds: u32) -> std::process::Child {
    spawn_mode("live", dir, run, set, seconds)
}

fn spawn_mode(mode: &str, dir: &Path, run: &str, set: &[String], seconds: u32) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "program_process", "--ignored", "--nocapture"])
        .env("PEREGRINE_PROGRAM_OUT", dir.join(run))
        .env("PEREGRINE_PROGRAM_PROFILE", held_profile(dir))
        .env("PEREGRINE_PROGRAM_MODE", mode)
        .env("PEREGRINE_PROGRAM_SET", set.join("\n"))
        .env("PEREGRINE_PROGRAM_SECONDS", seconds.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// How long the tape of one session is traded, before the next one begins.
const PROGRAM_SESSION: Duration = Duration::from_secs(40);

/// `peregrine run --mode live`, all of it, killed while it starts, reconciles and trades on a tape with faults on lines and
/// port; a clean run at the end of each session.
#[test]
fn the_whole_program_is_killed_at_random_moments_and_comes_back_equal() {
    let cycles = setting("PEREGRINE_PROGRAM_KILL_CYCLES", 4);
    let life_ms = u64::from(setting("PEREGRINE_PROGRAM_KILL_LIFE_MS", 600));
    let mut chance = ChaCha8Rng::seed_from_u64(setting("PEREGRINE_PROGRAM_KILL_SEED", 12).into());
    let (mut done, mut orders, mut fills, mut runs) = (0, 0, 0, 0);
    let (mut repeated, mut left) = (0, 0);
    while done < cycles {
        let folder = tempfile::tempdir().unwrap();
        let (addresses, lines, stop, venue) = tape();
        let mut set = changes(&addresses, lines);
        // What a start costs is memory, most of all.
        set.extend(
            ["book.order_count_max=16384", "book.level_count_max=16384", "feed.symbol_count_max=64"].map(str::to_owned),
        );
        set.extend(
            ["log.staging_records=4096", "runtime.huge_pages=\"off\"", "live.is_recorded=true"].map(str::to_owned),
        );
        let (begin, mut started) = (Instant::now(), 0_u32);
        while done < cycles && begin.elapsed() < PROGRAM_SESSION {
            started += 1;
            let run = format!("run-{started:06}");
            let mut child = spawn_program(folder.path(), &run, &set, 60);
            let note = folder.path().join(&run).join(history::NOTE_NAME);
            let (mut since, life) = (Instant::now(), Duration::from_millis(10 + chance.next_u64() % life_ms));
            while since.elapsed() < life {
                // A connection that the port's faults cut is made again: from its start on only a kill ends it.
                assert!(child.try_wait().unwrap().is_none(), "{}", said_by(child));
                if done % 4 != 0 && !note.exists() {
                    since = Instant::now();
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            done += 1;
        }
        let last = spawn_program(folder.path(), "the-last", &set, 2);
        let output = last.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let is_clean = output.status.success() && said.contains("Our account equals the venue's stream");
        assert!(is_clean, "{said}");
        verify(&folder.path().join("the-last"));
        for run in killed_runs(folder.path()) {
            let (count, behind) = verify_killed(&run);
            repeated += count;
            // The recording lost its end, in the middle of a packet: what it has no more is said to be left.
            let recording = std::fs::File::options().write(true).open(run.join("feed.pcapng")).unwrap();
            recording.set_len(recording.metadata().unwrap().len() * 7 / 10 + 1).unwrap();
            if count > 100 {
                let (shorter, more) = verify_killed(&run);
                assert!(shorter > 0 && shorter + more == count + behind, "{shorter}, {more}");
                left += more - behind;
            }
        }
        let (truth, run_count) = hold_equal(folder.path(), addresses.ports[0], ("KILLDAY001", "desk"), &TAPE);
        (orders, fills, runs) = (orders + truth.accepted.len(), fills + truth.fills.len(), runs + run_count);
        println!("{done} kills of the whole program so far, {orders} orders, {fills} fills");
        stop.request();
        venue.join().unwrap();
    }
    println!("killed runs: {repeated} records of their decisions made again; with shorter recordings {left} less");
    assert!(
        repeated > 20 && (left > 0 || repeated < 400),
        "{repeated} records made again, {left} less of shorter recordings"
    );
    println!("whole program: {done} kills, {orders} orders, {fills} fills, {runs} runs that were logged in");
}

/// A paper run is killed, too, and all its streams are made again: its venue is a part of it.
#[test]
fn a_paper_run_that_was_killed_is_verified_as_far_as_it_went() {
    let folder = tempfile::tempdir().unwrap();
    let (addresses, lines, stop, venue) = tape();
    let mut set = changes(&addresses, lines);
    set.push("live.is_recorded=true".to_owned());
    let mut child = spawn_mode("paper", folder.path(), "paper", &set, 60);
    let run = folder.path().join("paper");
    let sent = || LogReader::open(&run, Stream::Send).map_or(0, |log| log.records().filter(Result::is_ok).count());
    let begin = Instant::now();
    while sent() < 100 {
        assert!(begin.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none(), "it never traded");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    stop.request();
    venue.join().unwrap();
    assert_eq!(done(peregrine(&["log", "close", &run.display().to_string()], &[])), Exit::Done);
    let (whole, behind) = verify_killed(&run);
    let recording = std::fs::File::options().write(true).open(run.join("feed.pcapng")).unwrap();
    recording.set_len(recording.metadata().unwrap().len() * 9 / 10 + 1).unwrap();
    let (shorter, more) = verify_killed(&run);
    assert!(shorter > 20 && more > behind && shorter + more == whole + behind, "{whole} {behind} {shorter} {more}");
}

/// How old a decision may be in the run that is stopped.
const STALL_AGE_MAX: Nanos = Nanos::from_millis(200);

/// How old decisions were when their orders, or replacements, were handed to the session.
fn ages(run: &Path) -> Vec<Nanos> {
    let log = LogReader::open(run, Stream::Send).unwrap();
    let steps = log.payloads::<OrderRecord>().map(|item| *item.unwrap().1);
    steps
        .filter(|step| matches!(step.transition, OrderTransition::Submitted | OrderTransition::ReplaceRequested))
        .map(|step| step.venue_time.since(step.decision_time))
        .collect()
}

/// The number behind a fact of a report.
fn fact(report: &str, name: &str) -> u64 {
    let behind = report.split(name).nth(1).unwrap_or_else(|| panic!("{name}: {report}"));
    let digits = behind.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// `peregrine run` is stopped for longer than data may be old, again and again, and decides on what waited meanwhile: no
/// order leaves on it.
#[test]
fn the_whole_program_sends_no_order_on_what_waited_while_it_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let (addresses, lines, stop, venue) = exchange(|lines| tape_with(lines, "", ""));
    let mut set = changes(&addresses, lines);
    set.extend(
        ["book.order_count_max=16384", "book.level_count_max=16384", "feed.symbol_count_max=64"].map(str::to_owned),
    );
    set.extend(["log.staging_records=4096", "runtime.huge_pages=\"off\"", "live.is_recorded=true"].map(str::to_owned));
    set.push(format!("risk.data_age_ns_max={}", STALL_AGE_MAX.0));
    let child = spawn_program(folder.path(), "stalled", &set, 20);
    let run = folder.path().join("stalled");
    let begin = Instant::now();
    while !run.join(history::NOTE_NAME).exists() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{}", said_by(child));
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = libc::pid_t::try_from(child.id()).unwrap();
    #[expect(unsafe_code, reason = "the standard library stops no process")]
    // SAFETY: a call without pointers; the process is our child and was not waited for yet.
    let signal = |number| assert_eq!(unsafe { libc::kill(id, number) }, 0);
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(800));
        signal(libc::SIGSTOP);
        std::thread::sleep(Duration::from_millis(1_200));
        signal(libc::SIGCONT);
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let (truth, _) = hold_equal(folder.path(), addresses.ports[0], ("KILLDAY001", "desk"), &TAPE);
    stop.request();
    venue.join().unwrap();
    let report = std::fs::read_to_string(run.join("report.json")).unwrap();
    let (ages, refused) = (ages(&run), fact(&report, "of them decided on too long before"));
    let oldest = ages.iter().copied().max().unwrap_or(Nanos::ZERO);
    println!("{} orders, {} accepted, the oldest {oldest}; {refused} refused", ages.len(), truth.accepted.len());
    // Every order that the venue knows is among them. The clocks of stamp and step may drift apart, a little.
    assert!(oldest.0 <= STALL_AGE_MAX.0 + 20_000_000, "the oldest order is {oldest} old");
    assert!(refused > 0 && ages.len() > 5, "{refused} refused, {} sent", ages.len());
    assert!(said.contains("The last market event is older than data_age_ns_max"), "{said}");
    let heard = verify(&run);
    assert!(heard[HeardKind::Refused as usize] > 0, "{heard:?}");
}

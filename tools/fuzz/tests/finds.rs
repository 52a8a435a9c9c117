//! Negative controls: planted bugs are found, and sound bodies are not accused.

use std::time::Duration;

use peregrine_fuzz::run::{EXECUTION_TIME_MAX, Failure, Plan, run};
use peregrine_fuzz::targets::{self, Target};

fn plan(out: &std::path::Path, seconds: u64) -> Plan {
    Plan { time: Duration::from_secs(seconds), seed: 5, out: out.to_path_buf(), is_careful: false }
}

/// A parser of length-prefixed blocks that believes the length.
fn trusting(data: &[u8]) {
    let mut rest = data;
    while let [high, low, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        assert!(len <= tail.len(), "planted: reads past the end");
        rest = &tail[len..];
    }
}

fn blocks() -> Vec<Vec<u8>> {
    vec![b"\0\x05hello\0\x05world".to_vec()]
}

#[test]
fn a_planted_panic_is_found_and_its_input_kept() {
    let folder = tempfile::tempdir().unwrap();
    let target = Target { name: "planted", body: trusting, corpus: || Ok(blocks()) };
    let outcome = run(&target, &plan(folder.path(), 20)).unwrap();
    let (failure, path) = outcome.failure.expect("the planted bug");
    assert_eq!(failure, Failure::Panic);
    let input = std::fs::read(path).unwrap();
    assert!(std::panic::catch_unwind(|| trusting(&input)).is_err(), "the file has the input that fails");
    let again = run(&target, &plan(folder.path(), 20)).unwrap();
    assert_eq!(again.execution_count, outcome.execution_count, "one seed, one run");
}

#[test]
fn an_execution_of_more_than_a_second_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let body = |data: &[u8]| {
        if data.first() == Some(&0xff) {
            std::thread::sleep(EXECUTION_TIME_MAX + Duration::from_millis(50));
        }
    };
    let target = Target { name: "slow", body, corpus: || Ok(vec![vec![0; 4]]) };
    let outcome = run(&target, &plan(folder.path(), 20)).unwrap();
    assert_eq!(outcome.failure.map(|(failure, _)| failure), Some(Failure::Slow));
}

#[test]
fn every_target_has_a_corpus_and_holds_for_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    for target in targets::ALL {
        let outcome = run(&target, &Plan { time: Duration::from_millis(200), ..plan(folder.path(), 0) }).unwrap();
        assert!(outcome.failure.is_none(), "{}: {:?}", target.name, outcome.failure);
        assert!(outcome.corpus_count >= 2 && outcome.execution_count > outcome.corpus_count as u64, "{}", target.name);
    }
}

#[test]
fn an_input_that_asks_for_too_much_memory_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_peregrine-fuzz"))
        .args(["--target", "control-memory", "--seconds", "1", "--seed", "3", "--out"])
        .arg(folder.path())
        .output()
        .unwrap();
    let says = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{says}");
    let input = std::fs::read(folder.path().join("control-memory-3-last.bin")).unwrap();
    assert!(input.len() % 2 == 1 && says.contains("control-memory ended its process"), "{says}");
}

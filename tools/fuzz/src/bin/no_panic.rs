//! Reads the disassembly of `hot_entry` on standard input and fails when panic code, the allocator, or a call through a
//! pointer can be reached from a hot entry point. `scripts/no_panic.sh` calls it.

use std::io::{Read, Write};
use std::process::ExitCode;

use anyhow::Context;
use peregrine_fuzz::callgraph::{CallGraph, Finding};

/// Parts of names that must not be reachable.
const FORBIDDEN: [&str; 18] = [
    "core::panicking",
    "std::panicking",
    "rust_panic",
    "panic_bounds_check",
    "panic_nounwind",
    "unwrap_failed",
    "expect_failed",
    "_len_fail",
    "index_fail",
    "order_fail",
    "len_mismatch_fail",
    "handle_alloc_error",
    "handle_error",
    "__rust_alloc",
    "__rust_realloc",
    "__rust_dealloc",
    "abort",
    "malloc",
];

/// What may stay reachable, and why: entry point, part of what is reached, reason.
const ALLOWED: [(&str, &str, &str); 4] = [
    ("append", "core::option::unwrap_failed", CRC),
    ("append", "core::panicking::panic_bounds_check", CRC),
    ("append", "core::slice::index::slice_index_fail", CRC),
    ("append", "core::panicking::panic_fmt", CRC),
];

/// The last function on the way to an allowed finding must carry this in its name.
const CRC_MODULE: &str = "crc32c::";
const CRC: &str = "crate crc32c checks its own splitting of long inputs; a record is one size, below what it splits";

/// Where the entry points and the negative controls lie in the program.
const ENTRIES: &str = "hot_entry::hot::";
const CONTROLS: &str = "hot_entry::control::";
/// How many of each there are: fewer means that the compiler or this program lost some.
const ENTRY_COUNT: usize = 33;
const CONTROL_COUNT: usize = 3;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn is_forbidden(name: &str) -> bool {
    FORBIDDEN.iter().any(|part| name.contains(part))
}

fn run() -> anyhow::Result<bool> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).context("cannot read the disassembly")?;
    let text = String::from_utf8_lossy(&text);
    let graph = CallGraph::parse(text.lines());
    let mut out = std::io::stdout().lock();
    let (entries, controls) = (graph.find(ENTRIES), graph.find(CONTROLS));
    let mut is_clean = true;
    if entries.len() < ENTRY_COUNT || controls.len() < CONTROL_COUNT {
        eprintln!(
            "error: {} entry points and {} controls found, {ENTRY_COUNT} and {CONTROL_COUNT} wanted: has a name changed?",
            entries.len(),
            controls.len()
        );
        is_clean = false;
    }
    for control in controls {
        let is_caught = !graph.findings(control, is_forbidden).is_empty();
        writeln!(out, "control {}: {}", graph.name(control), if is_caught { "caught" } else { "NOT CAUGHT" })?;
        is_clean &= is_caught;
    }
    for entry in entries {
        let name = graph.name(entry);
        let findings = graph.findings(entry, is_forbidden);
        writeln!(
            out,
            "{name}: {} functions reachable, {} findings",
            graph.reach_count(entry, is_forbidden),
            findings.len()
        )?;
        for finding in findings {
            is_clean &= report(&mut out, name, &finding)?;
        }
    }
    Ok(is_clean)
}

/// Writes a finding; whether it is allowed.
fn report(out: &mut impl Write, entry: &str, finding: &Finding) -> anyhow::Result<bool> {
    let path = finding.path.join("\n      > ");
    let is_in_crc = finding.path.last().is_some_and(|function| function.contains(CRC_MODULE));
    let allowed =
        ALLOWED.iter().find(|(from, what, _)| is_in_crc && entry.contains(from) && finding.what.contains(what));
    match allowed {
        Some((_, _, reason)) => writeln!(out, "  allowed: {} ({reason})", finding.what)?,
        None => writeln!(out, "  REACHED: {}\n      > {path}", finding.what)?,
    }
    Ok(allowed.is_some())
}

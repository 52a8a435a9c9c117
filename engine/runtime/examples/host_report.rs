//! Prints what this host gives: `cargo run --release -p peregrine-runtime --example host_report`.

use std::io::{self, Write};

use peregrine_runtime::host_report;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for fact in host_report().facts {
        writeln!(out, "{:<8}{:<32}{}", fact.verdict.name(), fact.key, fact.value)?;
        if let Some(remedy) = fact.remedy {
            writeln!(out, "{:<40}mend: {remedy}", "")?;
        }
    }
    Ok(())
}

//! `peregrine-fuzz`: every parser's fuzz body for a bounded time. See the library for how.
//!
//! The process runs itself again under `ulimit -v`, so that an input that asks for too much memory ends the child and
//! not the machine; the parent then finds that input.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use clap::Parser;
use peregrine_fuzz::corpus;
use peregrine_fuzz::run::{Failure, Outcome, Plan, file_name, run};
use peregrine_fuzz::targets::{self, Target};

/// Address space of the process that runs the targets, in KiB. Program, libraries and stacks take about 150 MiB of
/// it, so that a single allocation of some 400 MiB fails.
const MEMORY_KIB_MAX: u32 = 512 * 1024;
/// Tells the child that it is one.
const CHILD: &str = "PEREGRINE_FUZZ_CHILD";

/// Runs every parser on mutated input and fails on a panic, a hang or too much memory.
#[derive(Parser)]
#[command(name = "peregrine-fuzz", version)]
struct Arguments {
    /// Seconds in all, split evenly over the targets.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Run this target alone.
    #[arg(long)]
    target: Option<String>,
    /// Seed of the mutations; without it, one from the clock.
    #[arg(long)]
    seed: Option<u64>,
    /// Name the targets and stop.
    #[arg(long)]
    list: bool,
    /// Run one input, kept from a failure, on --target (or on all targets) without catching anything.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Where inputs that fail are written.
    #[arg(long, value_name = "FOLDER", default_value = "target/fuzz")]
    out: PathBuf,
    /// Write each input before it is tried; for finding the input that ended a process.
    #[arg(long, hide = true)]
    careful: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match start(&arguments) {
        Ok(is_clean) => ExitCode::from(u8::from(!is_clean)),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn start(arguments: &Arguments) -> anyhow::Result<bool> {
    let chosen = match &arguments.target {
        Some(name) => vec![targets::find(name).with_context(|| format!("no target `{name}`: see --list"))?],
        None => targets::ALL.to_vec(),
    };
    let mut out = std::io::stdout().lock();
    if arguments.list {
        for target in chosen {
            writeln!(out, "{}", target.name)?;
        }
        return Ok(true);
    }
    if let Some(path) = &arguments.replay {
        let input = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        for target in chosen {
            (target.body)(&input);
            writeln!(out, "{}: {} bytes, held", target.name, input.len())?;
        }
        return Ok(true);
    }
    if cfg!(panic = "abort") {
        bail!("this build aborts on panic, so failures cannot be caught: build with --profile gate");
    }
    let seed = arguments.seed.unwrap_or_else(clock_seed);
    let time = Duration::from_secs(arguments.seconds) / u32::try_from(chosen.len()).unwrap_or(1).max(1);
    let plan = Plan { time, seed, out: arguments.out.clone(), is_careful: arguments.careful };
    if std::env::var_os(CHILD).is_none() {
        if !corpus::data_folder().is_dir() {
            writeln!(out, "skipped: no real data at {}", corpus::data_folder().display())?;
        }
        writeln!(out, "{:<12} {:>12} {:>12} {:>8}  seed", "target", "executions", "per second", "corpus")?;
        let mut is_clean = true;
        for target in chosen {
            is_clean &= supervise(&target, &plan)?;
        }
        return Ok(is_clean);
    }
    let mut is_clean = true;
    for target in chosen {
        let outcome = run(&target, &plan)?;
        report(&mut out, &target, &outcome, seed)?;
        is_clean &= outcome.failure.is_none();
    }
    Ok(is_clean)
}

fn clock_seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs() ^ u64::from(since.subsec_nanos()).rotate_left(32)
}

/// Runs one target in a process of its own; if that process is ended by a signal, finds the input that did it.
fn supervise(target: &Target, plan: &Plan) -> anyhow::Result<bool> {
    let status = child(target, plan)?;
    match status.code() {
        Some(0) => return Ok(true),
        Some(1) => return Ok(false),
        Some(2) => bail!("{} could not be run", target.name),
        Some(_) | None => {}
    }
    // Slower, for each input is written: as long again, and a minute.
    let careful = Plan { is_careful: true, time: plan.time + Duration::from_secs(60), ..plan.clone() };
    let again = child(target, &careful)?;
    let path = plan.out.join(file_name(target, plan.seed, "last"));
    let found = if again.success() { "not found again".to_owned() } else { path.display().to_string() };
    eprintln!("error: {} ended its process ({status}, seed {}): input {found}", target.name, plan.seed);
    Ok(false)
}

fn child(target: &Target, plan: &Plan) -> anyhow::Result<ExitStatus> {
    let program = std::env::current_exe().context("where this program lies")?;
    let mut command = Command::new("sh");
    command.env(CHILD, "1").arg("-c").arg(format!("ulimit -v {MEMORY_KIB_MAX}; exec \"$0\" \"$@\"")).arg(program);
    command.args(["--target", target.name, "--seed", &plan.seed.to_string()]);
    command.args(["--seconds", &plan.time.as_secs().max(1).to_string()]).arg("--out").arg(&plan.out);
    if plan.is_careful {
        command.arg("--careful");
    }
    command.status().context("cannot start a shell")
}

fn report(out: &mut impl Write, target: &Target, outcome: &Outcome, seed: u64) -> anyhow::Result<()> {
    let (count, speed, corpus) = (outcome.execution_count, outcome.per_second(), outcome.corpus_count);
    writeln!(out, "{:<12} {count:>12} {speed:>12} {corpus:>8}  {seed}", target.name)?;
    if let Some((failure, path)) = &outcome.failure {
        let what = match failure {
            Failure::Panic => "panicked",
            Failure::Slow => "took more than a second",
        };
        let again = format!("--replay {} --target {}", path.display(), target.name);
        eprintln!("error: {} {what} (seed {seed}, execution {count}): {again}", target.name);
    }
    Ok(())
}

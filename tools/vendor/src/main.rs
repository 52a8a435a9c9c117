//! The `peregrine-vendor` binary: a vendor's live feed as lines of this host.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use peregrine_runtime::StopFlag;
use peregrine_vendor::{Service, ServiceError, Settings, SettingsError};

/// Success, or a stop that was asked for.
const DONE: u8 = 0;
/// The configuration, the command line or the credentials are wrong.
const USAGE: u8 = 2;
/// The run could not begin, or broke off.
const FAILED: u8 = 3;

/// A vendor's live feed (Alpaca, Massive, Interactive Brokers) as ITCH 5.0 over MoldUDP64 on two lines of this host, with
/// retransmission and snapshots: what `peregrine run` reads.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// The configuration (docs/vendor.md).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Read the configuration, say whether it is sound, and stop.
    #[arg(long)]
    check: bool,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error("cannot listen for Ctrl-C, or write: {0}")]
    Io(#[from] std::io::Error),
}

impl Failure {
    const fn status(&self) -> u8 {
        match self {
            Self::Settings(SettingsError::Syntax { .. } | SettingsError::Violations { .. }) => USAGE,
            Self::Settings(SettingsError::Read { .. }) => USAGE,
            Self::Service(error) if error.is_usage() => USAGE,
            Self::Service(_) | Self::Io(_) => FAILED,
        }
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let status = if error.use_stderr() { USAGE } else { DONE };
            return ExitCode::from(if error.print().is_ok() { status } else { FAILED });
        }
    };
    match run(&cli) {
        Ok(()) => ExitCode::from(DONE),
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let settings = Settings::read(&cli.config)?;
    if cli.check {
        writeln!(out, "{} is sound", cli.config.display())?;
        return Ok(());
    }
    let stop = StopFlag::new();
    stop_on_signals(&stop)?;
    let service = Service::bind(&settings)?;
    let addresses = service.addresses()?;
    writeln!(out, "feed: {} and {}", settings.lines[0].destination, settings.lines[1].destination)?;
    writeln!(out, "retransmission: {}", addresses.retransmission)?;
    writeln!(out, "snapshots: {}", addresses.snapshot)?;
    writeln!(out, "vendor: {}, pauses by seed {}", settings.address, settings.backoff_seed)?;
    out.flush()?;
    let summary = service.run(&stop, &mut out)?;
    writeln!(out, "{summary}")?;
    Ok(())
}

/// Raises the flag at the first Ctrl-C or TERM; the second one ends the process at once.
fn stop_on_signals(stop: &StopFlag) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let stop = stop.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            if stop.is_requested() {
                std::process::exit(130);
            }
            stop.request();
        }
    })?;
    Ok(())
}

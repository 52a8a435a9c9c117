//! The `peregrine-venue` binary: the simulated exchange with its sockets.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use peregrine_runtime::StopFlag;
use peregrine_venue::{Server, ServerError, Settings, SettingsError, Summary};

/// Success, or a stop that was asked for.
const DONE: u8 = 0;
/// The configuration or the command line is wrong.
const USAGE: u8 = 2;
/// The run could not begin, or broke off.
const FAILED: u8 = 3;

/// A simulated exchange: ITCH 5.0 over MoldUDP64 multicast on two lines with retransmission and snapshots, OUCH 5.0 over
/// SoupBinTCP, background flow, and faults on demand.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// The configuration (docs/venue.md).
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
    Server(#[from] ServerError),
    #[error("cannot listen for Ctrl-C, or write: {0}")]
    Io(#[from] std::io::Error),
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
            ExitCode::from(if matches!(failure, Failure::Settings(_)) { USAGE } else { FAILED })
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let settings = Settings::read(&cli.config)?;
    let mut out = std::io::stdout();
    if cli.check {
        return Ok(writeln!(out, "{} is sound", cli.config.display())?);
    }
    let stop = StopFlag::new();
    stop_on_signals(&stop)?;
    let server = Server::bind(&settings)?;
    let addresses = server.addresses();
    writeln!(out, "feed: {} and {}", settings.lines[0].destination, settings.lines[1].destination)?;
    writeln!(out, "retransmission: {}", addresses.retransmission)?;
    writeln!(out, "snapshots: {}", addresses.snapshot)?;
    for (index, port) in addresses.ports.iter().enumerate() {
        writeln!(out, "port {index}: {port}")?;
    }
    if let Some(address) = addresses.drop_copy {
        writeln!(out, "drop copy: {address}")?;
    }
    out.flush()?;
    let summary: Summary = server.run(&stop)?;
    Ok(writeln!(out, "{summary}")?)
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

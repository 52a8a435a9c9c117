//! The `peregrine-venue` binary: the simulated exchange with its sockets.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use peregrine_runtime::StopFlag;
use peregrine_venue::{Server, ServerError, Settings, SettingsError, Summary, ask};

/// Success, or a stop that was asked for.
const DONE: u8 = 0;
/// The exchange refused a command.
const REFUSED: u8 = 1;
/// The configuration or the command line is wrong.
const USAGE: u8 = 2;
/// The run could not begin, or broke off.
const FAILED: u8 = 3;

/// A simulated exchange: ITCH 5.0 over MoldUDP64 multicast on two lines with retransmission and snapshots, OUCH 5.0 over
/// SoupBinTCP, background flow, and faults on demand.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    task: Option<Task>,
    /// The configuration (docs/venue.md).
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// Read the configuration, say whether it is sound, and stop.
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Tell an exchange that runs something (docs/venue.md, "By hand"): exit status 0 done, 1 refused, 3 nobody answers.
    Control {
        /// Its socket: `control.socket` of its configuration.
        path: PathBuf,
        /// The command, such as `fault line A outage 2s`.
        #[arg(required = true, trailing_var_arg = true)]
        command: Vec<String>,
    },
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("cannot reach the exchange ({}): {source}; is it running, with this control.socket?", path.display())]
    Control { path: PathBuf, source: std::io::Error },
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
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(if matches!(failure, Failure::Settings(_)) { USAGE } else { FAILED })
        }
    }
}

fn run(cli: &Cli) -> Result<u8, Failure> {
    let mut out = std::io::stdout();
    if let Some(Task::Control { path, command }) = &cli.task {
        let answer = ask(path, &command.join(" ")).map_err(|source| Failure::Control { path: path.clone(), source })?;
        writeln!(out, "{answer}")?;
        return Ok(if answer.starts_with("ok") { DONE } else { REFUSED });
    }
    let config = cli.config.clone().unwrap_or_default();
    let settings = Settings::read(&config)?;
    if cli.check {
        writeln!(out, "{} is sound", config.display())?;
        return Ok(DONE);
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
    if let Some(socket) = &settings.control.socket {
        writeln!(out, "control: {}", socket.display())?;
    }
    out.flush()?;
    let summary: Summary = server.run(&stop)?;
    writeln!(out, "{summary}")?;
    Ok(DONE)
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

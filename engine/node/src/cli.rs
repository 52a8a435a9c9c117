//! The command line: what the words mean. What the commands do is in `commands`.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::input::KnownInstrument;

/// A low-latency trading engine whose decisions come from a world model of the market.
#[derive(Debug, Parser)]
#[command(name = "peregrine", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Generate a seeded session, replay it through the pinned pipeline, and write a report.
    Demo(DemoArgs),
    /// Replay captured files through the pinned pipeline.
    Replay(ReplayArgs),
    /// Trade a live session: feed and order port of the profile, or the paper venue on the live feed.
    Run(LiveArgs),
    /// Say what is in a capture, an ITCH file or an event log, and whether it is sound.
    Inspect(InspectArgs),
    /// Write a seeded session as an ITCH file or as a capture with two lines.
    Generate(GenerateArgs),
    /// Write what arrives on the lines of a feed to pcapng, until a limit is reached or Ctrl-C.
    Capture(CaptureArgs),
    /// Say what this host gives, what the engine will apply, and what would mend the rest.
    Doctor(DoctorArgs),
    /// Check or print a configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Ask the event log of a run.
    #[command(subcommand)]
    Log(LogCommand),
}

/// `peregrine demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Profile of the run.
    #[arg(long, default_value = "configs/demo.toml")]
    pub config: PathBuf,
    /// Seed of the generated session.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Messages of the generated session, about.
    #[arg(long, default_value_t = 1_500_000)]
    pub messages: u64,
    /// Symbols of the generated session.
    #[arg(long, default_value_t = 200)]
    pub symbol_count: u32,
    /// How the run is made and reported.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What every run can be told.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Overrides one key of the profile, such as `risk.order_qty_max=200`.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Folder of this run (default: a new one under the profile's `log.out_dir`).
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Prints the result as JSON instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// `peregrine replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Length-prefixed ITCH 5.0 files (also gzip), or pcap and pcapng captures; several captures are lines A, B, … of
    /// one feed and are merged by time.
    #[arg(required_unless_present = "verify", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Profile of the run.
    #[arg(long, default_value = "configs/replay.toml")]
    pub config: PathBuf,
    /// How fast: `max` (as fast as it goes), `recorded` (as it was), or `xN` (N times as fast).
    #[arg(long, default_value = "max")]
    pub pace: String,
    /// Open loop: N events per second, their times fixed in advance, waiting counted (no coordinated omission).
    #[arg(long, value_name = "N", conflicts_with = "pace")]
    pub rate: Option<u64>,
    /// Decide from this moment on: `09:30[:00[.5]]` of the venue's day, or nanoseconds since 1970. What comes before it is
    /// read too, so that books and features are whole.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Last moment, excluded.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Watch these symbols only.
    #[arg(long, value_delimiter = ',', value_name = "SYMBOL,…")]
    pub symbols: Vec<String>,
    /// Date of the session, where neither the capture nor the file's name says it.
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub date: Option<String>,
    /// Run the input of this earlier run again and prove that orders, log and state hash are byte-identical. The input of a
    /// live run is its recording, or one of `capture --config`, given behind it. A run that was killed is verified as far as
    /// log and recording go, once `log close` has closed its log.
    #[arg(long, value_name = "LOG", conflicts_with_all = ["rate", "pace", "config", "from", "to", "symbols", "date", "out"])]
    pub verify: Option<PathBuf>,
    /// How the run is made and reported.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Where orders of a live run go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModeArg {
    /// To the paper venue.
    Paper,
    /// To the order port.
    Live,
}

/// `peregrine run`.
#[derive(Debug, Args)]
pub struct LiveArgs {
    /// Profile of the run.
    #[arg(long, default_value = "configs/live.toml")]
    pub config: PathBuf,
    /// Where orders go (default: what the profile says).
    #[arg(long, value_enum)]
    pub mode: Option<ModeArg>,
    /// Date of the session (default: today in the venue's zone).
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub date: Option<String>,
    /// Stop after so many seconds, as Ctrl-C does: cancel everything, wait for the confirmations, log out.
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u64>,
    /// How the run is made and reported.
    #[command(flatten)]
    pub run: RunArgs,
}

/// `peregrine inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Captures, ITCH files, or the folder of an event log.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Writes every change of the best bid and ask to this file.
    #[arg(long, value_name = "OUT.csv")]
    pub bbo: Option<PathBuf>,
    /// Date of the session, where neither the capture nor the file's name says it.
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub date: Option<String>,
    /// Time zone of the venue's clock.
    #[arg(long, default_value = "America/New_York")]
    pub zone: String,
    /// MDP 3.0: books of the feed's price levels instead of its orders.
    #[arg(long)]
    pub mdp3_levels: bool,
    /// MDP 3.0: name and display factor of an instrument of which no definition comes, as 170506=ESU8*0.01; can be repeated.
    #[arg(long, value_name = "ID=NAME*FACTOR")]
    pub mdp3_instrument: Vec<KnownInstrument>,
    /// Prints the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `generate` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GenerateFormat {
    /// Length-prefixed ITCH 5.0.
    Itch,
    /// A capture of MoldUDP64 packets; with `--lines 2` a second file beside it.
    Pcap,
    /// The same of MDP 3.0 packets: what an exchange of that protocol says of the same session.
    Mdp3,
}

/// `peregrine generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// File to write; line B of a capture goes beside it with `.b` before the extension.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// What to write.
    #[arg(long, value_enum, default_value_t = GenerateFormat::Itch)]
    pub format: GenerateFormat,
    /// Seed: the same seed and sizes give the same bytes.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Messages, about.
    #[arg(long, default_value_t = 1_500_000)]
    pub messages: u64,
    /// Symbols.
    #[arg(long, default_value_t = 200)]
    pub symbol_count: u32,
    /// Orders that rest far behind the touch all day, besides the messages above; a whole market has millions.
    #[arg(long, default_value_t = 0)]
    pub standing_orders: u32,
    /// Date of the session.
    #[arg(long, default_value = "2026-01-05", value_name = "YYYY-MM-DD")]
    pub date: String,
    /// Lines of a capture, 1 or 2 (default: 2).
    #[arg(long)]
    pub lines: Option<u8>,
    /// Packets lost on each line of a capture, percent (default: 0).
    #[arg(long, value_name = "PERCENT")]
    pub loss: Option<f64>,
    /// Packets sent twice on each line of a capture, percent (default: 0).
    #[arg(long, value_name = "PERCENT")]
    pub duplication: Option<f64>,
    /// Packets that arrive out of order on each line of a capture, percent (default: 0).
    #[arg(long, value_name = "PERCENT")]
    pub reordering: Option<f64>,
    /// Prints the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `peregrine capture`.
#[derive(Debug, Args)]
pub struct CaptureArgs {
    /// A line: its multicast group (or this host's address) and port, and the address of an interface if it is another
    /// than `--interface`. Up to four: lines A, B, …
    #[arg(long = "line", required_unless_present = "config", value_name = "GROUP:PORT[@INTERFACE]")]
    pub lines: Vec<String>,
    /// Profile of a live run: its lines, and what its servers bring of what every line lost, as a run of it would record
    /// them (one more interface for retransmission, one for snapshots). Ends with the session.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["lines", "interface", "socket_mib", "payload_len_max", "busy_poll_us", "hardware_stamps"]
    )]
    pub config: Option<PathBuf>,
    /// Overrides one key of the profile.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", requires = "config")]
    pub set: Vec<String>,
    /// Date of the session, with a profile (default: today's in the venue's time zone).
    #[arg(long, value_name = "YYYY-MM-DD", requires = "config")]
    pub date: Option<String>,
    /// File to write; `peregrine replay` reads it.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Address of the interface on which groups are joined.
    #[arg(long, default_value = "0.0.0.0", value_name = "ADDRESS")]
    pub interface: Ipv4Addr,
    /// Stops after so many packets.
    #[arg(long, value_name = "N")]
    pub packets: Option<u64>,
    /// Stops after so many seconds.
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Stops after so many MiB.
    #[arg(long, value_name = "N")]
    pub max_mib: Option<u32>,
    /// Begins another file after so many MiB: `day.00002.pcapng` behind `day.pcapng`.
    #[arg(long, value_name = "N")]
    pub file_mib: Option<u32>,
    /// MiB that wait between receiver and disk.
    #[arg(long, default_value_t = 256)]
    pub ring_mib: u32,
    /// MiB that the kernel keeps for each line.
    #[arg(long, default_value_t = 16)]
    pub socket_mib: u32,
    /// Longest payload in bytes.
    #[arg(long, default_value_t = 2_048)]
    pub payload_len_max: u16,
    /// Microseconds for which a receive call polls the driver.
    #[arg(long, default_value_t = 0)]
    pub busy_poll_us: u32,
    /// Takes the network card's time stamps, where it has any.
    #[arg(long)]
    pub hardware_stamps: bool,
    /// Prints the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `peregrine doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Profile whose wishes are held against the host.
    #[arg(long, default_value = "configs/replay.toml")]
    pub config: PathBuf,
    /// Overrides one key of the profile.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Prints the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `peregrine config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say every violation of a profile at once.
    Check(ConfigArgs),
    /// Print the effective configuration with the origin of every value.
    Print(ConfigArgs),
}

/// `peregrine config check` and `print`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The profile.
    #[arg(long, default_value = "configs/replay.toml")]
    pub config: PathBuf,
    /// Overrides one key of the profile.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Prints what every key means instead.
    #[arg(long)]
    pub schema: bool,
    /// Prints the answer as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `peregrine log`.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Tell one order's whole story.
    Why(WhyArgs),
    /// Check every record and the hash chain of a log.
    Check(LogCheckArgs),
    /// Close the log of a run that was killed: add what it had published, give up what is torn, seal.
    Close(LogCheckArgs),
    /// Say how long messages of a live run took to the venue and back, and write the triples that the paper venue takes.
    Latencies(LatenciesArgs),
}

/// `peregrine log why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Our id of the order.
    pub order: u64,
    /// Folder of the run (default: the newest one under `peregrine-out`).
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Prints the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `peregrine log check`.
#[derive(Debug, Args)]
pub struct LogCheckArgs {
    /// Folder of the run.
    pub run: PathBuf,
    /// Prints the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `peregrine log latencies`.
#[derive(Debug, Args)]
pub struct LatenciesArgs {
    /// Folder of a live run.
    pub run: PathBuf,
    /// Writes the triples as CSV: what `[paper] latency_file` of a profile reads.
    #[arg(long, value_name = "FILE.csv")]
    pub out: Option<PathBuf>,
    /// Adds this to every time of the venue, ns: how far its clock is behind ours.
    #[arg(long, value_name = "NS", allow_hyphen_values = true, conflicts_with = "halve")]
    pub venue_offset: Option<i64>,
    /// Puts every time of the venue in the middle of its round trip, and leaves out fills, which have none.
    #[arg(long)]
    pub halve: bool,
    /// Prints the result as JSON.
    #[arg(long)]
    pub json: bool,
}

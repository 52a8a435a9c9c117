//! The command line: what the words mean. What the commands do is in `commands`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Research for Peregrine: datasets, training, diagnosis and candidates.
#[derive(Debug, Parser)]
#[command(name = "peregrine-lab", version, about, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build a dataset, or say what one holds.
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// Make a session that can be replayed from a capture of another format, or DBN from a session.
    Convert(ConvertArgs),
    /// Train a world model or the LSTM baseline; a profile with a search section runs every combination.
    Train(TrainArgs),
    /// Judge a model on training and held-out data; writes diagnosis.html and diagnosis.json.
    Diagnose(DiagnoseArgs),
    /// Tune a model on a rolling window at a small learning rate; yields a candidate with its parent's hash.
    Finetune(ParentArgs),
    /// Train anew on a rolling window; yields a candidate with its parent's hash.
    Retrain(ParentArgs),
    /// Take in tensors that another program trained, under the documented names.
    Import(ImportArgs),
    /// Write a model's tensors as a plain state dictionary for another program.
    Export(ExportArgs),
    /// List the trial ledger.
    Trials(TrialsArgs),
    /// Make the default model of the demonstration: generated session, dataset, training, diagnosis.
    DemoModel(DemoModelArgs),
    /// Train on a generated market whose truth is known and hold the model against the filter that knows it.
    Truth(TruthArgs),
}

/// `peregrine-lab dataset`.
#[derive(Debug, Subcommand)]
pub(crate) enum DatasetCommand {
    /// Order-book features at decision events, from captures (ITCH, pcap, pcapng, gzip; several are merged by time).
    Ticks(TicksArgs),
    /// Features of daily or minute bars, from CSV, zip or Parquet files.
    Bars(BarsArgs),
    /// Say what a dataset holds and where it came from.
    Show {
        /// The Parquet file.
        dataset: PathBuf,
        /// For machines.
        #[arg(long)]
        json: bool,
    },
}

/// `peregrine-lab dataset ticks`.
#[derive(Debug, Args)]
pub(crate) struct TicksArgs {
    /// Captures, or quote files of one day.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Profile: symbols, horizons, integrity rules.
    #[arg(long, default_value = "configs/train/dataset-ticks.toml")]
    pub(crate) config: PathBuf,
    /// Date of a raw ITCH file, such as 2026-01-05, where neither its name nor a receive time tells it.
    #[arg(long)]
    pub(crate) date: Option<String>,
    /// The Parquet file to write; its manifest stands beside it.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// For machines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `peregrine-lab dataset bars`.
#[derive(Debug, Args)]
pub(crate) struct BarsArgs {
    /// Files of bars, one instrument each; `NAME.factor.csv` beside `NAME.zip` holds its corporate actions.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Profile: features, horizons, integrity rules.
    #[arg(long, default_value = "configs/train/dataset-bars.toml")]
    pub(crate) config: PathBuf,
    /// Daily VIX.
    #[arg(long)]
    pub(crate) vix: Option<PathBuf>,
    /// Daily Treasury yields.
    #[arg(long)]
    pub(crate) yields: Option<PathBuf>,
    /// The Parquet file to write; its manifest stands beside it.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// For machines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where training ends and where validation ends.
#[derive(Clone, Debug, Args)]
pub(crate) struct FoldArgs {
    /// The dataset.
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Rows before this moment train: a date such as 2012-12-31, or a time such as 2026-01-05T15:00:00Z.
    /// Without it the first four fifths of the time before --until train.
    #[arg(long)]
    pub(crate) train_until: Option<String>,
    /// Rows from there to this moment validate; what comes later stays unseen. Without it: to the end.
    #[arg(long)]
    pub(crate) until: Option<String>,
    /// Rows before this moment are left out.
    #[arg(long)]
    pub(crate) from: Option<String>,
    /// A rolling window: only this many days before --until (or before the end of the data) are used.
    #[arg(long, conflicts_with = "from")]
    pub(crate) window_days: Option<u32>,
}

/// What a training run is told beside its data.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// Folder of the artefact, its manifest and the checkpoint.
    #[arg(long, default_value = "peregrine-out/models")]
    pub(crate) out: PathBuf,
    /// The trial ledger: every run is one line, failed and interrupted ones too.
    #[arg(long, default_value = "peregrine-out/trials.sqlite")]
    pub(crate) ledger: PathBuf,
    /// Go on from the checkpoint in the folder where there is one; what is finished is not trained again.
    #[arg(long)]
    pub(crate) resume: bool,
    /// For machines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `peregrine-lab train`.
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// Profile of the training.
    #[arg(long)]
    pub(crate) config: PathBuf,
    /// Which data.
    #[command(flatten)]
    pub(crate) fold: FoldArgs,
    /// How the run is kept.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// `peregrine-lab finetune` and `retrain`.
#[derive(Debug, Args)]
pub(crate) struct ParentArgs {
    /// The model that the candidate comes from.
    pub(crate) model: PathBuf,
    /// How it is trained.
    #[command(flatten)]
    pub(crate) train: TrainArgs,
}

/// `peregrine-lab diagnose`.
#[derive(Debug, Args)]
pub(crate) struct DiagnoseArgs {
    /// The model file.
    pub(crate) model: PathBuf,
    /// The dataset that the model was trained on, with later rows.
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Rows from this moment on are held out.
    #[arg(long)]
    pub(crate) held_out_from: String,
    /// Where training ended and validation began: rows before this moment are shown as training data, those from there to
    /// --held-out-from are left out. Without it all rows before --held-out-from count as training data.
    #[arg(long)]
    pub(crate) train_until: Option<String>,
    /// Rows before this moment are left out.
    #[arg(long)]
    pub(crate) from: Option<String>,
    /// Rows from this moment on are left out.
    #[arg(long)]
    pub(crate) until: Option<String>,
    /// An LSTM baseline to stand beside it.
    #[arg(long)]
    pub(crate) lstm: Option<PathBuf>,
    /// Thresholds and sample sizes.
    #[arg(long, default_value = "configs/train/diagnose.toml")]
    pub(crate) config: PathBuf,
    /// Folder of the report.
    #[arg(long, default_value = "peregrine-out/diagnosis")]
    pub(crate) out: PathBuf,
    /// For machines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `peregrine-lab import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// A safetensors file with the documented names: a state dictionary.
    pub(crate) file: PathBuf,
    /// A world model or LSTM artefact of ours whose metadata (features, scaler, horizons, widths) the tensors belong to.
    #[arg(long)]
    pub(crate) template: PathBuf,
    /// The artefact to write.
    #[arg(long)]
    pub(crate) out: PathBuf,
}

/// `peregrine-lab export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The model file.
    pub(crate) file: PathBuf,
    /// The plain safetensors file to write.
    #[arg(long)]
    pub(crate) out: PathBuf,
}

/// `peregrine-lab trials`.
#[derive(Debug, Args)]
pub(crate) struct TrialsArgs {
    /// The trial ledger.
    #[arg(long, default_value = "peregrine-out/trials.sqlite")]
    pub(crate) ledger: PathBuf,
    /// Only trials on these data: SHA-256 of their sources or of the training rows, or its first digits.
    #[arg(long)]
    pub(crate) data: Option<String>,
    /// For machines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `peregrine-lab demo-model`.
#[derive(Debug, Args)]
pub(crate) struct DemoModelArgs {
    /// Profile of the training.
    #[arg(long, default_value = "configs/train/demo.toml")]
    pub(crate) config: PathBuf,
    /// Profile of the dataset.
    #[arg(long, default_value = "configs/train/dataset-demo.toml")]
    pub(crate) dataset_config: PathBuf,
    /// Thresholds of the diagnosis.
    #[arg(long, default_value = "configs/train/diagnose.toml")]
    pub(crate) diagnose_config: PathBuf,
    /// Folder of the diagnosis.
    #[arg(long, default_value = "peregrine-out/diagnosis")]
    pub(crate) diagnosis: PathBuf,
    /// Seed of the first of five generated sessions: three train, one validates, one is held out. The demonstration replays another
    /// one.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) seed: u64,
    /// Messages of each generated session, about.
    #[arg(long, default_value_t = 1_800_000)]
    pub(crate) messages: u64,
    /// How the run is kept.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// `peregrine-lab truth`.
#[derive(Debug, Args)]
pub(crate) struct TruthArgs {
    /// Profile of the training; its own seed gives way to --seed.
    #[arg(long, default_value = "configs/train/truth.toml")]
    pub(crate) config: PathBuf,
    /// Seed of data and training.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Rows to train on; a quarter as many validate.
    #[arg(long, default_value_t = 384_000)]
    pub(crate) rows: usize,
    /// Rows that the model is judged on.
    #[arg(long, default_value_t = 60_000)]
    pub(crate) held_out_rows: usize,
    /// A market of the same features in which nothing predicts a return: the model must find nothing.
    #[arg(long)]
    pub(crate) without_signal: bool,
    /// A control that must fail: the return targets of training and validation are dealt out to the rows at random.
    #[arg(long)]
    pub(crate) shuffled: bool,
    /// How the run is kept.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// By how much an exchange's time may be later than the receiver's, unless another bound is given.
pub(crate) const CLOCK_BOUND_MS: u32 = 1_000;

/// `peregrine-lab convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The file: DBN, LOBSTER, Binance or Tardis; with --to dbn, sessions (ITCH, pcap, pcapng).
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The file to write. A session whose name holds its date is replayed without --date.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// What the file is; found by its content where it is not given.
    #[arg(long, value_enum)]
    pub(crate) from: Option<SourceFormat>,
    /// What to write.
    #[arg(long, value_enum, default_value = "itch50")]
    pub(crate) to: TargetFormat,
    /// Which records a DBN file has (--to dbn); mbo where it is not given.
    #[arg(long, value_enum)]
    pub(crate) schema: Option<TargetSchema>,
    /// The session's date, such as 2026-01-05, where neither the first row nor the name tells it.
    #[arg(long)]
    pub(crate) date: Option<String>,
    /// Time zone in whose midnight the session begins.
    #[arg(long, default_value = "America/New_York")]
    pub(crate) zone: String,
    /// Only these instruments, by the file's names; LOBSTER: what the file's symbol is.
    #[arg(long, value_delimiter = ',')]
    pub(crate) symbols: Vec<String>,
    /// Power of ten that prices are multiplied with, so that they have four decimals and lie below 429,496.7296.
    #[arg(long, default_value = "1")]
    pub(crate) price_scale: String,
    /// What one share of the session stands for (Binance, Tardis); by default the finest decimal step of the file.
    #[arg(long)]
    pub(crate) lot: Option<String>,
    /// Which clock stamps the messages.
    #[arg(long, value_enum, default_value = "receive")]
    pub(crate) stamp: Stamp,
    /// By how many milliseconds an exchange time may be later than the receive time.
    #[arg(long, default_value_t = CLOCK_BOUND_MS)]
    pub(crate) clock_bound_ms: u32,
    /// Stop at the first thing that a sound file does not have.
    #[arg(long)]
    pub(crate) strict: bool,
    /// For machines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SourceFormat {
    /// Databento's DBN: orders, price levels, trades, states, imbalances.
    Dbn,
    /// LOBSTER's message file.
    Lobster,
    /// Binance messages, a receive time in front of each.
    Binance,
    /// Tardis' incremental_book_L2.
    Tardis,
}

/// What can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetFormat {
    /// A session of length-prefixed ITCH 5.0 messages.
    Itch50,
    /// Databento's DBN of one schema, uncompressed.
    Dbn,
}

/// Which records a DBN file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetSchema {
    /// Every order.
    Mbo,
    /// Changes of the best level, and trades.
    #[value(name = "mbp-1")]
    Mbp1,
    /// Changes of the ten best levels, and trades.
    #[value(name = "mbp-10")]
    Mbp10,
    /// Trades, with the best level that each of them met.
    Tbbo,
    /// Trades.
    Trades,
    /// Instruments.
    Definition,
    /// Trading states, price tests and halts.
    Status,
    /// Auction prices, and what the session's trades come to.
    Statistics,
    /// Imbalances of auctions.
    Imbalance,
}

/// Whose clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stamp {
    /// The receiver's, where the file has one.
    Receive,
    /// The exchange's.
    Exchange,
}

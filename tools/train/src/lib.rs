//! Training of the world model and of the LSTM baseline, candidates, and the trial ledger.
#![forbid(unsafe_code)]

mod calibrate;
mod candidate;
mod checkpoint;
mod classifier;
mod config;
mod controller;
mod engine;
mod error;
mod fold;
mod gemm;
mod graph;
mod interchange;
mod ledger;
mod lstm;
mod lstm_core;
mod objective;
mod observe;
#[cfg(test)]
mod oracles;
mod params;
mod parity;
mod random;
mod real;
mod regimes;
mod search;
pub mod speed;
mod state;
mod train;
mod tune;
#[cfg(test)]
mod twin;
mod world;
mod world_core;

pub use candidate::{Candidate, Kind, Manifest};
pub use config::{
    ControllerConfig, LossConfig, LstmConfig, OptimizerConfig, RegimeConfig, ScheduleConfig, TrainConfig, WorldConfig,
};
pub use error::TrainError;
pub use interchange::{UNKNOWN_SHA256, export_state_dict, import_state_dict};
pub use ledger::{DatasetTrials, Ledger, Trial, TrialStatus};
pub use lstm::{LSTM_METADATA_KEY, LstmBaseline, LstmMeta};
pub use observe::{Control, EpochReport, Losses, Observer, Progress, Silent, Stage};
pub use parity::{Differences, ParityReport, parity};
pub use search::{SEARCH_RUNS_MAX, configurations};
pub use train::{Folds, LAST_TIME_NS_KEY, VALIDATION_SHA256_KEY, train, train_or_resume};
pub use tune::{FINETUNE_LEARNING_RATE, Keep, finetune, retrain};

//! What a run carries from step to step: weights, optimiser, best weights, epoch, lanes. All of it is in a checkpoint.

use crate::objective::LossSums;
use crate::observe::EpochReport;
use crate::params::{AdamW, Params};

/// The best weights so far, a deep copy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Best {
    pub(crate) epoch: u32,
    pub(crate) loss: f64,
    pub(crate) params: Params<f32>,
}

/// The state of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunState {
    pub(crate) epoch: u32,
    /// Steps of the epoch that are done.
    pub(crate) step: u64,
    /// Steps of the run that are done: the stream of every draw.
    pub(crate) steps_done: u64,
    pub(crate) params: Params<f32>,
    pub(crate) optimizer: AdamW<f32>,
    pub(crate) best: Option<Best>,
    /// Epochs since the best one.
    pub(crate) stale_epochs: u32,
    /// Deterministic state per lane (world model).
    pub(crate) lanes: Vec<f32>,
    pub(crate) sums: LossSums,
    pub(crate) history: Vec<EpochReport>,
}

impl RunState {
    pub(crate) fn new(params: Params<f32>, lane_floats: usize) -> Self {
        Self {
            epoch: 0,
            step: 0,
            steps_done: 0,
            optimizer: AdamW::new(&params),
            params,
            best: None,
            stale_epochs: 0,
            lanes: vec![0.0; lane_floats],
            sums: LossSums::default(),
            history: Vec::new(),
        }
    }

    /// Ends an epoch: keeps the weights when its validation loss is the best so far, and starts the next one.
    pub(crate) fn end_epoch(&mut self, mut report: EpochReport) -> &EpochReport {
        let loss = report.validation.total;
        report.is_best = self.best.as_ref().is_none_or(|best| loss < best.loss);
        if report.is_best {
            self.best = Some(Best { epoch: self.epoch, loss, params: self.params.clone() });
            self.stale_epochs = 0;
        } else {
            self.stale_epochs += 1;
        }
        self.history.push(report);
        self.epoch += 1;
        self.step = 0;
        self.sums = LossSums::default();
        self.lanes.fill(0.0);
        // Just pushed.
        &self.history[self.history.len() - 1]
    }

    /// The best weights, or the present ones before any epoch has ended.
    pub(crate) fn best_params(&self) -> &Params<f32> {
        self.best.as_ref().map_or(&self.params, |best| &best.params)
    }
}

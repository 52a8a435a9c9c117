//! The loop that every network is trained by: epochs of steps, early stopping, checkpoints, and an observer who may stop it.

use std::path::Path;
use std::time::Instant;

use crate::checkpoint::{self, Identity};
use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::objective::LossSums;
use crate::observe::{Control, EpochReport, Losses, Observer, Progress};
use crate::params::{Params, clip_norm};
use crate::state::{Best, RunState};

/// A network and its data: what one epoch is made of.
pub(crate) trait Task {
    /// Steps of an epoch.
    fn steps(&self, epoch: u32) -> u64;
    /// Prepares an epoch of which `done` steps have been made before.
    fn begin(&mut self, epoch: u32, done: u64);
    /// Losses and gradients of the next step; `lanes` is the carried state. `None` at the end of the epoch.
    fn step(&mut self, params: &Params<f32>, step: u64, lanes: &mut [f32]) -> Option<(LossSums, Params<f32>)>;
    /// Losses on the validation fold.
    fn validate(&self, params: &Params<f32>) -> LossSums;
    /// Means with the weighted total.
    fn losses(&self, sums: &LossSums) -> Losses;
}

/// What a run needs beside its network.
pub(crate) struct Run<'a> {
    pub(crate) config: &'a TrainConfig,
    pub(crate) identity: Identity,
    pub(crate) checkpoint: Option<&'a Path>,
}

impl Run<'_> {
    /// The state of the checkpoint, when one is asked for and there, or a new one.
    pub(crate) fn start(&self, new: impl FnOnce() -> RunState) -> Result<RunState, TrainError> {
        match self.checkpoint.filter(|path| path.exists()) {
            Some(path) => checkpoint::load(path, &self.identity),
            None => Ok(new()),
        }
    }

    fn save(&self, state: &RunState) -> Result<(), TrainError> {
        self.checkpoint.map_or(Ok(()), |path| checkpoint::save(path, &self.identity, state))
    }

    /// Stops the run if the observer wants it.
    pub(crate) fn heed(&self, control: Control, state: &RunState) -> Result<(), TrainError> {
        match control {
            Control::Continue => Ok(()),
            Control::Stop => self.interrupted(state),
        }
    }

    fn interrupted(&self, state: &RunState) -> Result<(), TrainError> {
        self.save(state)?;
        let checkpoint = self.checkpoint.map(Path::to_owned);
        Err(TrainError::Interrupted { epoch: state.epoch, step: state.step, checkpoint })
    }

    /// The learning rate of an epoch: a half cosine from the first to the last (Loshchilov & Hutter 2017).
    fn learning_rate(&self, epoch: u32) -> f64 {
        let (optimizer, epochs) = (&self.config.optimizer, self.config.schedule.epochs_max);
        let (first, last) = (optimizer.learning_rate, optimizer.learning_rate_last);
        let done = f64::from(epoch) / f64::from(epochs.saturating_sub(1).max(1));
        last + (first - last) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
    }

    /// Makes the weights that a run starts from the ones to beat.
    pub(crate) fn keep_start(task: &impl Task, state: &mut RunState) {
        if state.steps_done == 0 {
            let loss = task.losses(&task.validate(&state.params)).total;
            state.best = Some(Best { epoch: 0, loss, params: state.params.clone() });
        }
    }

    /// Trains until the epochs or the patience are used up; the best weights are then in `state`.
    pub(crate) fn train(
        &self,
        task: &mut impl Task,
        state: &mut RunState,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        let schedule = &self.config.schedule;
        let mut clock = Clock { began: Instant::now(), steps: 0 };
        while state.epoch < schedule.epochs_max && state.stale_epochs < schedule.patience {
            task.begin(state.epoch, state.step);
            self.epoch(task, state, &mut clock, observer)?;
            let (training, validation) = (task.losses(&state.sums), task.losses(&task.validate(&state.params)));
            if !validation.total.is_finite() {
                return Err(diverged(state, "the validation loss".to_owned()));
            }
            let report = EpochReport { epoch: state.epoch, training, validation, is_best: false };
            let control = observer.epoch(state.end_epoch(report));
            self.save(state)?;
            self.heed(control, state)?;
        }
        Ok(())
    }

    fn epoch(
        &self,
        task: &mut impl Task,
        state: &mut RunState,
        clock: &mut Clock,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        let optimizer = &self.config.optimizer;
        let rate = self.learning_rate(state.epoch);
        let steps = task.steps(state.epoch);
        while let Some((sums, mut gradients)) = task.step(&state.params, state.steps_done, &mut state.lanes) {
            if let Some((name, index)) = gradients.first_fault() {
                return Err(diverged(state, format!("the gradient of {name}[{index}]")));
            }
            clip_norm(&mut gradients, optimizer.gradient_norm_max);
            state.optimizer.step(&mut state.params, &gradients, rate, optimizer.weight_decay);
            state.sums.add(&sums);
            (state.step, state.steps_done, clock.steps) = (state.step + 1, state.steps_done + 1, clock.steps + 1);
            let progress = clock.progress(state, steps, self.config.schedule.epochs_max, task.losses(&state.sums));
            self.heed(observer.step(&progress), state)?;
            if state.steps_done.is_multiple_of(self.config.schedule.checkpoint_steps) {
                self.save(state)?;
            }
        }
        Ok(())
    }
}

fn diverged(state: &RunState, what: String) -> TrainError {
    TrainError::Diverged { epoch: state.epoch, step: state.step, what }
}

struct Clock {
    began: Instant,
    steps: u32,
}

impl Clock {
    fn progress(&self, state: &RunState, steps: u64, epochs_max: u32, losses: Losses) -> Progress {
        let rate = f64::from(self.steps) / self.began.elapsed().as_secs_f64().max(1e-9);
        let epochs_left = f64::from(epochs_max.saturating_sub(state.epoch + 1));
        let small = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let left = small(steps.saturating_sub(state.step)) + epochs_left * small(steps);
        Progress {
            epoch: state.epoch,
            epochs_max,
            step: state.step,
            steps,
            losses,
            best_validation: state.best.as_ref().map(|best| best.loss),
            steps_per_second: rate,
            seconds_left: left / rate.max(1e-9),
        }
    }
}

//! Training of the world model: its task for the loop, its initialisation, and what it sees of a fold.

use crate::config::{TrainConfig, WorldConfig};
use crate::engine::Task;
use crate::fold::{Cursor, Dealer, Fold, Piece, whole};
use crate::objective::{LossSums, LossWeights, World, WorldShape};
use crate::observe::Losses;
use crate::params::Params;
use crate::random::{fan_in, normals, shuffled, stream};

/// The training folds and how they are walked.
pub(crate) struct WorldTask<'a> {
    pub(crate) seed: u64,
    threads: usize,
    pub(crate) config: &'a WorldConfig,
    pub(crate) shape: &'a WorldShape,
    pub(crate) train: &'a Fold,
    pub(crate) validation: &'a Fold,
    pieces: &'a [Piece],
    dealer: Option<Dealer<'a>>,
}

impl<'a> WorldTask<'a> {
    /// `pieces` are those of `train`.
    pub(crate) fn new(
        config: &'a TrainConfig,
        world: &'a WorldConfig,
        shape: &'a WorldShape,
        (train, validation): (&'a Fold, &'a Fold),
        pieces: &'a [Piece],
    ) -> Self {
        Self {
            seed: config.seed,
            threads: config.schedule.threads,
            config: world,
            shape,
            train,
            validation,
            pieces,
            dealer: None,
        }
    }

    fn deal(&self, epoch: u32) -> Dealer<'a> {
        let order = shuffled(&mut stream(self.seed, "order", u64::from(epoch)), self.pieces.len());
        Dealer::new(self.pieces, order, self.config.lanes, self.config.chunk_rows)
    }
}

pub(crate) fn loss_weights(config: &WorldConfig) -> LossWeights {
    let loss = &config.loss;
    LossWeights {
        reconstruction: loss.reconstruction,
        kl: loss.kl,
        free_nats: loss.free_nats,
        kl_balance: loss.kl_balance,
        return_nll: loss.return_nll,
        direction: loss.direction,
    }
}

impl Task for WorldTask<'_> {
    fn steps(&self, epoch: u32) -> u64 {
        self.deal(epoch).count_chunks()
    }

    fn begin(&mut self, epoch: u32, done: u64) {
        let mut dealer = self.deal(epoch);
        for _ in 0..done {
            dealer.advance(&mut [], 0);
        }
        self.dealer = Some(dealer);
    }

    fn step(&mut self, params: &Params<f32>, step: u64, lanes: &mut [f32]) -> Option<(LossSums, Params<f32>)> {
        let dealer = self.dealer.as_mut()?;
        if !dealer.advance(lanes, self.shape.h) {
            return None;
        }
        let chunk = self.train.chunk(&dealer.lanes, self.config.chunk_rows);
        let mut noise = vec![0.0; chunk.steps * chunk.lanes * self.shape.z];
        normals(&mut stream(self.seed, "posterior", step), &mut noise);
        let world = World { shape: self.shape, params };
        let step = world.step_shared(&chunk, (&noise, lanes), &loss_weights(self.config), self.threads);
        lanes.copy_from_slice(&step.h_last);
        Some((step.sums, step.gradients))
    }

    fn validate(&self, params: &Params<f32>) -> LossSums {
        let world = World { shape: self.shape, params };
        let weights = loss_weights(self.config);
        let mut sums = LossSums::default();
        walk(self.validation, self.config, self.shape.h, |dealer, state| {
            let chunk = self.validation.chunk(dealer, self.config.chunk_rows);
            let step = world.evaluate(&chunk, state, &weights);
            state.copy_from_slice(&step.h_last);
            sums.add(&step.sums);
        });
        sums
    }

    fn losses(&self, sums: &LossSums) -> Losses {
        let loss = &self.config.loss;
        let per = |sum: f64, count: f64| if count > 0.0 { sum / count } else { 0.0 };
        let horizons = whole(sums.return_nll.len().max(1));
        let return_nll = sums.return_nll.iter().map(|(sum, count)| per(*sum, *count)).sum::<f64>() / horizons;
        let reconstruction = per(sums.reconstruction, sums.rows);
        let direction = per(sums.direction.0, sums.direction.1);
        let total = loss.reconstruction * reconstruction
            + loss.kl * per(sums.kl_charged, sums.rows)
            + loss.return_nll * return_nll
            + loss.direction * direction;
        Losses { total, reconstruction, kl: per(sums.kl, sums.rows), return_nll, direction }
    }
}

/// Goes through a fold in its own order, chunk by chunk, with the state carried in lanes.
fn walk(fold: &Fold, config: &WorldConfig, h: usize, mut visit: impl FnMut(&[Option<Cursor>], &mut [f32])) {
    let pieces = fold.pieces(config.lanes, config.chunk_rows, config.burn_in_rows);
    let mut dealer = Dealer::new(&pieces, (0..pieces.len()).collect(), config.lanes, config.chunk_rows);
    let mut state = vec![0.0; config.lanes * h];
    while dealer.advance(&mut state, h) {
        visit(&dealer.lanes, &mut state);
    }
}

/// One row of a fold as the model sees it.
pub(crate) struct Seen<'a> {
    /// The row's index in the fold.
    pub(crate) row: usize,
    pub(crate) h: &'a [f32],
    /// The posterior mean.
    pub(crate) z: &'a [f32],
    /// The deterministic state of the next row.
    pub(crate) h_next: &'a [f32],
}

impl Seen<'_> {
    /// A linear head on `[h, z]`.
    pub(crate) fn head(&self, weight: &[f32], bias: f32) -> f64 {
        let s = self.h.iter().chain(self.z);
        weight.iter().zip(s).map(|(w, s)| f64::from(*w) * f64::from(*s)).sum::<f64>() + f64::from(bias)
    }
}

/// Calls `visit` for every row of a fold that counts, with the posterior's means.
pub(crate) fn visit_latents(
    world: &World<'_, f32>,
    fold: &Fold,
    config: &WorldConfig,
    mut visit: impl FnMut(&Seen<'_>),
) {
    let (h, z) = (world.shape.h, world.shape.z);
    walk(fold, config, h, |cursors, state| {
        let chunk = fold.chunk(cursors, config.chunk_rows);
        let tape = world.latents((&chunk.x, chunk.lanes), chunk.steps, state);
        for (row, (h, z)) in tape.h.chunks_exact(h).zip(tape.z.chunks_exact(z)).enumerate() {
            let (step, lane) = (row / chunk.lanes, row % chunk.lanes);
            if let (true, Some(cursor)) = (chunk.row_weight[row] > 0.0, cursors[lane]) {
                let next = (row + chunk.lanes) * h.len();
                let h_next = &tape.h[next..next + h.len()];
                visit(&Seen { row: cursor.piece.start + cursor.done + step, h, z, h_next });
            }
        }
        let rows = chunk.steps * chunk.lanes * h;
        state.copy_from_slice(&tape.h[rows..]);
    });
}

/// Layers of the world model that are trained together: name, outputs, inputs.
pub(crate) fn layout(d: usize, shape: &WorldShape) -> Vec<(&'static str, usize, usize)> {
    let (e, h, z, n) = (shape.e, shape.h, shape.z, shape.return_log_scale.len());
    vec![
        ("encoder.0", e, d),
        ("encoder.2", e, e),
        ("prior", 2 * z, h),
        ("posterior", 2 * z, h + e),
        ("return_mean", n, h + z),
        ("return_log_var", n, h + z),
        ("up", 1, h + z),
        ("decoder.0", e, h + z),
        ("decoder.2", d, e),
    ]
}

/// PyTorch's default initialisation, heads and log-variances small, so that training starts from "nothing is known".
pub(crate) fn initial(seed: u64, d: usize, shape: &WorldShape) -> Params<f32> {
    let mut params = Params::default();
    let mut rng = stream(seed, "initial", 0);
    for (name, outputs, inputs) in layout(d, shape) {
        let gain = if matches!(name, "return_mean" | "return_log_var" | "up") { 0.1 } else { 1.0 };
        let mut weight = fan_in(&mut rng, outputs * inputs, inputs);
        weight.iter_mut().for_each(|x| *x *= gain);
        if matches!(name, "prior" | "posterior") {
            weight.iter_mut().skip(shape.z * inputs).for_each(|x| *x *= 0.2);
        }
        params.insert(&format!("{name}.weight"), vec![outputs, inputs], weight);
        params.insert(&format!("{name}.bias"), vec![outputs], vec![0.0; outputs]);
    }
    let (h, z) = (shape.h, shape.z);
    for (name, columns) in [("gru.weight_ih", z), ("gru.weight_hh", h)] {
        params.insert(name, vec![3 * h, columns], fan_in(&mut rng, 3 * h * columns, h));
    }
    for name in ["gru.bias_ih", "gru.bias_hh"] {
        params.insert(name, vec![3 * h], fan_in(&mut rng, 3 * h, h));
    }
    params
}

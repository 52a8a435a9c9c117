//! How fast a training step is: the measure that is held against PyTorch (`scripts/train_speed.py`).

use std::time::Instant;

use peregrine_model::Size;

use crate::objective::{Chunk, LossWeights, World, WorldShape};
use crate::params::{AdamW, clip_norm};
use crate::random::{normals, stream, uniform};
use crate::real::Real;
use crate::world::initial;

/// Shape of the measured step.
#[derive(Clone, Copy, Debug)]
pub struct StepShape {
    /// Size of the model.
    pub size: Size,
    /// Horizons of the return heads.
    pub horizons: usize,
    /// Sequences side by side.
    pub lanes: usize,
    /// Steps through which gradients flow back.
    pub chunk_rows: usize,
    /// Threads that share the lanes.
    pub threads: usize,
}

/// Seconds of each of `steps` whole training steps of the world model (posterior noise, forward, backward, clipping, AdamW,
/// state carried) on one seeded chunk, after three that are not counted.
#[must_use]
pub fn seconds_per_step(shape: StepShape, steps: usize) -> Vec<f64> {
    let size = shape.size;
    let (rows, n) = (shape.lanes * shape.chunk_rows, shape.horizons);
    let world_shape = WorldShape { e: size.e(), h: size.h(), z: size.z(), return_log_scale: vec![-18.0; n] };
    let mut params = initial(1, size.d(), &world_shape);
    let mut optimizer = AdamW::new(&params);
    let mut rng = stream(1, "speed", 0);
    let mut draw = |count: usize| {
        let mut to = vec![0.0_f32; count];
        normals(&mut rng, &mut to);
        to
    };
    let mut ups = stream(1, "up", 0);
    let chunk = Chunk {
        steps: shape.chunk_rows,
        lanes: shape.lanes,
        x: draw(rows * size.d()),
        row_weight: vec![1.0; rows],
        returns: draw(rows * n),
        return_weight: vec![1.0; rows * n],
        up: (0..rows).map(|_| f32::of(uniform(&mut ups).round())).collect(),
    };
    let weights =
        LossWeights { reconstruction: 16.0, kl: 1.0, free_nats: 1.0, kl_balance: 0.8, return_nll: 4.0, direction: 1.0 };
    let mut lanes = vec![0.0; shape.lanes * size.h()];
    let mut noise = vec![0.0; rows * size.z()];
    let mut seconds = Vec::with_capacity(steps);
    for step in 0..steps + 3 {
        let began = Instant::now();
        normals(&mut stream(1, "posterior", u64::try_from(step).unwrap_or(0)), &mut noise);
        let world = World { shape: &world_shape, params: &params };
        let mut done = world.step_shared(&chunk, (&noise, &lanes), &weights, shape.threads);
        clip_norm(&mut done.gradients, 1.0);
        optimizer.step(&mut params, &done.gradients, 1e-3, 1e-4);
        lanes.copy_from_slice(&done.h_last);
        if step >= 3 {
            seconds.push(began.elapsed().as_secs_f64());
        }
    }
    seconds
}

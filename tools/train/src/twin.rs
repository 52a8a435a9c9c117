//! The slow obvious twin of the recurrent core: the same chunk as burn operations step by step, with burn's gradients.

use crate::graph::{Leaves, Matrix, columns, elements, matrix};
use crate::params::{Array, Params};
use crate::random::{fan_in, normals, stream};
use crate::real::Real;
use crate::world_core::{CoreWeights, Incoming, LATENT_LOG_VAR, Lengths, backward, forward};

fn sigmoid(x: Matrix) -> Matrix {
    burn::tensor::activation::sigmoid(x)
}

/// `h_seen`, `z` and `q`, each [rows, width].
fn core_of_burn(lengths: Lengths, leaves: &Leaves, noise: Option<Matrix>) -> [Matrix; 3] {
    let Lengths { steps, lanes, h, z } = lengths;
    let (ih, hh) = (leaves.get("ih").transpose(), leaves.get("hh").transpose());
    let mut state = leaves.get("start");
    let (mut seen, mut samples, mut posteriors) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..steps {
        let at = |from: Matrix| from.narrow(0, step * lanes, lanes);
        let q = at(leaves.get("a")) + state.clone().matmul(leaves.get("posterior").transpose());
        let (mean, log_var) = (columns(q.clone(), 0, z), columns(q.clone(), z, z));
        let sample = match &noise {
            None => mean,
            Some(noise) => {
                let log_var = log_var.clamp(LATENT_LOG_VAR.0, LATENT_LOG_VAR.1);
                mean + (log_var * 0.5).exp() * at(noise.clone())
            }
        };
        let from_z = sample.clone().matmul(ih.clone()) + leaves.get("bias_ih");
        let from_h = state.clone().matmul(hh.clone()) + leaves.get("bias_hh");
        let gate = |from: &Matrix, index: usize| columns(from.clone(), index * h, h);
        let reset = sigmoid(gate(&from_z, 0) + gate(&from_h, 0));
        let update = sigmoid(gate(&from_z, 1) + gate(&from_h, 1));
        let new = (gate(&from_z, 2) + reset * gate(&from_h, 2)).tanh();
        seen.push(state.clone());
        samples.push(sample);
        posteriors.push(q);
        state = (update.clone() * -1.0 + 1.0) * new + update * state;
    }
    [seen, samples, posteriors].map(|parts| Matrix::cat(parts, 0))
}

fn case<T: Real>(is_sampled: bool, tolerance: f64) {
    let lengths = Lengths { steps: 7, lanes: 5, h: 12, z: 4 };
    let Lengths { steps, lanes, h, z } = lengths;
    let mut rng = stream(11, "twin", 0);
    let mut draw = |count: usize, scale: f32| -> Vec<T> {
        fan_in(&mut rng, count, 1).into_iter().map(|x| T::of((x * scale).wide())).collect()
    };
    let mut params = Params::default();
    // The posterior's log-variances reach beyond both ends of the clip.
    let shapes =
        [("ih", 3 * h, z, 0.8), ("hh", 3 * h, h, 0.5), ("posterior", 2 * z, h, 3.0), ("a", steps * lanes, 2 * z, 9.0)];
    for (name, rows, width, scale) in shapes {
        params.insert(name, vec![rows, width], draw(rows * width, scale));
    }
    params.insert("bias_ih", vec![3 * h], draw(3 * h, 0.3));
    params.insert("bias_hh", vec![3 * h], draw(3 * h, 0.3));
    params.insert("start", vec![lanes, h], draw(lanes * h, 1.0));
    let incoming = [h, z, 2 * z].map(|width| draw(steps * lanes * width, 1.0));
    let mut noise = vec![0.0_f32; steps * lanes * z];
    normals(&mut rng, &mut noise);
    let noise: Option<Vec<T>> = is_sampled.then(|| noise.iter().map(|x| T::of(x.wide())).collect());

    let leaves = Leaves::of(&params, true, |_| true);
    let noise_matrix = noise.clone().map(|noise| matrix(noise, steps * lanes, &leaves.device));
    let outputs = core_of_burn(lengths, &leaves, noise_matrix);
    let mut loss = None;
    for (output, weight) in outputs.iter().zip(&incoming) {
        let part = (output.clone() * matrix(weight.clone(), steps * lanes, &leaves.device)).sum();
        loss = Some(loss.map_or_else(|| part.clone(), |loss| loss + part.clone()));
    }
    let expected: Params<T> = leaves.gradients(loss.unwrap().backward());

    let get = |name: &str| params.data(name).to_vec();
    let weights = CoreWeights {
        ih: get("ih"),
        hh: get("hh"),
        bias_ih: get("bias_ih"),
        bias_hh: get("bias_hh"),
        posterior: get("posterior"),
    };
    let tape = forward(lengths, &weights, params.data("a"), noise.as_deref(), params.data("start"));
    let found = [tape.h_seen(&lengths), &tape.z, &tape.q];
    for ((name, found), output) in ["h", "z", "q"].iter().zip(found).zip(outputs) {
        close(name, found, &elements(output.inner()), tolerance);
    }
    let [h, z, q] = &incoming;
    let core = backward(lengths, &weights, &tape, noise.as_deref(), &Incoming { h, z, q });
    let found = [
        ("ih", core.weights.ih),
        ("hh", core.weights.hh),
        ("bias_ih", core.weights.bias_ih),
        ("bias_hh", core.weights.bias_hh),
        ("posterior", core.weights.posterior),
        ("a", core.a),
    ];
    for (name, found) in found {
        let none = Array::default();
        close(&format!("gradient of {name}"), &found, &expected.0.get(name).unwrap_or(&none).data, tolerance);
    }
}

fn close<T: Real>(what: &str, found: &[T], expected: &[T], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1.0_f64, |largest, x| largest.max(x.wide().abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found.wide() - expected.wide()).abs();
        assert!(error <= tolerance * largest, "{what}[{index}]: {found:?}, the twin has {expected:?}");
    }
}

#[test]
fn the_core_and_its_twin_of_burn_operations_agree_in_values_and_gradients() {
    for is_sampled in [true, false] {
        case::<f64>(is_sampled, 1e-12);
        case::<f32>(is_sampled, 2e-4);
    }
}

//! Layers, networks and training steps against PyTorch's own figures in `../shared/oracles` (override:
//! `PEREGRINE_ORACLES`): in f64 at the cases' tolerance (1e-12), which the code of f32 training shares line for line, and
//! networks in f32 too. A kind that these tests do not know fails them.

use std::path::PathBuf;

use burn::tensor::activation;
use safetensors::tensor::{Dtype, SafeTensors};
use serde_json::Value;

use crate::classifier::{ClassifierShape, cross_entropy, run};
use crate::graph::{Leaves, device, elements, layer_norm, matrix, silu};
use crate::params::{AdamW, Params, clip_norm};
use crate::real::Real;
use crate::world_core::{CoreWeights, Lengths, forward};

fn cases(file: &str) -> Option<(PathBuf, Vec<Value>)> {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracles");
    let folder = std::env::var_os("PEREGRINE_ORACLES").map_or_else(default, PathBuf::from);
    let Ok(text) = std::fs::read_to_string(folder.join(file)) else {
        eprintln!("skipped: no real data at {}", folder.join(file).display());
        return None;
    };
    let cases = serde_json::from_str::<Value>(&text).unwrap()["cases"].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    Some((folder, cases))
}

#[derive(Clone, Copy)]
struct Tolerance(f64, f64);

impl Tolerance {
    fn of(case: &Value) -> Self {
        Self(case["tolerance"]["abs"].as_f64().unwrap(), case["tolerance"]["rel"].as_f64().unwrap())
    }

    fn check<T: Real>(self, what: &str, got: &[T], expected: &[f64]) {
        assert_eq!(got.len(), expected.len(), "{what}");
        for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
            let bound = self.0 + self.1 * expected.abs();
            let got = got.wide();
            assert!((got - expected).abs() <= bound, "{what}[{index}]: got {got}, expected {expected} ± {bound}");
        }
    }
}

/// All numbers of a nested array.
fn flat(value: &Value) -> Vec<f64> {
    match value.as_array() {
        Some(values) => values.iter().flat_map(flat).collect(),
        None => vec![value.as_f64().unwrap()],
    }
}

fn shape_of(value: &Value) -> Vec<usize> {
    match value.as_array() {
        Some(values) => [vec![values.len()], values.first().map_or(Vec::new(), shape_of)].concat(),
        None => Vec::new(),
    }
}

fn params_of(value: &Value) -> Params<f64> {
    let mut params = Params::default();
    for (name, value) in value.as_object().unwrap() {
        params.insert(name, shape_of(value), flat(value));
    }
    params
}

fn index(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

/// [batch, steps, width] to [steps, batch, width].
fn step_major<T: Real>(data: &[f64], (batch, steps, width): (usize, usize, usize)) -> Vec<T> {
    let mut to = Vec::with_capacity(data.len());
    for step in 0..steps {
        for lane in 0..batch {
            let from = (lane * steps + step) * width;
            to.extend(data[from..from + width].iter().map(|x| T::of(*x)));
        }
    }
    to
}

#[test]
fn oracle_training_steps() {
    let Some((_, cases)) = cases("nn_training_step.json") else { return };
    for case in &cases {
        let (id, kind) = (case["id"].as_str().unwrap(), case["kind"].as_str().unwrap());
        match kind {
            "lstm_bce_adamw" => lstm_training(id, case),
            "bce" => bce(id, case),
            "clip_grad_norm" => clip(id, case),
            other => panic!("{id}: the kind `{other}` is not known here"),
        }
    }
    eprintln!("nn_training_step.json: {} cases", cases.len());
}

fn lstm_training(id: &str, case: &Value) {
    let (inputs, tolerance) = (&case["inputs"], Tolerance::of(case));
    let shape = ClassifierShape {
        inputs: index(&inputs["input_dim"]),
        hidden: index(&inputs["hidden"]),
        layers: index(&inputs["layers"]),
    };
    let dims = shape_of(&inputs["x"]);
    let x: Vec<f64> = step_major(&flat(&inputs["x"]), (dims[0], dims[1], dims[2]));
    let y = flat(&inputs["y"]);
    let [rate, decay, max_norm] = ["lr", "weight_decay", "max_norm"].map(|key| inputs[key].as_f64().unwrap());
    let mut params = params_of(&inputs["params"]);
    let mut optimizer = AdamW::new(&params);
    for (step, expected) in case["expected"]["steps"].as_array().unwrap().iter().enumerate() {
        let what = format!("{id} step {step}");
        let pass = run(shape, &params, (&x, y.len()), &[], &[]);
        tolerance.check(&format!("{what} pred"), &pass.values, &flat(&expected["pred"]));
        let (loss, mut gradients) = pass.back(shape, &params, &[], &y);
        tolerance.check(&format!("{what} loss"), &[loss], &flat(&expected["loss"]));
        check_params(&what, "grads_raw", expected, &gradients, tolerance);
        let norm = clip_norm(&mut gradients, max_norm);
        tolerance.check(&format!("{what} norm"), &[norm], &flat(&expected["total_grad_norm"]));
        let coefficient = (max_norm / (norm + 1e-6)).min(1.0);
        tolerance.check(&format!("{what} coefficient"), &[coefficient], &flat(&expected["clip_coef"]));
        optimizer.step(&mut params, &gradients, rate, decay);
        check_params(&what, "params_after", expected, &params, tolerance);
    }
}

fn check_params(what: &str, part: &str, expected: &Value, found: &Params<f64>, tolerance: Tolerance) {
    let Some(expected) = expected.get(part).and_then(Value::as_object) else { return };
    assert_eq!(expected.len(), found.0.len(), "{what}: {part}");
    for (name, expected) in expected {
        tolerance.check(&format!("{what} {part} {name}"), found.data(name), &flat(expected));
    }
}

fn bce(id: &str, case: &Value) {
    let (p, y) = (flat(&case["inputs"]["p"]), flat(&case["inputs"]["y"]));
    let count = crate::fold::whole(p.len());
    let both: Vec<(f64, f64)> = p.iter().zip(&y).map(|(p, y)| cross_entropy(*p, *y)).collect();
    let loss = both.iter().map(|(loss, _)| loss).sum::<f64>() / count;
    let slopes: Vec<f64> = both.iter().map(|(_, slope)| slope / count).collect();
    Tolerance::of(case).check(&format!("{id} loss"), &[loss], &flat(&case["expected"]["loss"]));
    Tolerance::of(case).check(&format!("{id} grad_p"), &slopes, &flat(&case["expected"]["grad_p"]));
}

fn clip(id: &str, case: &Value) {
    let mut gradients = Params::default();
    let rows = case["inputs"]["grads"].as_array().unwrap();
    for (index, row) in rows.iter().enumerate() {
        gradients.insert(&format!("{index:03}"), shape_of(row), flat(row));
    }
    let norm = clip_norm(&mut gradients, case["inputs"]["max_norm"].as_f64().unwrap());
    let clipped: Vec<f64> = gradients.elements().copied().collect();
    Tolerance::of(case).check(&format!("{id} norm"), &[norm], &flat(&case["expected"]["total_norm"]));
    Tolerance::of(case).check(&format!("{id} clipped"), &clipped, &flat(&case["expected"]["clipped"]));
}

#[test]
fn oracle_layers() {
    let Some((_, cases)) = cases("nn_layers_inline.json") else { return };
    for case in &cases {
        let (id, kind) = (case["id"].as_str().unwrap(), case["kind"].as_str().unwrap());
        let (inputs, expected, tolerance) = (&case["inputs"], &case["expected"], Tolerance::of(case));
        match kind {
            "lstm_cell" => {
                let (h, c) = lstm_step(inputs);
                tolerance.check(&format!("{id} h"), &h, &flat(&expected["h"]));
                tolerance.check(&format!("{id} c"), &c, &flat(&expected["c"]));
            }
            "gru_cell" => {
                let (x, h) = (flat(&inputs["x"]), flat(&inputs["h"]));
                let cell = [&inputs["w_ih"], &inputs["w_hh"], &inputs["b_ih"], &inputs["b_hh"]].map(flat);
                let lanes = shape_of(&inputs["x"])[0];
                tolerance.check(&format!("{id} h"), &gru::<f64>(cell, &x, lanes, &h), &flat(&expected["h"]));
            }
            "activations" => {
                let x = flat(&inputs["x"]);
                let tensor = matrix(x, 1, &device(false));
                tolerance.check(
                    &format!("{id} silu"),
                    &elements::<f64>(silu(tensor.clone())),
                    &flat(&expected["silu"]),
                );
                let sigmoid = elements::<f64>(activation::sigmoid(tensor.clone()));
                tolerance.check(&format!("{id} sigmoid"), &sigmoid, &flat(&expected["sigmoid"]));
                tolerance.check(&format!("{id} tanh"), &elements::<f64>(tensor.tanh()), &flat(&expected["tanh"]));
            }
            "layernorm" => {
                let make = |key: &str, rows| matrix(flat(&inputs[key]), rows, &device(false));
                let x = make("x", shape_of(&inputs["x"])[0]);
                let epsilon = inputs["eps"].as_f64().unwrap();
                let y = elements::<f64>(layer_norm(x, make("gamma", 1), make("beta", 1), epsilon));
                tolerance.check(&format!("{id} y"), &y, &flat(&expected["y"]));
            }
            other => panic!("{id}: the kind `{other}` is not known here"),
        }
    }
    eprintln!("nn_layers_inline.json: {} cases", cases.len());
}

fn lstm_step(inputs: &Value) -> (Vec<f64>, Vec<f64>) {
    use crate::lstm_core::{LayerLengths, LayerWeights, forward};
    let [ih, hh, bias_ih, bias_hh] = ["w_ih", "w_hh", "b_ih", "b_hh"].map(|key| flat(&inputs[key]));
    let (x, h, c) = (flat(&inputs["x"]), flat(&inputs["h"]), flat(&inputs["c"]));
    let (lanes, width) = (shape_of(&inputs["x"])[0], shape_of(&inputs["x"])[1]);
    let lengths = LayerLengths { steps: 1, lanes, inputs: width, hidden: h.len() / lanes };
    let tape = forward(lengths, &LayerWeights { ih, hh, bias_ih, bias_hh }, x, (&h, &c));
    (tape.last(lengths).to_vec(), tape.c[c.len()..].to_vec())
}

/// The world model's core as a GRU: without products with `h` the "posterior mean" is `a`, which is then the input.
fn gru<T: Real>([ih, hh, bias_ih, bias_hh]: [Vec<T>; 4], x: &[T], lanes: usize, start: &[T]) -> Vec<T> {
    let h = start.len() / lanes;
    let z = ih.len() / (3 * h);
    let a: Vec<T> =
        x.chunks_exact(z).flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(T::ZERO, z))).collect();
    let lengths = Lengths { steps: x.len() / (lanes * z), lanes, h, z };
    let weights = CoreWeights { ih, hh, bias_ih, bias_hh, posterior: vec![T::ZERO; 2 * z * h] };
    forward(lengths, &weights, &a, None, start).h[lanes * h..].to_vec()
}

/// Every tensor of a network's file in f64.
fn network(bytes: &[u8]) -> Params<f64> {
    let mut params = Params::default();
    for (name, view) in SafeTensors::deserialize(bytes).unwrap().iter() {
        let bytes = view.data();
        let data = if view.dtype() == Dtype::F64 {
            bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
        } else {
            assert_eq!(view.dtype(), Dtype::F32);
            bytes.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect()
        };
        params.insert(name, view.shape().to_vec(), data);
    }
    params
}

fn narrowed<T: Real>(params: &Params<f64>) -> Params<T> {
    let mut to = Params::default();
    for (name, array) in &params.0 {
        to.insert(name, array.shape.clone(), array.data.iter().map(|x| T::of(*x)).collect());
    }
    to
}

#[test]
fn oracle_networks() {
    let Some((folder, cases)) = cases("nn_forward.json") else { return };
    for case in &cases {
        let bytes = std::fs::read(folder.join(case["inputs"]["file"].as_str().unwrap())).unwrap();
        let network = network(&bytes);
        let id = case["id"].as_str().unwrap();
        forward_network::<f32>(&format!("{id} f32"), case, &network, Tolerance::of(case));
        forward_network::<f64>(&format!("{id} f64"), case, &network, Tolerance(1e-12, 1e-10));
    }
    eprintln!("nn_forward.json: {} cases, f32 and f64", cases.len());
}

fn forward_network<T: Real>(id: &str, case: &Value, network: &Params<f64>, tolerance: Tolerance) {
    let params: Params<T> = narrowed(network);
    let kind = case["kind"].as_str().unwrap();
    let (found, expected) = match kind {
        "mlp_silu_layernorm" => {
            let leaves = Leaves::of(&params, false, |name| name.starts_with("net."));
            let x = matrix(params.data("input").to_vec(), params.0["input"].shape[0], &leaves.device);
            let norm = |name: &str, x| {
                let part = |part: &str| leaves.get(&format!("{name}.{part}"));
                layer_norm(x, part("weight"), part("bias"), 1e-5)
            };
            let x = silu(norm("net.1", leaves.linear("net.0", x)));
            let x = silu(norm("net.4", leaves.linear("net.3", x)));
            (elements::<T>(leaves.linear("net.6", x)), "output_f64")
        }
        "lstm_classifier" | "gru_classifier" => {
            let dims = &params.0["input"].shape;
            let x: Vec<T> = step_major(network.data("input"), (dims[0], dims[1], dims[2]));
            let last = if kind == "lstm_classifier" {
                let shape = ClassifierShape {
                    inputs: dims[2],
                    hidden: index(&case["inputs"]["hidden"]),
                    layers: index(&case["inputs"]["layers"]),
                };
                let state =
                    |name: &str| params.data(name).chunks_exact((dims[0] * shape.hidden).max(1)).map(<[T]>::to_vec);
                let start: Vec<_> = state("h0").zip(state("c0")).collect();
                let pass = run(shape, &params, (&x, dims[0]), &[], &start);
                tolerance.check(&format!("{id} prob"), &pass.values, network.data("prob_f64"));
                pass.last_hidden(shape, dims[0])
            } else {
                gru_stack(&params, x, dims[0])
            };
            let steps = dims[1];
            let hidden = last.len() / dims[0];
            let outputs = network.data("output_f64").chunks_exact(hidden * steps);
            let expected: Vec<f64> = outputs.flat_map(|lane| lane[(steps - 1) * hidden..].iter().copied()).collect();
            tolerance.check(&format!("{id} last hidden"), &last, &expected);
            let leaves = Leaves::of(&params, false, |name| name.starts_with("fc."));
            let last = matrix(last, dims[0], &leaves.device);
            (elements::<T>(activation::sigmoid(leaves.linear("fc", last))), "prob_f64")
        }
        other => panic!("{id}: the kind `{other}` is not known here"),
    };
    tolerance.check(id, &found, network.data(expected));
}

fn gru_stack<T: Real>(params: &Params<T>, mut x: Vec<T>, lanes: usize) -> Vec<T> {
    let layers = params.0.keys().filter(|name| name.starts_with("gru.weight_ih")).count();
    let mut last = Vec::new();
    for layer in 0..layers {
        let cell = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
            .map(|part| params.data(&format!("gru.{part}_l{layer}")).to_vec());
        let hidden = params.0[&format!("gru.weight_hh_l{layer}")].columns();
        let start = params.data("h0").get(layer * lanes * hidden..(layer + 1) * lanes * hidden);
        let start = start.map_or_else(|| vec![T::ZERO; lanes * hidden], <[T]>::to_vec);
        x = gru(cell, &x, lanes, &start);
        last = x[x.len() - lanes * hidden..].to_vec();
    }
    last
}

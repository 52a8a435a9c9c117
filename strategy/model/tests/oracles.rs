//! Layers and networks against PyTorch's own outputs in `../shared/oracles` (override: `PEREGRINE_ORACLES`).
//!
//! Networks (`nn_forward.json`): every backend within the case's tolerance. Layers (`nn_layers_inline.json`): the f64
//! reference within the case's tolerance (1e-12), every f32 backend within 2e-6 + 1e-5·|expected|, the tolerance that
//! the oracles state for f32. A kind that this test does not know fails it.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test's helpers fail as it does")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use peregrine_model::layers::{
    Activation, Activations, CellTensors, GruCell, LayerNorm, Linear, LstmCell, LstmClassifier,
};
use peregrine_model::reference::{self, Cell};
use peregrine_model::{Backend, Kernel, Tensor, Tensors};
use safetensors::tensor::{Dtype, SafeTensors};
use serde_json::Value;

const F32: Tolerance = Tolerance { abs: 2e-6, rel: 1e-5 };

#[derive(Clone, Copy)]
struct Tolerance {
    abs: f64,
    rel: f64,
}

impl Tolerance {
    fn of(case: &Value) -> Self {
        let get = |key: &str| case["tolerance"][key].as_f64().unwrap_or(0.0);
        Self { abs: get("abs"), rel: get("rel") }
    }

    fn check(self, what: &str, got: impl IntoIterator<Item = f64>, expected: &[f64]) {
        let got: Vec<f64> = got.into_iter().collect();
        assert_eq!(got.len(), expected.len(), "{what}");
        for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
            let bound = self.abs + self.rel * expected.abs();
            assert!((got - expected).abs() <= bound, "{what}[{index}]: got {got}, expected {expected} ± {bound}");
        }
    }
}

/// The oracle file's cases, or `None` (said on stderr) where the folder is missing.
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

fn kernels() -> Vec<Kernel> {
    let required = std::env::var("REQUIRE_BACKENDS").unwrap_or_default();
    let mut kernels = Vec::new();
    for backend in Backend::ALL {
        match Kernel::new(backend) {
            Some(kernel) => kernels.push(kernel),
            None if required.contains(&format!("{backend:?}")) => panic!("required backend {backend:?} is missing"),
            None => eprintln!("skipped: backend {backend:?} is not on this machine"),
        }
    }
    kernels
}

fn report(file: &str, kinds: &BTreeMap<String, usize>) {
    eprintln!("{file}: {kinds:?} on {} backends", kernels().len());
}

// Networks.

/// A file's f32 tensors, and its f64 tensors.
fn read_network(bytes: &[u8]) -> (Tensors, BTreeMap<String, Vec<f64>>) {
    let (mut single, mut double) = (Tensors::default(), BTreeMap::new());
    let file = SafeTensors::deserialize(bytes).unwrap();
    for (name, view) in file.iter() {
        if view.dtype() == Dtype::F64 {
            let values = view.data().chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap()));
            double.insert(name.to_owned(), values.collect());
        } else {
            assert_eq!(view.dtype(), Dtype::F32);
            let values = view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
            single.0.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), data: values.collect() });
        }
    }
    (single, double)
}

struct Network {
    name: String,
    tensors: Tensors,
    expected: BTreeMap<String, Vec<f64>>,
    tolerance: Tolerance,
}

impl Network {
    fn data(&self, name: &str) -> &[f32] {
        &self.tensors.0[name].data
    }

    fn shape(&self, name: &str) -> &[usize] {
        &self.tensors.0[name].shape
    }

    /// The initial state of a layer and batch row.
    fn initial(&self, name: &str, layer: usize, row: usize) -> &[f32] {
        let [_, batch, hidden] = self.shape(name) else { panic!("{name}") };
        &self.data(name)[(layer * batch + row) * hidden..][..*hidden]
    }

    fn inputs(&self, row: usize) -> impl Iterator<Item = &[f32]> {
        let [_, steps, width] = self.shape("input") else { panic!("input") };
        self.data("input")[row * steps * width..][..steps * width].chunks_exact(*width)
    }

    fn check(&self, name: &str, backend: Backend, got: &[f32]) {
        let what = format!("{} {backend:?} {name}", self.name);
        self.tolerance.check(&what, got.iter().copied().map(f64::from), &self.expected[name]);
    }

    fn run_lstm(&self, kernel: &Kernel) {
        let [layers, batch, hidden] = *self.shape("h0") else { panic!("h0") };
        let (mut output, mut probability) = (Vec::new(), Vec::new());
        let (mut last_h, mut last_c) = (vec![vec![]; layers], vec![vec![]; layers]);
        for row in 0..batch {
            let mut network = LstmClassifier::new(&self.tensors).unwrap();
            for layer in 0..layers {
                assert!(network.set_state(layer, self.initial("h0", layer, row), self.initial("c0", layer, row)));
            }
            for x in self.inputs(row) {
                network.step(kernel, x).unwrap();
                output.extend(network.state(layers - 1).unwrap().0.iter());
            }
            for layer in 0..layers {
                let (h, c) = network.state(layer).unwrap();
                assert_eq!(h.len(), hidden);
                last_h[layer].extend(h.iter());
                last_c[layer].extend(c.iter());
            }
            probability.push(network.probability(kernel).unwrap());
        }
        self.check("output_f64", kernel.backend(), &output);
        self.check("hn_f64", kernel.backend(), &last_h.concat());
        self.check("cn_f64", kernel.backend(), &last_c.concat());
        self.check("prob_f64", kernel.backend(), &probability);
    }

    fn gru_cells(&self, layers: usize, hidden: usize) -> Vec<GruCell> {
        let cell = |layer: usize| {
            let get = |name: &str| self.data(&format!("gru.{name}_l{layer}"));
            let tensors = CellTensors {
                weight_ih: get("weight_ih"),
                weight_hh: get("weight_hh"),
                bias_ih: get("bias_ih"),
                bias_hh: get("bias_hh"),
            };
            GruCell::new(tensors, self.shape(&format!("gru.weight_ih_l{layer}"))[1], hidden).unwrap()
        };
        (0..layers).map(cell).collect()
    }

    fn run_gru(&self, kernel: &Kernel) {
        let [layers, batch, hidden] = *self.shape("h0") else { panic!("h0") };
        let mut cells = self.gru_cells(layers, hidden);
        let fc = Linear::new(self.data("fc.weight"), self.data("fc.bias"), hidden).unwrap();
        let (mut output, mut probability, mut last) = (Vec::new(), Vec::new(), vec![vec![]; layers]);
        for row in 0..batch {
            let start = |layer| Activations::from_slice(self.initial("h0", layer, row));
            let mut h: Vec<Activations> = (0..layers).map(start).collect();
            for x in self.inputs(row) {
                let mut x = Activations::from_slice(x);
                for (cell, h) in cells.iter_mut().zip(&mut h) {
                    kernel.gru(cell, &x, h).unwrap();
                    x = h.clone();
                }
                output.extend(x.iter());
            }
            for (last, h) in last.iter_mut().zip(&h) {
                last.extend(h.iter());
            }
            let mut logit = Activations::zeros(1);
            kernel.linear(&fc, &h[layers - 1], &mut logit).unwrap();
            kernel.activate(Activation::Sigmoid, &mut logit);
            probability.extend(logit.iter());
        }
        self.check("output_f64", kernel.backend(), &output);
        self.check("hn_f64", kernel.backend(), &last.concat());
        self.check("prob_f64", kernel.backend(), &probability);
    }

    fn run_mlp(&self, kernel: &Kernel) {
        let [_, width] = *self.shape("input") else { panic!("input") };
        let mut output = Vec::new();
        for x in self.data("input").chunks_exact(width) {
            let mut x = Activations::from_slice(x);
            for layer in [0, 3, 6] {
                let get = |layer: usize, part: &str| self.data(&format!("net.{layer}.{part}"));
                let linear = Linear::new(get(layer, "weight"), get(layer, "bias"), x.len()).unwrap();
                let mut out = Activations::zeros(get(layer, "bias").len());
                kernel.linear(&linear, &x, &mut out).unwrap();
                if layer < 6 {
                    let norm = LayerNorm::new(get(layer + 1, "weight"), get(layer + 1, "bias"), 1e-5).unwrap();
                    kernel.layer_norm(&norm, &mut out).unwrap();
                    kernel.activate(Activation::Silu, &mut out);
                }
                x = out;
            }
            output.extend(x.iter());
        }
        self.check("output_f64", kernel.backend(), &output);
    }
}

#[test]
fn oracle_nn_forward_every_case_on_every_backend() {
    let Some((folder, cases)) = cases("nn_forward.json") else { return };
    let mut kinds = BTreeMap::new();
    for case in &cases {
        let kind = case["kind"].as_str().unwrap();
        *kinds.entry(kind.to_owned()).or_insert(0) += 1;
        let bytes = std::fs::read(folder.join(case["inputs"]["file"].as_str().unwrap())).unwrap();
        let (tensors, expected) = read_network(&bytes);
        let name = case["id"].as_str().unwrap().to_owned();
        let network = Network { name, tensors, expected, tolerance: Tolerance::of(case) };
        for kernel in kernels() {
            match kind {
                "lstm_classifier" => network.run_lstm(&kernel),
                "gru_classifier" => network.run_gru(&kernel),
                "mlp_silu_layernorm" => network.run_mlp(&kernel),
                unknown => panic!("{}: this test does not know the kind `{unknown}`", network.name),
            }
        }
    }
    report("nn_forward.json", &kinds);
}

// Layers.

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        Value::String(text) => vec![text.parse().unwrap()],
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => vec![value.as_f64().unwrap()],
    }
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(numbers).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what is wanted")]
fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

fn widen(values: &Activations) -> impl Iterator<Item = f64> + '_ {
    values.iter().map(f64::from)
}

struct Inline<'a> {
    name: &'a str,
    inputs: &'a Value,
    expected: &'a Value,
    tolerance: Tolerance,
}

impl Inline<'_> {
    fn input(&self, name: &str) -> Vec<f64> {
        numbers(&self.inputs[name])
    }

    fn cell(&self) -> Cell {
        Cell {
            weight_ih: self.input("w_ih"),
            weight_hh: self.input("w_hh"),
            bias_ih: self.input("b_ih"),
            bias_hh: self.input("b_hh"),
        }
    }

    fn run_lstm(&self) {
        let (x, h, c) = (rows(&self.inputs["x"]), rows(&self.inputs["h"]), rows(&self.inputs["c"]));
        let (expected_h, expected_c) = (rows(&self.expected["h"]), rows(&self.expected["c"]));
        let cell = self.cell();
        let [w_ih, w_hh, b_ih, b_hh] = ["w_ih", "w_hh", "b_ih", "b_hh"].map(|name| narrow(&self.input(name)));
        for row in 0..x.len() {
            let (next_h, next_c) = cell.lstm(&x[row], &h[row], &c[row]);
            self.tolerance.check(self.name, next_h, &expected_h[row]);
            self.tolerance.check(self.name, next_c, &expected_c[row]);
            for kernel in kernels() {
                let tensors = CellTensors { weight_ih: &w_ih, weight_hh: &w_hh, bias_ih: &b_ih, bias_hh: &b_hh };
                let mut cell = LstmCell::new(tensors, x[row].len(), h[row].len()).unwrap();
                let [x, mut h, mut c] = [&x, &h, &c].map(|rows| Activations::from_slice(&narrow(&rows[row])));
                kernel.lstm(&mut cell, &x, &mut h, &mut c).unwrap();
                F32.check(self.name, widen(&h), &expected_h[row]);
                F32.check(self.name, widen(&c), &expected_c[row]);
            }
        }
    }

    fn run_gru(&self) {
        let (x, h, expected) = (rows(&self.inputs["x"]), rows(&self.inputs["h"]), rows(&self.expected["h"]));
        let cell = self.cell();
        let [w_ih, w_hh, b_ih, b_hh] = ["w_ih", "w_hh", "b_ih", "b_hh"].map(|name| narrow(&self.input(name)));
        for row in 0..x.len() {
            self.tolerance.check(self.name, cell.gru(&x[row], &h[row]), &expected[row]);
            for kernel in kernels() {
                let tensors = CellTensors { weight_ih: &w_ih, weight_hh: &w_hh, bias_ih: &b_ih, bias_hh: &b_hh };
                let mut cell = GruCell::new(tensors, x[row].len(), h[row].len()).unwrap();
                let [x, mut h] = [&x, &h].map(|rows| Activations::from_slice(&narrow(&rows[row])));
                kernel.gru(&mut cell, &x, &mut h).unwrap();
                F32.check(self.name, widen(&h), &expected[row]);
            }
        }
    }

    fn run_activations(&self) {
        let x = self.input("x");
        type Function = fn(f64) -> f64;
        let each: [(&str, Activation, Function); 3] = [
            ("silu", Activation::Silu, reference::silu),
            ("sigmoid", Activation::Sigmoid, reference::sigmoid),
            ("tanh", Activation::Tanh, f64::tanh),
        ];
        for (name, activation, function) in each {
            let expected = numbers(&self.expected[name]);
            self.tolerance.check(name, x.iter().copied().map(function), &expected);
            for kernel in kernels() {
                let mut values = Activations::from_slice(&narrow(&x));
                kernel.activate(activation, &mut values);
                F32.check(name, widen(&values), &expected);
            }
        }
    }

    fn run_layer_norm(&self) {
        let (gamma, beta, epsilon) = (self.input("gamma"), self.input("beta"), self.input("eps")[0]);
        let norm = LayerNorm::new(&narrow(&gamma), &narrow(&beta), narrow(&[epsilon])[0]).unwrap();
        for (x, expected) in rows(&self.inputs["x"]).iter().zip(rows(&self.expected["y"])) {
            self.tolerance.check(self.name, reference::layer_norm(x, &gamma, &beta, epsilon), &expected);
            for kernel in kernels() {
                let mut values = Activations::from_slice(&narrow(x));
                kernel.layer_norm(&norm, &mut values).unwrap();
                F32.check(self.name, widen(&values), &expected);
            }
        }
    }

    fn run_linear(&self) {
        let (weight, bias) = (self.input("w"), self.input("b"));
        for (x, expected) in rows(&self.inputs["x"]).iter().zip(rows(&self.expected["y"])) {
            self.tolerance.check(self.name, reference::linear(&weight, &bias, x), &expected);
            let layer = Linear::new(&narrow(&weight), &narrow(&bias), x.len()).unwrap();
            for kernel in kernels() {
                let mut out = Activations::zeros(bias.len());
                kernel.linear(&layer, &Activations::from_slice(&narrow(x)), &mut out).unwrap();
                F32.check(self.name, widen(&out), &expected);
            }
        }
    }
}

#[test]
fn oracle_nn_layers_inline_every_case_on_every_backend() {
    let Some((_, cases)) = cases("nn_layers_inline.json") else { return };
    let mut kinds = BTreeMap::new();
    for case in &cases {
        let (kind, name) = (case["kind"].as_str().unwrap(), case["id"].as_str().unwrap());
        *kinds.entry(kind.to_owned()).or_insert(0) += 1;
        let inline =
            Inline { name, inputs: &case["inputs"], expected: &case["expected"], tolerance: Tolerance::of(case) };
        match kind {
            "lstm_cell" => inline.run_lstm(),
            "gru_cell" => inline.run_gru(),
            "activations" => inline.run_activations(),
            "layernorm" => inline.run_layer_norm(),
            "linear" => inline.run_linear(),
            unknown => panic!("{name}: this test does not know the kind `{unknown}`"),
        }
    }
    report("nn_layers_inline.json", &kinds);
}

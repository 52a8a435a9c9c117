//! M1 and LSTM_A in ONNX Runtime's C API: the graphs are built here from ONNX operators (its GRU and LSTM do the cells), all
//! inputs and outputs are bound once, and one thread runs them. The library is loaded from the path in `ORT_DYLIB_PATH`;
//! without one it is left out.

use std::sync::OnceLock;

use ort::environment::Environment;
use ort::editor::{Graph, Model, Node, ONNX_DOMAIN, Opset};
use ort::memory::Allocator;
use ort::operator::Attribute;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{IoBinding, Session};
use ort::value::{Outlet, Shape, SymbolicDimensions, Tensor, TensorElementType, ValueType};

use peregrine_benches::networks::{
    Dense, LSTM_A, M1_ENCODING, M1_HIDDEN, M1_INPUTS, M1_LATENT, M1_OUTPUTS, M1Tensors, lstm_tensors,
};

use super::{Failure, Network};

fn of_shape(name: &str, shape: &[usize]) -> Outlet {
    let dimensions: Vec<i64> = shape.iter().map(|size| *size as i64).collect();
    let dimension_symbols = SymbolicDimensions::empty(dimensions.len());
    let ty = TensorElementType::Float32;
    Outlet::new(name, ValueType::Tensor { ty, shape: Shape::new(dimensions), dimension_symbols })
}

fn tensor(shape: &[usize]) -> Result<Tensor<f32>, Failure> {
    let shape: Vec<i64> = shape.iter().map(|size| *size as i64).collect();
    Ok(Tensor::<f32>::new(&Allocator::default(), shape)?)
}

struct Builder(Graph);

impl Builder {
    fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Result<(), Failure> {
        let mut constant = tensor(shape)?;
        constant.extract_tensor_mut().1.copy_from_slice(values);
        Ok(self.0.add_initializer(name, constant, false)?)
    }

    fn op(&mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<Attribute>) -> Result<(), Failure> {
        let name = format!("{op} {}", outputs.join(" "));
        Ok(self.0.add_node(Node::new(op, ONNX_DOMAIN, name, inputs, outputs, attributes)?)?)
    }

    fn dense(&mut self, x: &str, layer: &Dense, out: &str) -> Result<(), Failure> {
        let (weight, bias) = (format!("{out} weight"), format!("{out} bias"));
        self.constant(&weight, &[layer.bias.len(), layer.inputs], &layer.weight)?;
        self.constant(&bias, &[layer.bias.len()], &layer.bias)?;
        self.op("Gemm", &[x, &weight, &bias], &[out], vec![Attribute::new("transB", 1_i64)?])
    }

    fn axis(&mut self, name: &str, axis: i64) -> Result<(), Failure> {
        let mut constant = Tensor::<i64>::new(&Allocator::default(), [1_i64])?;
        constant.extract_tensor_mut().1[0] = axis;
        Ok(self.0.add_initializer(name, constant, false)?)
    }

    fn silu(&mut self, x: &str, out: &str) -> Result<(), Failure> {
        let gate = format!("{out} gate");
        self.op("Sigmoid", &[x], &[&gate], vec![])?;
        self.op("Mul", &[x, &gate], &[out], vec![])
    }
}

/// Rows of the gates r, z, n in the order z, r, n of ONNX.
fn gates(rows: &[f32]) -> Vec<f32> {
    let third = rows.len() / 3;
    [&rows[third..2 * third], &rows[..third], &rows[2 * third..]].concat()
}

fn graph(tensors: &M1Tensors) -> Result<Graph, Failure> {
    let mut b = Builder(Graph::new()?);
    let state = [1, 1, M1_HIDDEN];
    b.0.set_inputs([of_shape("x", &[1, M1_INPUTS]), of_shape("h", &state)])?;
    let outputs = [of_shape("out", &[1, M1_OUTPUTS]), of_shape("next", &state), of_shape("a", &[1, M1_LATENT])];
    b.0.set_outputs(outputs)?;
    b.dense("x", &tensors.encoder, "encoded")?;
    b.silu("encoded", "e")?;
    b.axis("axes", 0)?;
    b.op("Unsqueeze", &["e", "axes"], &["sequence"], vec![])?;
    b.constant("W", &[1, 3 * M1_HIDDEN, M1_ENCODING], &gates(&tensors.weight_ih))?;
    b.constant("R", &[1, 3 * M1_HIDDEN, M1_HIDDEN], &gates(&tensors.weight_hh))?;
    b.constant("B", &[1, 6 * M1_HIDDEN], &[gates(&tensors.bias_ih), gates(&tensors.bias_hh)].concat())?;
    let attributes =
        vec![Attribute::new("hidden_size", M1_HIDDEN as i64)?, Attribute::new("linear_before_reset", 1_i64)?];
    b.op("GRU", &["sequence", "W", "R", "B", "", "h"], &["", "next"], attributes)?;
    b.op("Squeeze", &["next", "axes"], &["state"], vec![])?;
    b.dense("state", &tensors.heads[0], "a")?;
    b.dense("state", &tensors.heads[1], "b")?;
    b.op("Concat", &["state", "b"], &["joined"], vec![Attribute::new("axis", 1_i64)?])?;
    b.dense("joined", &tensors.head_0, "hidden")?;
    b.silu("hidden", "activated")?;
    b.dense("activated", &tensors.head_2, "out")?;
    Ok(b.0)
}

/// The library, where it is named.
fn environment() -> Result<Option<&'static Environment>, Failure> {
    static LOADED: OnceLock<Environment> = OnceLock::new();
    let Some(library) = std::env::var_os("ORT_DYLIB_PATH") else { return Ok(None) };
    if LOADED.get().is_none() {
        let environment = ort::init_from(library)?.build()?;
        return Ok(Some(LOADED.get_or_init(|| environment)));
    }
    Ok(LOADED.get())
}

fn session(environment: &Environment, graph: Graph) -> Result<Session, Failure> {
    let mut model = Model::new([Opset::new(ONNX_DOMAIN, 21)?])?;
    model.set_graph(graph)?;
    let options = SessionBuilder::new(environment)?
        .with_intra_threads(1)?
        .with_optimization_level(GraphOptimizationLevel::All)?;
    Ok(model.into_session(&options)?)
}

pub struct OnnxNet {
    session: Session,
    binding: IoBinding,
    x: Tensor<f32>,
    h: Tensor<f32>,
}

impl OnnxNet {
    /// `None` where the library is not named.
    pub fn new(tensors: &M1Tensors) -> Result<Option<Self>, Failure> {
        let Some(environment) = environment()? else { return Ok(None) };
        let session = session(environment, graph(tensors)?)?;
        let mut binding = session.create_binding()?;
        let (x, h) = (tensor(&[1, M1_INPUTS])?, tensor(&[1, 1, M1_HIDDEN])?);
        binding.bind_input("x", &x)?;
        binding.bind_input("h", &h)?;
        binding.bind_output("out", tensor(&[1, M1_OUTPUTS])?)?;
        binding.bind_output("next", tensor(&[1, 1, M1_HIDDEN])?)?;
        binding.bind_output("a", tensor(&[1, M1_LATENT])?)?;
        Ok(Some(Self { session, binding, x, h }))
    }
}

impl Network for OnnxNet {
    fn step(&mut self, x: &[f32]) -> Result<Vec<f32>, Failure> {
        self.x.extract_tensor_mut().1.copy_from_slice(x);
        let outputs = self.session.run_binding(&self.binding)?;
        self.h.extract_tensor_mut().1.copy_from_slice(outputs["next"].try_extract_tensor::<f32>()?.1);
        Ok(outputs["out"].try_extract_tensor::<f32>()?.1.to_vec())
    }

    fn reset(&mut self) {
        self.h.extract_tensor_mut().1.fill(0.0);
    }
}

/// Rows of the gates i, f, g, o in the order i, o, f, g of ONNX.
fn lstm_gates(rows: &[f32]) -> Vec<f32> {
    let quarter = rows.len() / 4;
    let gate = |index: usize| &rows[index * quarter..(index + 1) * quarter];
    [gate(0), gate(3), gate(1), gate(2)].concat()
}

/// Layers of LSTM_A.
const LAYERS: usize = 2;

fn lstm_graph(steps: usize) -> Result<Graph, Failure> {
    let (inputs, hidden) = LSTM_A;
    let tensors = lstm_tensors(inputs, hidden, LAYERS);
    let data = |name: String| tensors.0.get(&name).map(|tensor| tensor.data.clone()).ok_or("a tensor of this name");
    let mut b = Builder(Graph::new()?);
    let state = [1, 1, hidden];
    let names = |prefix: &str| [0, 1].map(|layer| format!("{prefix}{layer}"));
    let [(h, c), (next_h, next_c)] = [("h", "c"), ("next_h", "next_c")].map(|(h, c)| (names(h), names(c)));
    let states = |names: [&[String; 2]; 2]| names.into_iter().flatten().map(|name| of_shape(name, &state)).collect();
    let given: Vec<Outlet> = states([&h, &c]);
    let made: Vec<Outlet> = states([&next_h, &next_c]);
    b.0.set_inputs([of_shape("x", &[steps, 1, inputs])].into_iter().chain(given))?;
    b.0.set_outputs([of_shape("out", &[1, 1])].into_iter().chain(made))?;
    b.axis("direction", 1)?;
    b.axis("first", 0)?;
    let mut x = "x".to_owned();
    for layer in 0..LAYERS {
        let width = if layer == 0 { inputs } else { hidden };
        let [w, r, bias] = ["W", "R", "B"].map(|name| format!("{name}{layer}"));
        let of = |kind: &str| data(format!("lstm.{kind}_l{layer}")).map(|rows| lstm_gates(&rows));
        b.constant(&w, &[1, 4 * hidden, width], &of("weight_ih")?)?;
        b.constant(&r, &[1, 4 * hidden, hidden], &of("weight_hh")?)?;
        b.constant(&bias, &[1, 8 * hidden], &[of("bias_ih")?, of("bias_hh")?].concat())?;
        let (all, next) = (format!("all{layer}"), format!("x{}", layer + 1));
        let given = [x.as_str(), &w, &r, &bias, "", &h[layer], &c[layer]];
        let made = [all.as_str(), &next_h[layer], &next_c[layer]];
        b.op("LSTM", &given, &made, vec![Attribute::new("hidden_size", hidden as i64)?])?;
        b.op("Squeeze", &[&all, "direction"], &[&next], vec![])?;
        x = next;
    }
    b.op("Squeeze", &[&next_h[LAYERS - 1], "first"], &["last"], vec![])?;
    b.constant("fc", &[1, hidden], &data("fc.weight".to_owned())?)?;
    b.constant("fc bias", &[1], &data("fc.bias".to_owned())?)?;
    b.op("Gemm", &["last", "fc", "fc bias"], &["out"], vec![Attribute::new("transB", 1_i64)?])?;
    Ok(b.0)
}

/// LSTM_A over so many steps at once, its states inputs and outputs.
pub struct OnnxLstm {
    session: Session,
    binding: IoBinding,
    x: Tensor<f32>,
    states: Vec<(String, Tensor<f32>)>,
}

impl OnnxLstm {
    /// `None` where the library is not named.
    pub fn new(steps: usize) -> Result<Option<Self>, Failure> {
        let Some(environment) = environment()? else { return Ok(None) };
        let session = session(environment, lstm_graph(steps)?)?;
        let mut binding = session.create_binding()?;
        let (inputs, hidden) = LSTM_A;
        let x = tensor(&[steps, 1, inputs])?;
        binding.bind_input("x", &x)?;
        binding.bind_output("out", tensor(&[1, 1])?)?;
        let mut states = Vec::new();
        for name in ["h0", "h1", "c0", "c1"] {
            let state = tensor(&[1, 1, hidden])?;
            binding.bind_input(name, &state)?;
            binding.bind_output(format!("next_{name}"), tensor(&[1, 1, hidden])?)?;
            states.push((format!("next_{name}"), state));
        }
        Ok(Some(Self { session, binding, x, states }))
    }

    pub fn reset(&mut self) {
        self.states.iter_mut().for_each(|(_, state)| state.extract_tensor_mut().1.fill(0.0));
    }

    /// Takes the rows, carries the states, and gives the output before the sigmoid.
    pub fn run<'a>(&mut self, rows: impl Iterator<Item = &'a Vec<f32>>) -> Result<f32, Failure> {
        let (_, x) = self.x.extract_tensor_mut();
        x.chunks_exact_mut(LSTM_A.0).zip(rows).for_each(|(to, row)| to.copy_from_slice(row));
        let outputs = self.session.run_binding(&self.binding)?;
        for (name, state) in &mut self.states {
            state.extract_tensor_mut().1.copy_from_slice(outputs[name.as_str()].try_extract_tensor::<f32>()?.1);
        }
        outputs["out"].try_extract_tensor::<f32>()?.1.first().copied().ok_or_else(|| "one output".into())
    }
}

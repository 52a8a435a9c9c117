//! M1 in ONNX Runtime's C API: the graph is built here from ONNX operators (its GRU does the cell), all inputs and outputs
//! are bound once, and one thread runs it. The library is loaded from the path in `ORT_DYLIB_PATH`; without one it is left
//! out.

use ort::editor::{Graph, Model, Node, ONNX_DOMAIN, Opset};
use ort::memory::Allocator;
use ort::operator::Attribute;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{IoBinding, Session};
use ort::value::{Outlet, Shape, SymbolicDimensions, Tensor, TensorElementType, ValueType};

use peregrine_benches::networks::{Dense, M1_ENCODING, M1_HIDDEN, M1_INPUTS, M1_LATENT, M1_OUTPUTS, M1Tensors};

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
    let axes = |b: &mut Builder, name: &str| -> Result<(), Failure> {
        let mut axis = Tensor::<i64>::new(&Allocator::default(), [1_i64])?;
        axis.extract_tensor_mut().1[0] = 0;
        Ok(b.0.add_initializer(name, axis, false)?)
    };
    axes(&mut b, "axes")?;
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

pub struct OnnxNet {
    session: Session,
    binding: IoBinding,
    x: Tensor<f32>,
    h: Tensor<f32>,
}

impl OnnxNet {
    /// `None` where the library is not named.
    pub fn new(tensors: &M1Tensors) -> Result<Option<Self>, Failure> {
        let Some(library) = std::env::var_os("ORT_DYLIB_PATH") else { return Ok(None) };
        let environment = ort::init_from(library)?.build()?;
        let mut model = Model::new([Opset::new(ONNX_DOMAIN, 21)?])?;
        model.set_graph(graph(tensors)?)?;
        let options = SessionBuilder::new(&environment)?
            .with_intra_threads(1)?
            .with_optimization_level(GraphOptimizationLevel::All)?;
        let session = model.into_session(&options)?;
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

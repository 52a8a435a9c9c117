//! M1 as a tract plan: built from its operators, decluttered and optimised, the state an input and an output.

use tract_core::internal::*;
use tract_core::ops::array::{Slice, TypedConcat};
use tract_core::ops::einsum::EinSum;
use tract_core::ops::{math, nn};

use super::{Failure, Network, dense, transposed};
use peregrine_benches::networks::{Dense, M1_ENCODING, M1_HIDDEN, M1_INPUTS, M1Tensors};

struct Builder(TypedModel);

impl Builder {
    fn constant(&mut self, name: &str, data: Vec<f32>, rows: usize) -> TractResult<OutletId> {
        let columns = data.len() / rows;
        let tensor = Tensor::from_shape(&[rows, columns], &data)?;
        self.0.add_const(name.to_owned(), tensor)
    }

    fn op(&mut self, name: &str, op: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> TractResult<OutletId> {
        Ok(self.0.wire_node(name, op, inputs)?[0])
    }

    fn affine(&mut self, name: &str, x: OutletId, weight: Vec<f32>, bias: Vec<f32>) -> TractResult<OutletId> {
        let inputs = weight.len() / bias.len();
        let weight = self.constant(&format!("{name}.weight"), weight, inputs)?;
        let bias = self.constant(&format!("{name}.bias"), bias, 1)?;
        let product = EinSum::new("mk,kn->mn".parse()?, f32::datum_type());
        let product = self.op(&format!("{name}.product"), product, &[x, weight])?;
        self.op(&format!("{name}.sum"), math::add(), &[product, bias])
    }

    fn dense(&mut self, name: &str, x: OutletId, layer: &Dense) -> TractResult<OutletId> {
        let (weight, bias, _) = dense(layer);
        self.affine(name, x, weight, bias)
    }

    fn silu(&mut self, name: &str, x: OutletId) -> TractResult<OutletId> {
        let gate = self.op(&format!("{name}.sigmoid"), nn::sigmoid(), &[x])?;
        self.op(&format!("{name}.silu"), math::mul(), &[x, gate])
    }

    fn gate(&mut self, name: &str, gates: OutletId, index: usize) -> TractResult<OutletId> {
        let slice = Slice { axis: 1, start: (index * M1_HIDDEN).to_dim(), end: ((index + 1) * M1_HIDDEN).to_dim() };
        self.op(&format!("{name}.{index}"), slice, &[gates])
    }
}

fn model(tensors: &M1Tensors) -> TractResult<TypedModel> {
    let mut b = Builder(TypedModel::default());
    let x = b.0.add_source("x", f32::fact([1, M1_INPUTS]))?;
    let h = b.0.add_source("h", f32::fact([1, M1_HIDDEN]))?;
    let e = b.dense("encoder", x, &tensors.encoder)?;
    let e = b.silu("encoder", e)?;
    let from_x = b.affine("input", e, transposed(&tensors.weight_ih, M1_ENCODING), tensors.bias_ih.clone())?;
    let from_h = b.affine("hidden", h, transposed(&tensors.weight_hh, M1_HIDDEN), tensors.bias_hh.clone())?;
    let mut gates = Vec::new();
    for index in 0..3 {
        gates.push((b.gate("input.gate", from_x, index)?, b.gate("hidden.gate", from_h, index)?));
    }
    let r = b.op("r.sum", math::add(), &[gates[0].0, gates[0].1])?;
    let r = b.op("r", nn::sigmoid(), &[r])?;
    let z = b.op("z.sum", math::add(), &[gates[1].0, gates[1].1])?;
    let z = b.op("z", nn::sigmoid(), &[z])?;
    let n = b.op("n.reset", math::mul(), &[r, gates[2].1])?;
    let n = b.op("n.sum", math::add(), &[gates[2].0, n])?;
    let n = b.op("n", math::tanh(), &[n])?;
    let kept = b.op("kept", math::sub(), &[h, n])?;
    let kept = b.op("kept.z", math::mul(), &[z, kept])?;
    let next = b.op("next", math::add(), &[n, kept])?;
    let first = b.dense("head_a", next, &tensors.heads[0])?;
    let second = b.dense("head_b", next, &tensors.heads[1])?;
    let joined = b.op("joined", TypedConcat::new(1), &[next, second])?;
    let hidden = b.dense("head_0", joined, &tensors.head_0)?;
    let hidden = b.silu("head_0", hidden)?;
    let out = b.dense("head_2", hidden, &tensors.head_2)?;
    b.0.set_output_outlets(&[out, next, first])?;
    b.0.into_optimized()
}

type Run = Box<dyn Fn(TVec<TValue>) -> TractResult<TVec<TValue>>>;

pub struct TractNet {
    run: Run,
    h: TValue,
}

impl TractNet {
    pub fn new(tensors: &M1Tensors) -> Result<Self, Failure> {
        let plan = model(tensors)?.into_runnable()?;
        Ok(Self {
            run: Box::new(move |inputs| plan.run(inputs)),
            h: Tensor::zero::<f32>(&[1, M1_HIDDEN])?.into_tvalue(),
        })
    }
}

impl Network for TractNet {
    fn step(&mut self, x: &[f32]) -> Result<Vec<f32>, Failure> {
        let x = Tensor::from_shape(&[1, M1_INPUTS], x)?.into_tvalue();
        let mut out = (self.run)(tvec!(x, self.h.clone()))?;
        self.h = out.remove(1);
        Ok(out[0].as_slice::<f32>()?.to_vec())
    }

    fn reset(&mut self) {
        if let Ok(zeros) = Tensor::zero::<f32>(&[1, M1_HIDDEN]) {
            self.h = zeros.into_tvalue();
        }
    }
}

//! M1 in candle's tensors on the CPU.

use candle_core::{Device, Tensor};

use super::{Failure, Network, dense, transposed};
use peregrine_benches::networks::{M1_ENCODING, M1_HIDDEN, M1_INPUTS, M1Tensors};

struct Layer {
    weight: Tensor,
    bias: Tensor,
}

impl Layer {
    fn apply(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.matmul(&self.weight)? + &self.bias
    }
}

fn sigmoid(x: &Tensor) -> candle_core::Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

fn layer(weight: Vec<f32>, bias: Vec<f32>, inputs: usize) -> candle_core::Result<Layer> {
    let outputs = bias.len();
    Ok(Layer {
        weight: Tensor::from_vec(weight, (inputs, outputs), &Device::Cpu)?,
        bias: Tensor::from_vec(bias, (1, outputs), &Device::Cpu)?,
    })
}

pub struct CandleNet {
    encoder: Layer,
    input: Layer,
    hidden: Layer,
    heads: [Layer; 2],
    head_0: Layer,
    head_2: Layer,
    zeros: Tensor,
    h: Tensor,
}

impl CandleNet {
    pub fn new(tensors: &M1Tensors) -> Result<Self, Failure> {
        let of = |dense_layer| {
            let (weight, bias, inputs) = dense(dense_layer);
            layer(weight, bias, inputs)
        };
        let gates = |weight: &[f32], bias: &[f32], inputs| layer(transposed(weight, inputs), bias.to_vec(), inputs);
        let zeros = Tensor::from_vec(vec![0.0_f32; M1_HIDDEN], (1, M1_HIDDEN), &Device::Cpu)?;
        Ok(Self {
            encoder: of(&tensors.encoder)?,
            input: gates(&tensors.weight_ih, &tensors.bias_ih, M1_ENCODING)?,
            hidden: gates(&tensors.weight_hh, &tensors.bias_hh, M1_HIDDEN)?,
            heads: [of(&tensors.heads[0])?, of(&tensors.heads[1])?],
            head_0: of(&tensors.head_0)?,
            head_2: of(&tensors.head_2)?,
            h: zeros.clone(),
            zeros,
        })
    }
}

impl Network for CandleNet {
    fn step(&mut self, x: &[f32]) -> Result<Vec<f32>, Failure> {
        let x = Tensor::from_slice(x, (1, M1_INPUTS), &Device::Cpu)?;
        let e = self.encoder.apply(&x)?.silu()?;
        let (from_x, from_h) = (self.input.apply(&e)?, self.hidden.apply(&self.h)?);
        let cut = |gates: &Tensor, index: usize| gates.narrow(1, index * M1_HIDDEN, M1_HIDDEN);
        let r = sigmoid(&(cut(&from_x, 0)? + cut(&from_h, 0)?)?)?;
        let z = sigmoid(&(cut(&from_x, 1)? + cut(&from_h, 1)?)?)?;
        let n = (cut(&from_x, 2)? + (r * cut(&from_h, 2)?)?)?.tanh()?;
        self.h = (&n + (z * (&self.h - &n)?)?)?;
        let [first, second] = &self.heads;
        std::hint::black_box(first.apply(&self.h)?);
        let joined = Tensor::cat(&[&self.h, &second.apply(&self.h)?], 1)?;
        let out = self.head_2.apply(&self.head_0.apply(&joined)?.silu()?)?;
        Ok(out.flatten_all()?.to_vec1()?)
    }

    fn reset(&mut self) {
        self.h = self.zeros.clone();
    }
}

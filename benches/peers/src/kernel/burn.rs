//! M1 in burn's tensors on its `flex` CPU backend.

use burn::tensor::{Device, Tensor, TensorData, activation};

use super::{Failure, Network, dense, transposed};
use peregrine_benches::networks::{M1_ENCODING, M1_HIDDEN, M1_INPUTS, M1Tensors};

struct Layer {
    weight: Tensor<2>,
    bias: Tensor<2>,
}

impl Layer {
    fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.clone()) + self.bias.clone()
    }
}

pub struct BurnNet {
    device: Device,
    encoder: Layer,
    input: Layer,
    hidden: Layer,
    heads: [Layer; 2],
    head_0: Layer,
    head_2: Layer,
    h: Tensor<2>,
}

impl BurnNet {
    pub fn new(tensors: &M1Tensors) -> Self {
        let device = Device::flex();
        let matrix = |data: Vec<f32>, rows: usize| {
            let columns = data.len() / rows;
            Tensor::<2>::from_data(TensorData::new(data, [rows, columns]), &device)
        };
        let layer = |(weight, bias, inputs): (Vec<f32>, Vec<f32>, usize)| Layer {
            weight: matrix(weight, inputs),
            bias: matrix(bias, 1),
        };
        let gates = |weight: &[f32], bias: &[f32], inputs: usize| Layer {
            weight: matrix(transposed(weight, inputs), inputs),
            bias: matrix(bias.to_vec(), 1),
        };
        Self {
            encoder: layer(dense(&tensors.encoder)),
            input: gates(&tensors.weight_ih, &tensors.bias_ih, M1_ENCODING),
            hidden: gates(&tensors.weight_hh, &tensors.bias_hh, M1_HIDDEN),
            heads: [layer(dense(&tensors.heads[0])), layer(dense(&tensors.heads[1]))],
            head_0: layer(dense(&tensors.head_0)),
            head_2: layer(dense(&tensors.head_2)),
            h: Tensor::zeros([1, M1_HIDDEN], &device),
            device,
        }
    }
}

impl Network for BurnNet {
    fn step(&mut self, x: &[f32]) -> Result<Vec<f32>, Failure> {
        let x = Tensor::<2>::from_data(TensorData::new(x.to_vec(), [1, M1_INPUTS]), &self.device);
        let e = activation::silu(self.encoder.apply(x));
        let (from_x, from_h) = (self.input.apply(e), self.hidden.apply(self.h.clone()));
        let gate = |index: usize| {
            let cut = |gates: &Tensor<2>| gates.clone().narrow(1, index * M1_HIDDEN, M1_HIDDEN);
            (cut(&from_x), cut(&from_h))
        };
        let ((rx, rh), (zx, zh), (nx, nh)) = (gate(0), gate(1), gate(2));
        let (r, z) = (activation::sigmoid(rx + rh), activation::sigmoid(zx + zh));
        let n = (nx + r * nh).tanh();
        self.h = n.clone() + z * (self.h.clone() - n);
        let [first, second] = &self.heads;
        std::hint::black_box(first.apply(self.h.clone()));
        let joined = Tensor::cat(vec![self.h.clone(), second.apply(self.h.clone())], 1);
        let out = self.head_2.apply(activation::silu(self.head_0.apply(joined)));
        out.into_data().try_into_vec::<f32>().map_err(|error| format!("{error:?}").into())
    }

    fn reset(&mut self) {
        self.h = Tensor::zeros([1, M1_HIDDEN], &self.device);
    }
}

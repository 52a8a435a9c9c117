//! The LSTM classifier of source 004 as it is trained: layers with dropout between them, the last step, a linear unit,
//! sigmoid, binary cross-entropy.

use burn::tensor::activation::sigmoid;

use crate::graph::{Leaves, elements, matrix};
use crate::lstm_core::{LayerGradients, LayerLengths, LayerTape, LayerWeights, backward, forward};
use crate::params::{Array, Params};
use crate::real::Real;

/// Shape of a classifier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClassifierShape {
    pub(crate) inputs: usize,
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
}

impl ClassifierShape {
    fn lengths(&self, layer: usize, steps: usize, lanes: usize) -> LayerLengths {
        let inputs = if layer == 0 { self.inputs } else { self.hidden };
        LayerLengths { steps, lanes, inputs, hidden: self.hidden }
    }
}

/// The parts of a recurrent layer by PyTorch's names.
const PARTS: [&str; 4] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];

fn layer_weights<T: Real>(params: &Params<T>, layer: usize) -> LayerWeights<T> {
    let [ih, hh, bias_ih, bias_hh] = PARTS.map(|part| params.data(&format!("lstm.{part}_l{layer}")).to_vec());
    LayerWeights { ih, hh, bias_ih, bias_hh }
}

/// Binary cross-entropy of a probability and its derivative, as PyTorch's `BCELoss`: logarithms are clamped at −100, and the
/// derivative is `(p − y)/max(p·(1 − p), 1e-12)`, with 1e-12 as the nearest f32. Means over the batch are the caller's.
pub(crate) fn cross_entropy<T: Real>(p: T, y: T) -> (T, T) {
    let (p, y) = (p.wide(), y.wide());
    let (of_one, of_zero) = (p.ln().max(-100.0), (-p).ln_1p().max(-100.0));
    let loss = -(y * of_one + (1.0 - y) * of_zero);
    (T::of(loss), T::of((p - y) / (p * (1.0 - p)).max(f64::from(1e-12_f32))))
}

/// A forward pass.
pub(crate) struct Pass<T> {
    tapes: Vec<LayerTape<T>>,
    fc: Leaves,
    probability: crate::graph::Matrix,
    /// Probability of each lane.
    pub(crate) values: Vec<T>,
}

/// Runs windows `x` [steps, lanes, inputs] from zero states, or from `start` (`h_0`, `c_0` per layer).
/// `masks` holds, for each layer but the last, what its outputs are multiplied by.
pub(crate) fn run<T: Real>(
    shape: ClassifierShape,
    params: &Params<T>,
    (x, lanes): (&[T], usize),
    masks: &[Vec<T>],
    start: &[(Vec<T>, Vec<T>)],
) -> Pass<T> {
    let steps = x.len() / (lanes * shape.inputs).max(1);
    let mut input = x.to_vec();
    let mut tapes = Vec::with_capacity(shape.layers);
    for layer in 0..shape.layers {
        let lengths = shape.lengths(layer, steps, lanes);
        let start = start.get(layer).map_or((&[] as &[T], &[] as &[T]), |(h, c)| (h, c));
        let tape = forward(lengths, &layer_weights(params, layer), input, start);
        input = tape.outputs(lengths).to_vec();
        if let Some(mask) = masks.get(layer) {
            input.iter_mut().zip(mask).for_each(|(x, mask)| *x = *x * *mask);
        }
        tapes.push(tape);
    }
    let mut fc = Leaves::of(params, true, |name| name.starts_with("fc."));
    let top = shape.lengths(shape.layers - 1, steps, lanes);
    let last = tapes.last().map_or(&[] as &[T], |tape| tape.last(top)).to_vec();
    let last = fc.insert("last", &Array::new(vec![lanes, shape.hidden], last));
    let probability = sigmoid(fc.linear("fc", last));
    let values = elements(probability.clone().inner());
    Pass { tapes, fc, probability, values }
}

impl<T: Real> Pass<T> {
    /// Hidden state of the top layer after the last step, [lanes, H].
    #[cfg(test)]
    pub(crate) fn last_hidden(&self, shape: ClassifierShape, lanes: usize) -> Vec<T> {
        let Some(top) = self.tapes.last() else { return Vec::new() };
        top.h[top.h.len() - lanes * shape.hidden..].to_vec()
    }

    /// Mean loss against `y`, and its gradients.
    pub(crate) fn back(
        self,
        shape: ClassifierShape,
        params: &Params<T>,
        masks: &[Vec<T>],
        y: &[T],
    ) -> (f64, Params<T>) {
        let lanes = y.len();
        let count = crate::fold::whole(lanes);
        let both = self.values.iter().zip(y).map(|(p, y)| cross_entropy(*p, *y));
        let (losses, slopes): (Vec<T>, Vec<T>) = both.map(|(loss, slope)| (loss, T::of(slope.wide() / count))).unzip();
        let loss = losses.iter().map(|loss| loss.wide()).sum::<f64>() / count;
        let slopes = matrix(slopes, lanes, &self.fc.device);
        let mut gradients: Params<T> = self.fc.gradients((self.probability * slopes).sum().backward());
        let last = gradients.0.remove("last").unwrap_or_default().data;
        let state = lanes * shape.hidden;
        let steps = self.tapes.first().map_or(0, |tape| (tape.h.len() / state.max(1)).saturating_sub(1));
        let mut incoming = vec![T::ZERO; steps * state];
        let from = incoming.len() - last.len();
        incoming[from..].copy_from_slice(&last);
        for (layer, tape) in self.tapes.iter().enumerate().rev() {
            let lengths = shape.lengths(layer, steps, lanes);
            let LayerGradients { weights, input } = backward(lengths, &layer_weights(params, layer), tape, &incoming);
            for (part, data) in PARTS.iter().zip([weights.ih, weights.hh, weights.bias_ih, weights.bias_hh]) {
                let name = format!("lstm.{part}_l{layer}");
                let shape = params.0.get(&name).map(|array| array.shape.clone()).unwrap_or_default();
                gradients.insert(&name, shape, data);
            }
            incoming = input;
            if let Some(mask) = layer.checked_sub(1).and_then(|below| masks.get(below)) {
                incoming.iter_mut().zip(mask).for_each(|(x, mask)| *x = *x * *mask);
            }
        }
        (loss, gradients)
    }
}

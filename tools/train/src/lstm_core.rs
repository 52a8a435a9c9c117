//! PyTorch's LSTM over a whole window, forwards and backwards by hand; why by hand: as for the world model's core.
//! Arrays are [steps, lanes, width].

use pulp::{Arch, NullaryFnOnce};

use crate::gemm::{Left, add_rows, gemm, transpose};
use crate::real::Real;

/// One layer's weights, gates in the order i, f, g, o.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LayerWeights<T> {
    pub(crate) ih: Vec<T>,
    pub(crate) hh: Vec<T>,
    pub(crate) bias_ih: Vec<T>,
    pub(crate) bias_hh: Vec<T>,
}

/// Lengths of one layer's pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerLengths {
    pub(crate) steps: usize,
    pub(crate) lanes: usize,
    pub(crate) inputs: usize,
    pub(crate) hidden: usize,
}

/// What a layer's forward pass leaves behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct LayerTape<T> {
    input: Vec<T>,
    /// `h_0 … h_T`, [steps + 1, lanes, H].
    pub(crate) h: Vec<T>,
    /// `c_0 … c_T`.
    pub(crate) c: Vec<T>,
    gates: Vec<T>,
}

impl<T: Real> LayerTape<T> {
    /// `h_1 … h_T`: what the next layer sees.
    pub(crate) fn outputs(&self, lengths: LayerLengths) -> &[T] {
        &self.h[lengths.lanes * lengths.hidden..]
    }

    /// `h_T`.
    pub(crate) fn last(&self, lengths: LayerLengths) -> &[T] {
        &self.h[lengths.steps * lengths.lanes * lengths.hidden..]
    }
}

/// Runs a layer from `start` (`h_0`, `c_0`).
pub(crate) fn forward<T: Real>(
    lengths: LayerLengths,
    weights: &LayerWeights<T>,
    input: Vec<T>,
    (h, c): (&[T], &[T]),
) -> LayerTape<T> {
    let state = (lengths.steps + 1) * lengths.lanes * lengths.hidden;
    let mut tape = LayerTape {
        h: vec![T::ZERO; state],
        c: vec![T::ZERO; state],
        gates: vec![T::ZERO; lengths.steps * lengths.lanes * 4 * lengths.hidden],
        input,
    };
    tape.h[..h.len()].copy_from_slice(h);
    tape.c[..c.len()].copy_from_slice(c);
    let (from_x, from_h) = (transpose(&weights.ih, lengths.inputs), transpose(&weights.hh, lengths.hidden));
    Arch::new().dispatch(Forward { lengths, weights, from_x: &from_x, from_h: &from_h, tape: &mut tape });
    tape
}

struct Forward<'a, T> {
    lengths: LayerLengths,
    weights: &'a LayerWeights<T>,
    from_x: &'a [T],
    from_h: &'a [T],
    tape: &'a mut LayerTape<T>,
}

impl<T: Real> NullaryFnOnce for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let LayerLengths { steps, lanes, inputs, hidden } = self.lengths;
        let (wide, tape) = (4 * hidden, self.tape);
        // Both biases, then the inputs' products of the whole window at once, then step by step those with h.
        for row in tape.gates.chunks_exact_mut(wide) {
            let biases = self.weights.bias_ih.iter().zip(&self.weights.bias_hh);
            row.iter_mut().zip(biases).for_each(|(gate, (a, b))| *gate = *a + *b);
        }
        let shape = (steps * lanes, inputs, wide);
        gemm(shape, Left::rows(&tape.input, inputs), self.from_x, &mut tape.gates, true);
        let state = lanes * hidden;
        for step in 0..steps {
            let gates = &mut tape.gates[step * lanes * wide..(step + 1) * lanes * wide];
            let (seen, next) = tape.h[step * state..(step + 2) * state].split_at_mut(state);
            gemm((lanes, hidden, wide), Left::rows(seen, hidden), self.from_h, gates, true);
            let (memory, next_memory) = tape.c[step * state..(step + 2) * state].split_at_mut(state);
            for lane in 0..lanes {
                let range = lane * hidden..(lane + 1) * hidden;
                let gates = &mut gates[lane * wide..(lane + 1) * wide];
                cell(gates, &memory[range.clone()], &mut next_memory[range.clone()], &mut next[range]);
            }
        }
    }
}

#[inline(always)]
fn cell<T: Real>(gates: &mut [T], memory: &[T], next_memory: &mut [T], next: &mut [T]) {
    let hidden = memory.len();
    let (input, rest) = gates.split_at_mut(hidden);
    let (forget, rest) = rest.split_at_mut(hidden);
    let (candidate, output) = rest.split_at_mut(hidden);
    let (output, next, next_memory) = (&mut output[..hidden], &mut next[..hidden], &mut next_memory[..hidden]);
    for unit in 0..hidden {
        input[unit] = input[unit].logistic();
        forget[unit] = forget[unit].logistic();
        candidate[unit] = candidate[unit].hyperbolic();
        output[unit] = output[unit].logistic();
        next_memory[unit] = forget[unit].fused(memory[unit], input[unit] * candidate[unit]);
        next[unit] = output[unit] * next_memory[unit].hyperbolic();
    }
}

/// Gradients of a layer's weights and of its input.
#[derive(Clone, Debug, Default)]
pub(crate) struct LayerGradients<T> {
    pub(crate) weights: LayerWeights<T>,
    pub(crate) input: Vec<T>,
}

/// Back through a layer; `incoming` are the gradients of `h_1 … h_T`.
pub(crate) fn backward<T: Real>(
    lengths: LayerLengths,
    weights: &LayerWeights<T>,
    tape: &LayerTape<T>,
    incoming: &[T],
) -> LayerGradients<T> {
    let wide = 4 * lengths.hidden;
    let mut to = LayerGradients {
        weights: LayerWeights {
            ih: vec![T::ZERO; wide * lengths.inputs],
            hh: vec![T::ZERO; wide * lengths.hidden],
            bias_ih: vec![T::ZERO; wide],
            bias_hh: Vec::new(),
        },
        input: vec![T::ZERO; lengths.steps * lengths.lanes * lengths.inputs],
    };
    Arch::new().dispatch(Backward { lengths, weights, tape, incoming, to: &mut to });
    to.weights.bias_hh.clone_from(&to.weights.bias_ih);
    to
}

struct Backward<'a, T> {
    lengths: LayerLengths,
    weights: &'a LayerWeights<T>,
    tape: &'a LayerTape<T>,
    incoming: &'a [T],
    to: &'a mut LayerGradients<T>,
}

impl<T: Real> NullaryFnOnce for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let LayerLengths { steps, lanes, inputs, hidden } = self.lengths;
        let (wide, state, tape) = (4 * hidden, lanes * hidden, self.tape);
        let mut d_gates = vec![T::ZERO; steps * lanes * wide];
        let (mut d_h, mut d_c) = (vec![T::ZERO; state], vec![T::ZERO; state]);
        for step in (0..steps).rev() {
            let incoming = &self.incoming[step * state..(step + 1) * state];
            d_h.iter_mut().zip(incoming).for_each(|(d, from)| *d += *from);
            let d_gates = &mut d_gates[step * lanes * wide..(step + 1) * lanes * wide];
            for lane in 0..lanes {
                let row = step * lanes + lane;
                let gates = &tape.gates[row * wide..(row + 1) * wide];
                let range = lane * hidden..(lane + 1) * hidden;
                let memory = &tape.c[row * hidden..(row + 1) * hidden];
                let next_memory = &tape.c[(row + lanes) * hidden..(row + lanes + 1) * hidden];
                let d_gates = &mut d_gates[lane * wide..(lane + 1) * wide];
                back_cell(gates, (memory, next_memory), &d_h[range.clone()], &mut d_c[range], d_gates);
            }
            gemm((lanes, wide, hidden), Left::rows(d_gates, wide), &self.weights.hh, &mut d_h, false);
        }
        let (rows, to) = (steps * lanes, self.to);
        gemm((rows, wide, inputs), Left::rows(&d_gates, wide), &self.weights.ih, &mut to.input, false);
        let transposed = Left::transposed(&d_gates, wide);
        gemm((wide, rows, inputs), transposed, &tape.input, &mut to.weights.ih, false);
        gemm((wide, rows, hidden), transposed, &tape.h[..rows * hidden], &mut to.weights.hh, false);
        add_rows(&d_gates, &mut to.weights.bias_ih);
    }
}

/// From the gradients of `h'` and `c'` to those of the gates before their nonlinearity; `d_c` becomes that of `c`.
#[inline(always)]
fn back_cell<T: Real>(gates: &[T], (memory, next): (&[T], &[T]), d_h: &[T], d_c: &mut [T], d_gates: &mut [T]) {
    let hidden = d_h.len();
    let (input, rest) = gates.split_at(hidden);
    let (forget, rest) = rest.split_at(hidden);
    let (candidate, output) = rest.split_at(hidden);
    let (memory, next, d_c, output) = (&memory[..hidden], &next[..hidden], &mut d_c[..hidden], &output[..hidden]);
    let d_gates = &mut d_gates[..4 * hidden];
    for unit in 0..hidden {
        let (i, f, g, o, d) = (input[unit], forget[unit], candidate[unit], output[unit], d_h[unit]);
        let squashed = next[unit].hyperbolic();
        let d_memory = d_c[unit] + d * o * (T::ONE - squashed * squashed);
        d_gates[unit] = d_memory * g * i * (T::ONE - i);
        d_gates[hidden + unit] = d_memory * memory[unit] * f * (T::ONE - f);
        d_gates[2 * hidden + unit] = d_memory * i * (T::ONE - g * g);
        d_gates[3 * hidden + unit] = d * squashed * o * (T::ONE - o);
        d_c[unit] = d_memory * f;
    }
}

//! PyTorch's layers on the kernel's backends: what the LSTM baseline runs on, and what the oracles are held against.
//!
//! Weights are given as PyTorch keeps them (row-major, `[outputs, inputs]`) and packed once. An [`Activations`] holds a
//! vector between layers; nothing is allocated by a step.

use crate::file::{ModelError, Tensors};
use crate::kernel::Kernel;
use crate::math::{sigmoid, silu, tanh};
use crate::matvec::{Rows, dense, load_all, pack_dense, pack_tiles, pack_vector, tile_of_four};
use crate::model::{GruTensors, pack_gru};
use crate::simd::{Block, LANE_COUNT, Simd, Task};
use crate::size::blocks;
use crate::step::gru_unit;

/// Lengths that do not fit together.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what} has {found} elements, {expected} are needed")]
pub struct LengthError {
    /// Which vector or matrix.
    pub what: &'static str,
    /// Its length.
    pub found: usize,
    /// The length that fits.
    pub expected: usize,
}

fn check(what: &'static str, found: usize, expected: usize) -> Result<(), LengthError> {
    if found == expected { Ok(()) } else { Err(LengthError { what, found, expected }) }
}

/// A vector between layers, padded with zeros to whole blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Activations {
    len: usize,
    blocks: Vec<Block>,
}

impl Activations {
    /// Zeros.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        Self { len, blocks: vec![Block::ZERO; blocks(len)] }
    }

    /// A copy of `values`.
    #[must_use]
    pub fn from_slice(values: &[f32]) -> Self {
        let mut blocks = Vec::new();
        pack_vector(values, self::blocks(values.len()), &mut blocks);
        Self { len: values.len(), blocks }
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies `values` in.
    ///
    /// # Errors
    /// [`LengthError`] when their number is not [`len`](Self::len).
    pub fn set(&mut self, values: &[f32]) -> Result<(), LengthError> {
        check("input", values.len(), self.len)?;
        let lanes = self.blocks.iter_mut().flat_map(|block| &mut block.0);
        lanes.zip(values).for_each(|(lane, value)| *lane = *value);
        Ok(())
    }

    /// The elements.
    pub fn iter(&self) -> impl Iterator<Item = f32> + '_ {
        self.blocks.iter().flat_map(|block| block.0).take(self.len)
    }
}

fn matrix<'a>(what: &'static str, weight: &'a [f32], rows: usize, columns: usize) -> Result<Rows<'a>, LengthError> {
    check(what, weight.len(), rows * columns)?;
    Ok(weight.chunks_exact(columns.max(1)).map(Some).collect())
}

/// `W·x + b`.
#[derive(Clone, Debug)]
pub struct Linear {
    inputs: usize,
    outputs: usize,
    bias: Vec<Block>,
    panels: Vec<Block>,
}

impl Linear {
    /// Packs a layer; `inputs` are the columns of `weight`, `bias.len()` its rows.
    ///
    /// # Errors
    /// [`LengthError`] when `weight` is not `bias.len() · inputs` long.
    pub fn new(weight: &[f32], bias: &[f32], inputs: usize) -> Result<Self, LengthError> {
        let (mut panels, mut packed_bias) = (Vec::new(), Vec::new());
        pack_dense(&matrix("linear weight", weight, bias.len(), inputs)?, blocks(inputs), &mut panels);
        pack_vector(bias, blocks(bias.len()), &mut packed_bias);
        Ok(Self { inputs, outputs: bias.len(), bias: packed_bias, panels })
    }
}

/// PyTorch's GRU cell, gates in the order r, z, n; the reset gate multiplies the hidden term after its bias is added.
#[derive(Clone, Debug)]
pub struct GruCell {
    inputs: usize,
    units: Vec<Block>,
    next: Vec<Block>,
    hidden: usize,
}

/// The four tensors of a recurrent cell as PyTorch keeps them.
#[derive(Clone, Copy, Debug)]
pub struct CellTensors<'a> {
    /// `[gates · hidden, inputs]`.
    pub weight_ih: &'a [f32],
    /// `[gates · hidden, hidden]`.
    pub weight_hh: &'a [f32],
    /// `[gates · hidden]`.
    pub bias_ih: &'a [f32],
    /// `[gates · hidden]`.
    pub bias_hh: &'a [f32],
}

impl CellTensors<'_> {
    fn check(&self, gates: usize, hidden: usize) -> Result<(), LengthError> {
        check("bias_ih", self.bias_ih.len(), gates * hidden)?;
        check("bias_hh", self.bias_hh.len(), gates * hidden)
    }
}

impl GruCell {
    /// Packs a cell.
    ///
    /// # Errors
    /// [`LengthError`] when a tensor's length does not fit.
    pub fn new(tensors: CellTensors<'_>, inputs: usize, hidden: usize) -> Result<Self, LengthError> {
        tensors.check(3, hidden)?;
        let mut units = Vec::new();
        let cell = GruTensors {
            weight_ih: &matrix("GRU weight_ih", tensors.weight_ih, 3 * hidden, inputs)?,
            weight_hh: &matrix("GRU weight_hh", tensors.weight_hh, 3 * hidden, hidden)?,
            bias_ih: tensors.bias_ih,
            bias_hh: tensors.bias_hh,
        };
        pack_gru(&cell, hidden, blocks(inputs), &mut units);
        Ok(Self { inputs, units, next: vec![Block::ZERO; blocks(hidden)], hidden })
    }
}

/// PyTorch's LSTM cell, gates in the order i, f, g, o.
#[derive(Clone, Debug)]
pub struct LstmCell {
    inputs: usize,
    hidden: usize,
    units: Vec<Block>,
    next: Vec<Block>,
}

impl LstmCell {
    /// Packs a cell.
    ///
    /// # Errors
    /// [`LengthError`] when a tensor's length does not fit.
    pub fn new(tensors: CellTensors<'_>, inputs: usize, hidden: usize) -> Result<Self, LengthError> {
        tensors.check(4, hidden)?;
        let ih = matrix("LSTM weight_ih", tensors.weight_ih, 4 * hidden, inputs)?;
        let hh = matrix("LSTM weight_hh", tensors.weight_hh, 4 * hidden, hidden)?;
        let mut units = Vec::new();
        for first in (0..hidden).step_by(LANE_COUNT) {
            let take = LANE_COUNT.min(hidden - first);
            for gate in 0..4 {
                let both = tensors.bias_ih.iter().zip(tensors.bias_hh).map(|(a, b)| a + b);
                let both: Vec<f32> = both.skip(gate * hidden + first).take(take).collect();
                pack_vector(&both, 1, &mut units);
            }
            for (rows, width) in [(&ih, inputs), (&hh, hidden)] {
                let gates = (0..4).flat_map(|gate| {
                    let rows = rows.iter().skip(gate * hidden + first).take(take).copied();
                    rows.chain(std::iter::repeat_n(None, LANE_COUNT - take))
                });
                pack_tiles(&gates.collect(), blocks(width), 4, &mut units);
            }
        }
        Ok(Self { inputs, hidden, units, next: vec![Block::ZERO; blocks(hidden)] })
    }
}

/// `(x − mean)/√(variance + ε)·γ + β`, population variance over the vector.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    len: usize,
    epsilon: f32,
    gamma: Vec<Block>,
    beta: Vec<Block>,
    mask: Vec<Block>,
}

impl LayerNorm {
    /// Packs a layer.
    ///
    /// # Errors
    /// [`LengthError`] when γ and β differ in length.
    pub fn new(gamma: &[f32], beta: &[f32], epsilon: f32) -> Result<Self, LengthError> {
        check("layer norm beta", beta.len(), gamma.len())?;
        let pack = |values: &[f32]| {
            let mut to = Vec::new();
            pack_vector(values, blocks(gamma.len()), &mut to);
            to
        };
        let mask = pack(&vec![1.0; gamma.len()]);
        Ok(Self { len: gamma.len(), epsilon, gamma: pack(gamma), beta: pack(beta), mask })
    }
}

struct LinearTask<'a>(&'a Linear, &'a [Block], &'a mut [Block]);

impl Task for LinearTask<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        dense(s, &self.0.panels, self.1, &self.0.bias, self.2);
    }
}

struct GruTask<'a>(&'a mut GruCell, &'a [Block], &'a mut [Block]);

impl Task for GruTask<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(cell, x, h) = self;
        let unit_len = crate::size::gru_blocks(h.len(), x.len());
        for ((unit, next), old) in cell.units.chunks_exact(unit_len).zip(&mut cell.next).zip(&*h) {
            let is_done = gru_unit(s, unit, (x, h), old, next);
            debug_assert!(is_done.is_some(), "the unit was packed for these lengths");
        }
        h.copy_from_slice(&cell.next);
    }
}

struct LstmTask<'a>(&'a mut LstmCell, &'a [Block], &'a mut [Block], &'a mut [Block]);

impl Task for LstmTask<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(cell, x, h, c) = self;
        let (x_len, h_len) = (4 * LANE_COUNT * x.len(), 4 * LANE_COUNT * h.len());
        let units = cell.units.chunks_exact(4 + x_len + h_len);
        for ((unit, next), c) in units.zip(&mut cell.next).zip(c) {
            let Some((biases, rows)) = unit.split_first_chunk::<4>() else { continue };
            let (x_rows, h_rows) = rows.split_at(x_len);
            let gates = tile_of_four(s, x_rows, x, load_all(s, biases));
            let [input, forget, candidate, output] = tile_of_four(s, h_rows, h, gates);
            let kept = s.mul(sigmoid(s, forget), s.load(&c.0));
            let memory = s.fma(sigmoid(s, input), tanh(s, candidate), kept);
            s.store(memory, &mut c.0);
            s.store(s.mul(sigmoid(s, output), tanh(s, memory)), &mut next.0);
        }
        h.copy_from_slice(&cell.next);
    }
}

struct LayerNormTask<'a>(&'a LayerNorm, &'a mut [Block]);

impl LayerNormTask<'_> {
    /// The mean of `x − around` over the real lanes.
    #[inline(always)]
    fn mean<S: Simd>(&self, s: S, around: f32) -> f32 {
        let mut total = s.splat(0.0);
        for (x, mask) in self.1.iter().zip(&self.0.mask) {
            total = s.fma(s.sub(s.load(&x.0), s.splat(around)), s.load(&mask.0), total);
        }
        s.sum(total) / count_to_f32(self.0.len)
    }
}

impl Task for LayerNormTask<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let first = self.mean(s, 0.0);
        // Again around the first result: a constant vector then gives exact zeros.
        let mean = first + self.mean(s, first);
        let Self(layer, x) = self;
        let mut squares = s.splat(0.0);
        for (x, mask) in x.iter_mut().zip(&layer.mask) {
            let distance = s.mul(s.sub(s.load(&x.0), s.splat(mean)), s.load(&mask.0));
            squares = s.fma(distance, distance, squares);
            s.store(distance, &mut x.0);
        }
        let variance = s.sum(squares) / count_to_f32(layer.len);
        let scale = s.splat((variance + layer.epsilon).sqrt().recip());
        for ((x, gamma), beta) in x.iter_mut().zip(&layer.gamma).zip(&layer.beta) {
            let normal = s.mul(s.load(&x.0), scale);
            s.store(s.fma(normal, s.load(&gamma.0), s.load(&beta.0)), &mut x.0);
        }
    }
}

fn count_to_f32(count: usize) -> f32 {
    u16::try_from(count).map_or(f32::INFINITY, f32::from)
}

/// Which function [`Kernel::activate`] applies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Activation {
    /// `1/(1 + e^−x)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `x·sigmoid(x)`.
    Silu,
}

struct ActivateTask<'a>(Activation, &'a mut [Block]);

impl Task for ActivateTask<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for block in self.1 {
            let x = s.load(&block.0);
            let y = match self.0 {
                Activation::Sigmoid => sigmoid(s, x),
                Activation::Tanh => tanh(s, x),
                Activation::Silu => silu(s, x),
            };
            s.store(y, &mut block.0);
        }
    }
}

impl Kernel {
    /// `out = W·x + b`.
    ///
    /// # Errors
    /// [`LengthError`] when `x` or `out` does not fit the layer.
    pub fn linear(&self, layer: &Linear, x: &Activations, out: &mut Activations) -> Result<(), LengthError> {
        check("linear input", x.len, layer.inputs)?;
        check("linear output", out.len, layer.outputs)?;
        self.dispatch(LinearTask(layer, &x.blocks, &mut out.blocks));
        Ok(())
    }

    /// One step of a GRU cell: `h` becomes the next hidden state. The cell holds the scratch.
    ///
    /// # Errors
    /// [`LengthError`] when `x` or `h` does not fit the cell.
    pub fn gru(&self, cell: &mut GruCell, x: &Activations, h: &mut Activations) -> Result<(), LengthError> {
        check("GRU input", x.len, cell.inputs)?;
        check("GRU state", h.len, cell.hidden)?;
        self.dispatch(GruTask(cell, &x.blocks, &mut h.blocks));
        Ok(())
    }

    /// One step of an LSTM cell: `h` and `c` become the next states. The cell holds the scratch.
    ///
    /// # Errors
    /// [`LengthError`] when `x`, `h` or `c` does not fit the cell.
    pub fn lstm(
        &self,
        cell: &mut LstmCell,
        x: &Activations,
        h: &mut Activations,
        c: &mut Activations,
    ) -> Result<(), LengthError> {
        check("LSTM input", x.len, cell.inputs)?;
        check("LSTM state h", h.len, cell.hidden)?;
        check("LSTM state c", c.len, cell.hidden)?;
        self.dispatch(LstmTask(cell, &x.blocks, &mut h.blocks, &mut c.blocks));
        Ok(())
    }

    /// Normalises `x` in place.
    ///
    /// # Errors
    /// [`LengthError`] when `x` does not fit the layer.
    pub fn layer_norm(&self, layer: &LayerNorm, x: &mut Activations) -> Result<(), LengthError> {
        check("layer norm input", x.len, layer.len)?;
        self.dispatch(LayerNormTask(layer, &mut x.blocks));
        Ok(())
    }

    /// Applies a function to each element.
    pub fn activate(&self, activation: Activation, x: &mut Activations) {
        self.dispatch(ActivateTask(activation, &mut x.blocks));
        if let Some(last) = x.blocks.last_mut() {
            let used = x.len - (x.len - 1) / LANE_COUNT * LANE_COUNT;
            last.0.iter_mut().skip(used).for_each(|lane| *lane = 0.0);
        }
    }
}

/// The baseline of source 004: a stack of LSTM layers, a linear layer on the last hidden state, a sigmoid. The probability
/// of an up-move.
#[derive(Clone, Debug)]
pub struct LstmClassifier {
    cells: Vec<LstmCell>,
    h: Vec<Activations>,
    c: Vec<Activations>,
    x: Activations,
    fc: Linear,
    logit: Activations,
}

impl LstmClassifier {
    /// Takes `lstm.weight_ih_l{k}`, …, `fc.weight`, `fc.bias` by PyTorch's names, for as many layers as there are.
    ///
    /// # Errors
    /// [`ModelError`] when a tensor is missing or its length does not fit.
    pub fn new(tensors: &Tensors) -> Result<Self, ModelError> {
        let (mut cells, mut inputs) = (Vec::new(), tensors.columns("lstm.weight_ih_l0")?);
        let (first_inputs, hidden) = (inputs, tensors.columns("lstm.weight_hh_l0")?);
        while tensors.0.contains_key(&format!("lstm.weight_ih_l{}", cells.len())) {
            let layer = cells.len();
            let get = |name: &str| tensors.data(&format!("lstm.{name}_l{layer}"));
            let cell = CellTensors {
                weight_ih: get("weight_ih")?,
                weight_hh: get("weight_hh")?,
                bias_ih: get("bias_ih")?,
                bias_hh: get("bias_hh")?,
            };
            cells.push(LstmCell::new(cell, inputs, hidden)?);
            inputs = hidden;
        }
        let fc = Linear::new(tensors.data("fc.weight")?, tensors.data("fc.bias")?, hidden)?;
        let states = vec![Activations::zeros(hidden); cells.len()];
        let logit = Activations::zeros(fc.outputs);
        Ok(Self { cells, h: states.clone(), c: states, x: Activations::zeros(first_inputs), fc, logit })
    }

    /// Sets the state of a layer; false when there is no such layer or a length does not fit.
    pub fn set_state(&mut self, layer: usize, h: &[f32], c: &[f32]) -> bool {
        match (self.h.get_mut(layer), self.c.get_mut(layer)) {
            (Some(to_h), Some(to_c)) => to_h.set(h).and_then(|()| to_c.set(c)).is_ok(),
            (None, _) | (_, None) => false,
        }
    }

    /// Hidden and cell state of a layer.
    #[must_use]
    pub fn state(&self, layer: usize) -> Option<(&Activations, &Activations)> {
        self.h.get(layer).zip(self.c.get(layer))
    }

    /// One time step.
    ///
    /// # Errors
    /// [`LengthError`] when `x` has not the width of the first layer.
    pub fn step(&mut self, kernel: &Kernel, x: &[f32]) -> Result<(), LengthError> {
        self.x.set(x)?;
        let mut input = &self.x;
        for ((cell, h), c) in self.cells.iter_mut().zip(&mut self.h).zip(&mut self.c) {
            kernel.lstm(cell, input, h, c)?;
            input = h;
        }
        Ok(())
    }

    /// The probability after the steps so far, 0..1.
    ///
    /// # Errors
    /// [`LengthError`] never, for a classifier that was made by [`new`](Self::new).
    pub fn probability(&mut self, kernel: &Kernel) -> Result<f32, LengthError> {
        if let Some(last) = self.h.last() {
            kernel.linear(&self.fc, last, &mut self.logit)?;
        }
        kernel.activate(Activation::Sigmoid, &mut self.logit);
        Ok(self.logit.iter().next().unwrap_or(0.0))
    }
}

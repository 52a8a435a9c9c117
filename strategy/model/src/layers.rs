//! PyTorch's layers on the kernel's backends: what the LSTM baseline runs on, and what the oracles are held against.
//!
//! Weights are given as PyTorch keeps them (row-major, `[outputs, inputs]`) and packed once. An [`Activations`] holds a
//! vector between layers; nothing is allocated by a step.

use std::marker::PhantomData;

use crate::format::{Bytewise, F32, Format, Int8, Int16, Plan, Precision};
use crate::kernel::Kernel;
use crate::math::{sigmoid, silu, tanh};
use crate::matvec::{Rows, dense, pack_dense, pack_vector};
use crate::model::{GruTensors, pack_gru};
use crate::simd::{Block, LANE_COUNT, Simd, Task};
use crate::size::{blocks, gru_blocks};
use crate::step::gru_unit;

pub use crate::lstm::{LstmCell, LstmClassifier};

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

/// Most inputs of a layer whose weights are integers: its sums fit 32 bits, those of bytes even an f32.
pub const INTEGER_INPUT_COUNT_MAX: usize = 1_024;

/// Blocks of the longest vector of inputs.
pub(crate) const INPUT_BLOCKS_MAX: usize = INTEGER_INPUT_COUNT_MAX / LANE_COUNT;

pub(crate) fn check_precision(precision: Precision, inputs: usize) -> Result<(), LengthError> {
    match precision {
        Precision::Int16 | Precision::Int8 if inputs > INTEGER_INPUT_COUNT_MAX => {
            Err(LengthError { what: "inputs of an integer layer", found: inputs, expected: INTEGER_INPUT_COUNT_MAX })
        }
        Precision::F32 | Precision::Int16 | Precision::Int8 => Ok(()),
    }
}

pub(crate) fn check(what: &'static str, found: usize, expected: usize) -> Result<(), LengthError> {
    if found == expected { Ok(()) } else { Err(LengthError { what, found, expected }) }
}

/// A vector between layers, padded with zeros to whole blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Activations {
    len: usize,
    pub(crate) blocks: Vec<Block>,
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
        self.fill(values);
        Ok(())
    }

    /// Sets the elements; those without a value stay.
    pub(crate) fn fill(&mut self, values: &[f32]) {
        let lanes = self.blocks.iter_mut().flat_map(|block| &mut block.0);
        lanes.zip(values).for_each(|(lane, value)| *lane = *value);
    }

    /// Sets the elements to those of `first` and then of `second`, whose length must fill whole blocks of sixteen unless
    /// it is the last.
    ///
    /// # Errors
    /// [`LengthError`] when the lengths do not add up, or `first` ends within a block.
    pub fn join(&mut self, first: &Self, second: &Self) -> Result<(), LengthError> {
        check("join", first.len + second.len, self.len)?;
        check("join: first", first.len, first.blocks.len() * LANE_COUNT)?;
        let from = first.blocks.iter().chain(&second.blocks);
        self.blocks.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        Ok(())
    }

    /// The elements.
    pub fn iter(&self) -> impl Iterator<Item = f32> + '_ {
        self.blocks.iter().flat_map(|block| block.0).take(self.len)
    }
}

pub(crate) fn matrix<'a>(
    what: &'static str,
    weight: &'a [f32],
    rows: usize,
    columns: usize,
) -> Result<Rows<'a>, LengthError> {
    check(what, weight.len(), rows * columns)?;
    Ok(weight.chunks_exact(columns.max(1)).map(Some).collect())
}

/// `W·x + b`.
#[derive(Clone, Debug)]
pub struct Linear {
    precision: Precision,
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
        Self::with_precision(weight, bias, inputs, Precision::F32)
    }

    /// Packs a layer whose weights are kept in `precision`.
    ///
    /// # Errors
    /// [`LengthError`] as for [`new`](Self::new), and for more than [`INTEGER_INPUT_COUNT_MAX`] inputs of integers.
    pub fn with_precision(
        weight: &[f32],
        bias: &[f32],
        inputs: usize,
        precision: Precision,
    ) -> Result<Self, LengthError> {
        check_precision(precision, inputs)?;
        let (mut panels, mut packed_bias) = (Vec::new(), Vec::new());
        let rows = matrix("linear weight", weight, bias.len(), inputs)?;
        match precision {
            Precision::F32 => pack_dense::<F32>(&rows, blocks(inputs), &mut panels),
            Precision::Int16 => pack_dense::<Int16>(&rows, blocks(inputs), &mut panels),
            Precision::Int8 => pack_dense::<Int8>(&rows, blocks(inputs), &mut panels),
        }
        pack_vector(bias, blocks(bias.len()), &mut packed_bias);
        Ok(Self { precision, inputs, outputs: bias.len(), bias: packed_bias, panels })
    }
}

/// PyTorch's GRU cell, gates in the order r, z, n; the reset gate multiplies the hidden term after its bias is added.
#[derive(Clone, Debug)]
pub struct GruCell {
    precision: Precision,
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
    pub(crate) fn check(&self, gates: usize, hidden: usize) -> Result<(), LengthError> {
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
        Self::with_precision(tensors, inputs, hidden, Precision::F32)
    }

    /// Packs a cell whose weights are kept in `precision`.
    ///
    /// # Errors
    /// [`LengthError`] as for [`new`](Self::new), and for more than [`INTEGER_INPUT_COUNT_MAX`] inputs or units of integers.
    pub fn with_precision(
        tensors: CellTensors<'_>,
        inputs: usize,
        hidden: usize,
        precision: Precision,
    ) -> Result<Self, LengthError> {
        check_precision(precision, inputs.max(hidden))?;
        tensors.check(3, hidden)?;
        let mut units = Vec::new();
        let cell = GruTensors {
            weight_ih: &matrix("GRU weight_ih", tensors.weight_ih, 3 * hidden, inputs)?,
            weight_hh: &matrix("GRU weight_hh", tensors.weight_hh, 3 * hidden, hidden)?,
            bias_ih: tensors.bias_ih,
            bias_hh: tensors.bias_hh,
        };
        match precision {
            Precision::F32 => pack_gru::<F32>(&cell, hidden, blocks(inputs), &mut units),
            Precision::Int16 => pack_gru::<Int16>(&cell, hidden, blocks(inputs), &mut units),
            Precision::Int8 => pack_gru::<Bytewise>(&cell, hidden, blocks(inputs), &mut units),
        }
        Ok(Self { precision, inputs, units, next: vec![Block::ZERO; blocks(hidden)], hidden })
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

struct LinearTask<'a, F>(&'a Linear, &'a [Block], &'a mut [Block], PhantomData<F>);

impl<F: Format> Task for LinearTask<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(layer, x, out, _) = self;
        let mut room = [F::Room::default(); INPUT_BLOCKS_MAX];
        dense::<S, F>(s, &layer.panels, F::prepare(s, x, &mut room), &layer.bias, out);
    }
}

struct GruTask<'a, P>(&'a mut GruCell, &'a [Block], &'a mut [Block], PhantomData<P>);

impl<P: Plan> Task for GruTask<'_, P> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(cell, x, h, _) = self;
        let mut x_room = [<P::Fine as Format>::Room::default(); INPUT_BLOCKS_MAX];
        let mut h_room = [<P::Recurrent as Format>::Room::default(); INPUT_BLOCKS_MAX];
        let inputs = (P::Fine::prepare(s, x, &mut x_room), P::Recurrent::prepare(s, h, &mut h_room));
        let unit_len = gru_blocks::<P>(h.len(), x.len());
        for ((unit, next), old) in cell.units.chunks_exact(unit_len).zip(&mut cell.next).zip(&*h) {
            let is_done = gru_unit::<S, P>(s, unit, inputs, old, next);
            debug_assert!(is_done.is_some(), "the unit was packed for these lengths");
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
        let (x, out) = (&x.blocks, &mut out.blocks);
        match layer.precision {
            Precision::F32 => self.dispatch(LinearTask::<F32>(layer, x, out, PhantomData)),
            Precision::Int16 => self.dispatch_integers(LinearTask::<Int16>(layer, x, out, PhantomData)),
            Precision::Int8 => self.dispatch_integers(LinearTask::<Int8>(layer, x, out, PhantomData)),
        }
        Ok(())
    }

    /// One step of a GRU cell: `h` becomes the next hidden state. The cell holds the scratch.
    ///
    /// # Errors
    /// [`LengthError`] when `x` or `h` does not fit the cell.
    pub fn gru(&self, cell: &mut GruCell, x: &Activations, h: &mut Activations) -> Result<(), LengthError> {
        check("GRU input", x.len, cell.inputs)?;
        check("GRU state", h.len, cell.hidden)?;
        let (x, h) = (&x.blocks, &mut h.blocks);
        match cell.precision {
            Precision::F32 => self.dispatch(GruTask::<F32>(cell, x, h, PhantomData)),
            Precision::Int16 => self.dispatch_integers(GruTask::<Int16>(cell, x, h, PhantomData)),
            Precision::Int8 => self.dispatch_integers(GruTask::<Bytewise>(cell, x, h, PhantomData)),
        }
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

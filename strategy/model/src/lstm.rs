//! LSTM layers, split like the world model's step: half of a step's products need the last hidden state alone and are made
//! off the critical path.

use std::marker::PhantomData;

use crate::file::{ModelError, Tensors};
use crate::format::{F32, Format, Int8, Int16, Precision, pack_tiles};
use crate::heads::NonFinite;
use crate::kernel::Kernel;
use crate::layers::{Activations, CellTensors, INPUT_BLOCKS_MAX, LengthError, check, check_precision, matrix};
use crate::math::{sigmoid, tanh};
use crate::matvec::{Rows, load_all, pack_vector, store_all, tile_of_four};
use crate::simd::{Block, LANE_COUNT, Simd, Task};
use crate::size::{blocks, matrix_blocks};

/// PyTorch's LSTM cell, gates in the order i, f, g, o.
#[derive(Clone, Debug)]
pub struct LstmCell {
    precision: Precision,
    inputs: usize,
    hidden: usize,
    /// Per block of units, four gates each: biases, rows of `x`, rows of `h`.
    biases: Vec<Block>,
    x_panels: Vec<Block>,
    h_panels: Vec<Block>,
    /// Per block of units: what the gates are before the next input, `b + W·h`.
    pending: Vec<Block>,
}

impl LstmCell {
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
    ///
    /// [`INTEGER_INPUT_COUNT_MAX`]: crate::layers::INTEGER_INPUT_COUNT_MAX
    pub fn with_precision(
        tensors: CellTensors<'_>,
        inputs: usize,
        hidden: usize,
        precision: Precision,
    ) -> Result<Self, LengthError> {
        check_precision(precision, inputs.max(hidden))?;
        tensors.check(4, hidden)?;
        let ih = matrix("LSTM weight_ih", tensors.weight_ih, 4 * hidden, inputs)?;
        let hh = matrix("LSTM weight_hh", tensors.weight_hh, 4 * hidden, hidden)?;
        let biases: Vec<f32> = tensors.bias_ih.iter().zip(tensors.bias_hh).map(|(a, b)| a + b).collect();
        let mut cell = Self {
            precision,
            inputs,
            hidden,
            biases: Vec::new(),
            x_panels: Vec::new(),
            h_panels: Vec::new(),
            pending: Vec::new(),
        };
        for first in (0..hidden).step_by(LANE_COUNT) {
            for gate in biases.chunks(hidden) {
                let unit: Vec<f32> = gate.iter().skip(first).take(LANE_COUNT).copied().collect();
                pack_vector(&unit, 1, &mut cell.biases);
            }
            let (x, h) = (gate_rows(&ih, hidden, first), gate_rows(&hh, hidden, first));
            match precision {
                Precision::F32 => cell.pack::<F32>(&x, &h),
                Precision::Int16 => cell.pack::<Int16>(&x, &h),
                Precision::Int8 => cell.pack::<Int8>(&x, &h),
            }
        }
        cell.pending.clone_from(&cell.biases);
        Ok(cell)
    }

    fn pack<F: Format>(&mut self, x: &Rows<'_>, h: &Rows<'_>) {
        pack_tiles::<F>(x, blocks(self.inputs), 4, &mut self.x_panels);
        pack_tiles::<F>(h, blocks(self.hidden), 4, &mut self.h_panels);
    }

    /// `b + W·h` for the next input.
    #[inline(always)]
    fn advance<S: Simd, F: Format>(&mut self, s: S, h: &[Block]) {
        let mut room = [F::Room::default(); INPUT_BLOCKS_MAX];
        let h = F::prepare(s, h, &mut room);
        let panels = self.h_panels.chunks_exact(matrix_blocks::<F>(4, F::input_blocks(h)).max(1));
        let (biases, _) = self.biases.as_chunks::<4>();
        let (pending, _) = self.pending.as_chunks_mut::<4>();
        for ((panel, biases), pending) in panels.zip(biases).zip(pending) {
            store_all(s, tile_of_four::<S, F>(s, panel, h, load_all(s, biases)), pending);
        }
    }

    /// The next `h` and `c`, given what [`advance`](Self::advance) left.
    #[inline(always)]
    fn observe<S: Simd, F: Format>(&self, s: S, x: &[Block], h: &mut [Block], c: &mut [Block]) {
        let mut room = [F::Room::default(); INPUT_BLOCKS_MAX];
        let x = F::prepare(s, x, &mut room);
        let panels = self.x_panels.chunks_exact(matrix_blocks::<F>(4, F::input_blocks(x)).max(1));
        let (pending, _) = self.pending.as_chunks::<4>();
        for (((panel, pending), h), c) in panels.zip(pending).zip(h).zip(c) {
            let [input, forget, candidate, output] = tile_of_four::<S, F>(s, panel, x, load_all(s, pending));
            let kept = s.mul(sigmoid(s, forget), s.load(&c.0));
            let memory = s.fma(sigmoid(s, input), tanh(s, candidate), kept);
            s.store(memory, &mut c.0);
            s.store(s.mul(sigmoid(s, output), tanh(s, memory)), &mut h.0);
        }
    }
}

/// The rows of the four gates of one block of units.
fn gate_rows<'a>(rows: &Rows<'a>, hidden: usize, first: usize) -> Rows<'a> {
    let take = LANE_COUNT.min(hidden - first);
    let gate = |gate: usize| {
        let unit = rows.iter().skip(gate * hidden + first).take(take).copied();
        unit.chain(std::iter::repeat_n(None, LANE_COUNT - take))
    };
    (0..4).flat_map(gate).collect()
}

/// A cell's whole step.
struct CellStep<'a, F>(&'a mut LstmCell, &'a [Block], &'a mut [Block], &'a mut [Block], PhantomData<F>);

impl<F: Format> Task for CellStep<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(cell, x, h, c, _) = self;
        cell.advance::<S, F>(s, h);
        cell.observe::<S, F>(s, x, h, c);
    }
}

impl Kernel {
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
        check("LSTM input", x.len(), cell.inputs)?;
        check("LSTM state h", h.len(), cell.hidden)?;
        check("LSTM state c", c.len(), cell.hidden)?;
        let (x, h, c) = (&x.blocks, &mut h.blocks, &mut c.blocks);
        match cell.precision {
            Precision::F32 => self.dispatch(CellStep::<F32>(cell, x, h, c, PhantomData)),
            Precision::Int16 => self.dispatch_integers(CellStep::<Int16>(cell, x, h, c, PhantomData)),
            Precision::Int8 => self.dispatch_integers(CellStep::<Int8>(cell, x, h, c, PhantomData)),
        }
        Ok(())
    }
}

/// One layer with its state.
#[derive(Clone, Debug)]
struct Layer {
    cell: LstmCell,
    h: Activations,
    c: Activations,
}

/// The baseline of source 004: a stack of LSTM layers, a linear layer on the last hidden state, a sigmoid. The probability
/// of an up-move.
///
/// Serving is split like the world model's step: [`observe`](Self::observe) makes what needs the new input and gives the
/// output, [`advance`](Self::advance) everything for the next input that needs the states alone. The states are carried
/// from step to step; nothing is allocated after the load.
#[derive(Clone, Debug)]
pub struct LstmClassifier {
    precision: Precision,
    layers: Vec<Layer>,
    x: Activations,
    fc_weights: Vec<Block>,
    fc_bias: f32,
    is_advance_due: bool,
}

impl LstmClassifier {
    /// Takes `lstm.weight_ih_l{k}`, …, `fc.weight`, `fc.bias` by PyTorch's names, for as many layers as there are.
    ///
    /// # Errors
    /// [`ModelError`] when a tensor is missing or its length does not fit.
    pub fn new(tensors: &Tensors) -> Result<Self, ModelError> {
        Self::with_precision(tensors, Precision::F32)
    }

    /// The same with the layers' weights kept in `precision`; the last layer is always of 32-bit floats.
    ///
    /// # Errors
    /// [`ModelError`] as for [`new`](Self::new).
    pub fn with_precision(tensors: &Tensors, precision: Precision) -> Result<Self, ModelError> {
        let (mut layers, mut inputs) = (Vec::new(), tensors.columns("lstm.weight_ih_l0")?);
        let (first_inputs, hidden) = (inputs, tensors.columns("lstm.weight_hh_l0")?);
        while tensors.0.contains_key(&format!("lstm.weight_ih_l{}", layers.len())) {
            let index = layers.len();
            let get = |name: &str| tensors.data(&format!("lstm.{name}_l{index}"));
            let cell = CellTensors {
                weight_ih: get("weight_ih")?,
                weight_hh: get("weight_hh")?,
                bias_ih: get("bias_ih")?,
                bias_hh: get("bias_hh")?,
            };
            let cell = LstmCell::with_precision(cell, inputs, hidden, precision)?;
            layers.push(Layer { cell, h: Activations::zeros(hidden), c: Activations::zeros(hidden) });
            inputs = hidden;
        }
        let (weight, bias) = (tensors.data("fc.weight")?, tensors.data("fc.bias")?);
        check("fc.weight", weight.len(), hidden)?;
        check("fc.bias", bias.len(), 1)?;
        let mut fc_weights = Vec::new();
        pack_vector(weight, blocks(hidden), &mut fc_weights);
        Ok(Self {
            precision,
            layers,
            x: Activations::zeros(first_inputs),
            fc_weights,
            fc_bias: bias.first().copied().unwrap_or(0.0),
            is_advance_due: false,
        })
    }

    /// Sets the state of a layer; false when there is no such layer or a length does not fit.
    pub fn set_state(&mut self, layer: usize, h: &[f32], c: &[f32]) -> bool {
        self.is_advance_due = true;
        let layer = self.layers.get_mut(layer);
        layer.is_some_and(|layer| layer.h.set(h).and_then(|()| layer.c.set(c)).is_ok())
    }

    /// Hidden and cell state of a layer.
    #[must_use]
    pub fn state(&self, layer: usize) -> Option<(&Activations, &Activations)> {
        self.layers.get(layer).map(|layer| (&layer.h, &layer.c))
    }

    /// Sets every state to zeros, as before the first input.
    pub fn reset(&mut self) {
        for Layer { cell, h, c } in &mut self.layers {
            h.blocks.fill(Block::ZERO);
            c.blocks.fill(Block::ZERO);
            cell.pending.iter_mut().zip(&cell.biases).for_each(|(pending, bias)| *pending = *bias);
        }
        self.is_advance_due = false;
    }

    /// From a new input to the output before the sigmoid, as little as lies between them; makes up for an
    /// [`advance`](Self::advance) left out.
    ///
    /// # Errors
    /// [`NonFinite::Feature`]: an input is NaN, infinite or missing (or there are too many); nothing was done.
    /// [`NonFinite::Output`]: the network overflowed; its states are zeros again.
    pub fn observe(&mut self, kernel: &Kernel, x: &[f32]) -> Result<f32, NonFinite> {
        let count = self.x.len();
        let bad = x.iter().take(count).position(|x| !x.is_finite());
        let bad = bad.or((x.len() != count).then(|| x.len().min(count)));
        if let Some(index) = bad {
            return Err(NonFinite::Feature { index: u32::try_from(index).unwrap_or(u32::MAX) });
        }
        self.advance(kernel);
        self.x.fill(x);
        let output = self.step_prepared(kernel);
        if output.is_finite() {
            return Ok(output);
        }
        self.reset();
        Err(NonFinite::Output)
    }

    /// Makes everything for the next input that needs the states alone. Does nothing when that is done already.
    pub fn advance(&mut self, kernel: &Kernel) {
        if std::mem::take(&mut self.is_advance_due) {
            match self.precision {
                Precision::F32 => kernel.dispatch(AdvanceAll::<F32>(&mut self.layers, PhantomData)),
                Precision::Int16 => kernel.dispatch_integers(AdvanceAll::<Int16>(&mut self.layers, PhantomData)),
                Precision::Int8 => kernel.dispatch_integers(AdvanceAll::<Int8>(&mut self.layers, PhantomData)),
            }
        }
    }

    /// One time step, states included.
    ///
    /// # Errors
    /// [`LengthError`] when `x` has not the width of the first layer.
    pub fn step(&mut self, kernel: &Kernel, x: &[f32]) -> Result<(), LengthError> {
        self.x.set(x)?;
        self.advance(kernel);
        self.step_prepared(kernel);
        Ok(())
    }

    fn step_prepared(&mut self, kernel: &Kernel) -> f32 {
        self.is_advance_due = true;
        match self.precision {
            Precision::F32 => kernel.dispatch(ObserveAll::<F32>(self, PhantomData)),
            Precision::Int16 => kernel.dispatch_integers(ObserveAll::<Int16>(self, PhantomData)),
            Precision::Int8 => kernel.dispatch_integers(ObserveAll::<Int8>(self, PhantomData)),
        }
    }

    /// The probability after the steps so far, 0..1.
    ///
    /// # Errors
    /// [`LengthError`] never, for a classifier that was made by [`new`](Self::new).
    pub fn probability(&mut self, kernel: &Kernel) -> Result<f32, LengthError> {
        Ok(kernel.dispatch(Probability(self)))
    }

    /// The last layer on the last hidden state.
    #[inline(always)]
    fn output<S: Simd>(&self, s: S) -> f32 {
        let mut total = s.splat(0.0);
        if let Some(last) = self.layers.last() {
            for (h, weight) in last.h.blocks.iter().zip(&self.fc_weights) {
                total = s.fma(s.load(&h.0), s.load(&weight.0), total);
            }
        }
        s.sum(total) + self.fc_bias
    }
}

struct AdvanceAll<'a, F>(&'a mut [Layer], PhantomData<F>);

impl<F: Format> Task for AdvanceAll<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for Layer { cell, h, .. } in self.0 {
            cell.advance::<S, F>(s, &h.blocks);
        }
    }
}

struct ObserveAll<'a, F>(&'a mut LstmClassifier, PhantomData<F>);

impl<F: Format> Task for ObserveAll<'_, F> {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let mut input = &self.0.x.blocks;
        for Layer { cell, h, c } in &mut self.0.layers {
            cell.observe::<S, F>(s, input, &mut h.blocks, &mut c.blocks);
            input = &h.blocks;
        }
        self.0.output(s)
    }
}

struct Probability<'a>(&'a LstmClassifier);

impl Task for Probability<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let mut lanes = [0.0; LANE_COUNT];
        s.store(sigmoid(s, s.splat(self.0.output(s))), &mut lanes);
        let [probability, ..] = lanes;
        probability
    }
}

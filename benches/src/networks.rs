//! Networks that peers publish figures of, on this kernel: M1 of the design's performance page, LSTM_A of STAC-ML, and the
//! LSTM of source 004. Weights are seeded.

use peregrine_model::layers::{Activation, Activations, CellTensors, GruCell, LengthError, Linear, LstmClassifier};
use peregrine_model::{Kernel, ModelError, Precision, Tensor, Tensors};

/// Numbers within ±`bound`, by a multiplicative congruence (Knuth, *Seminumerical Algorithms*, 3.2.1).
#[derive(Clone, Debug)]
pub struct Numbers(u32);

impl Numbers {
    /// The same numbers for the same seed.
    #[must_use]
    pub const fn seeded(seed: u32) -> Self {
        Self(seed)
    }

    /// The next `count`.
    pub fn take(&mut self, count: usize, bound: f32) -> Vec<f32> {
        let mut next = || {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (f32::from(u16::try_from(self.0 >> 16).unwrap_or(0)) / 32_768.0 - 1.0) * bound
        };
        (0..count).map(|_| next()).collect()
    }
}

/// A dense layer's tensors, row-major.
#[derive(Clone, Debug)]
pub struct Dense {
    /// Width of the input.
    pub inputs: usize,
    /// `[outputs, inputs]`.
    pub weight: Vec<f32>,
    /// `[outputs]`.
    pub bias: Vec<f32>,
}

impl Dense {
    fn seeded(numbers: &mut Numbers, inputs: usize, outputs: usize) -> Self {
        let bound = 1.0 / f32::from(u16::try_from(inputs).unwrap_or(u16::MAX)).sqrt();
        Self { inputs, weight: numbers.take(inputs * outputs, bound), bias: numbers.take(outputs, bound) }
    }

    fn layer(&self, precision: Precision) -> Result<Linear, LengthError> {
        Linear::with_precision(&self.weight, &self.bias, self.inputs, precision)
    }
}

/// Width of M1's input.
pub const M1_INPUTS: usize = 32;
/// Width of its encoding.
pub const M1_ENCODING: usize = 64;
/// Width of its state.
pub const M1_HIDDEN: usize = 128;
/// Width of the two heads on the state.
pub const M1_LATENT: usize = 32;
/// Width of the hidden layer of the last head.
pub const M1_HEAD: usize = 64;
/// Width of the output.
pub const M1_OUTPUTS: usize = 8;

/// M1's weights: dense 32→64 with SiLU, GRU 64→128, two heads 128→32, and a head 160→64→8 with SiLU on state and second
/// head. 94,720 weights without biases.
#[derive(Clone, Debug)]
pub struct M1Tensors {
    /// 32→64.
    pub encoder: Dense,
    /// `[384, 64]`, gates r, z, n.
    pub weight_ih: Vec<f32>,
    /// `[384, 128]`.
    pub weight_hh: Vec<f32>,
    /// `[384]`.
    pub bias_ih: Vec<f32>,
    /// `[384]`.
    pub bias_hh: Vec<f32>,
    /// 128→32, twice.
    pub heads: [Dense; 2],
    /// 160→64.
    pub head_0: Dense,
    /// 64→8.
    pub head_2: Dense,
}

impl M1Tensors {
    /// Seeded weights.
    #[must_use]
    pub fn seeded() -> Self {
        let mut numbers = Numbers::seeded(12_345);
        let (gates, bound) = (3 * M1_HIDDEN, 0.088);
        Self {
            encoder: Dense::seeded(&mut numbers, M1_INPUTS, M1_ENCODING),
            weight_ih: numbers.take(gates * M1_ENCODING, bound),
            weight_hh: numbers.take(gates * M1_HIDDEN, bound),
            bias_ih: numbers.take(gates, bound),
            bias_hh: numbers.take(gates, bound),
            heads: [0, 1].map(|_| Dense::seeded(&mut numbers, M1_HIDDEN, M1_LATENT)),
            head_0: Dense::seeded(&mut numbers, M1_HIDDEN + M1_LATENT, M1_HEAD),
            head_2: Dense::seeded(&mut numbers, M1_HEAD, M1_OUTPUTS),
        }
    }
}

/// M1 on the kernel's layers.
#[derive(Clone, Debug)]
pub struct M1 {
    kernel: Kernel,
    encoder: Linear,
    gru: GruCell,
    heads: [Linear; 2],
    head_0: Linear,
    head_2: Linear,
    x: Activations,
    e: Activations,
    h: Activations,
    latent: [Activations; 2],
    joined: Activations,
    hidden: Activations,
    output: Activations,
}

impl M1 {
    /// Packs the weights in a precision.
    ///
    /// # Errors
    /// [`LengthError`] never: the widths are the constants above.
    pub fn new(tensors: &M1Tensors, kernel: Kernel, precision: Precision) -> Result<Self, LengthError> {
        let cell = CellTensors {
            weight_ih: &tensors.weight_ih,
            weight_hh: &tensors.weight_hh,
            bias_ih: &tensors.bias_ih,
            bias_hh: &tensors.bias_hh,
        };
        let [first, second] = &tensors.heads;
        let zeros = Activations::zeros;
        Ok(Self {
            kernel,
            encoder: tensors.encoder.layer(precision)?,
            gru: GruCell::with_precision(cell, M1_ENCODING, M1_HIDDEN, precision)?,
            heads: [first.layer(precision)?, second.layer(precision)?],
            head_0: tensors.head_0.layer(precision)?,
            head_2: tensors.head_2.layer(precision)?,
            x: zeros(M1_INPUTS),
            e: zeros(M1_ENCODING),
            h: zeros(M1_HIDDEN),
            latent: [zeros(M1_LATENT), zeros(M1_LATENT)],
            joined: zeros(M1_HIDDEN + M1_LATENT),
            hidden: zeros(M1_HEAD),
            output: zeros(M1_OUTPUTS),
        })
    }

    /// The whole step: everything anew from the input and the state.
    ///
    /// # Errors
    /// [`LengthError`] when `x` is not [`M1_INPUTS`] wide.
    #[inline]
    pub fn step(&mut self, x: &[f32]) -> Result<(), LengthError> {
        let Self { kernel, encoder, gru, heads, head_0, head_2, x: input, e, h, latent, joined, hidden, output } = self;
        input.set(x)?;
        kernel.linear(encoder, input, e)?;
        kernel.activate(Activation::Silu, e);
        kernel.gru(gru, e, h)?;
        for (head, latent) in heads.iter().zip(&mut *latent) {
            kernel.linear(head, h, latent)?;
        }
        let [_, second] = latent;
        joined.join(h, second)?;
        kernel.linear(head_0, joined, hidden)?;
        kernel.activate(Activation::Silu, hidden);
        kernel.linear(head_2, hidden, output)
    }

    /// The outputs of the last step.
    pub fn output(&self) -> impl Iterator<Item = f32> + '_ {
        self.output.iter()
    }
}

/// A stack of LSTM layers with a dense output, by PyTorch's names.
#[must_use]
pub fn lstm_tensors(inputs: usize, hidden: usize, layer_count: usize) -> Tensors {
    let mut numbers = Numbers::seeded(54_321);
    let bound = 1.0 / f32::from(u16::try_from(hidden).unwrap_or(u16::MAX)).sqrt();
    let mut tensors = Tensors::default();
    let mut add = |name: String, shape: Vec<usize>| {
        let data = numbers.take(shape.iter().product(), bound);
        tensors.0.insert(name, Tensor { shape, data });
    };
    for layer in 0..layer_count {
        let width = if layer == 0 { inputs } else { hidden };
        add(format!("lstm.weight_ih_l{layer}"), vec![4 * hidden, width]);
        add(format!("lstm.weight_hh_l{layer}"), vec![4 * hidden, hidden]);
        add(format!("lstm.bias_ih_l{layer}"), vec![4 * hidden]);
        add(format!("lstm.bias_hh_l{layer}"), vec![4 * hidden]);
    }
    add("fc.weight".to_owned(), vec![1, hidden]);
    add("fc.bias".to_owned(), vec![1]);
    tensors
}

/// Features and units of LSTM_A of STAC-ML: two layers of 100 units on 100 features, dense 1; 160,901 parameters in
/// PyTorch's counting with one bias per gate.
pub const LSTM_A: (usize, usize) = (100, 100);
/// Steps of its window.
pub const LSTM_A_WINDOW: usize = 50;
/// Features and units of the LSTM of source 004, two layers.
pub const LSTM_004: (usize, usize) = (8, 64);

/// A two-layer LSTM of these widths.
///
/// # Errors
/// [`ModelError`] never, for widths up to 1,024.
pub fn lstm((inputs, hidden): (usize, usize), precision: Precision) -> Result<LstmClassifier, ModelError> {
    LstmClassifier::with_precision(&lstm_tensors(inputs, hidden, 2), precision)
}

//! M1 on the matrix products of C libraries: OpenBLAS (`cblas_sgemv`), oneDNN (`dnnl_sgemm`), libxsmm (code made for each
//! shape at start). A library is loaded from the path that its variable names; without one it is left out. Activations are
//! our kernel's on every side, so that only the products differ, and all memory is taken in advance.

use libloading::Library;
use peregrine_benches::networks::{
    Dense, M1_ENCODING, M1_HEAD, M1_HIDDEN, M1_INPUTS, M1_LATENT, M1_OUTPUTS, M1Tensors,
};
use peregrine_model::layers::{Activation, Activations};
use peregrine_model::{Backend, Kernel};

use super::{Failure, Network, transposed};

type Sgemv = unsafe extern "C" fn(i32, i32, i32, i32, f32, *const f32, i32, *const f32, i32, f32, *mut f32, i32);
type Sgemm =
    unsafe extern "C" fn(i8, i8, i64, i64, i64, f32, *const f32, i64, *const f32, i64, f32, *mut f32, i64) -> i32;
type Made = unsafe extern "C" fn(*const f32, *const f32, *mut f32, ...);
type Dispatch = unsafe extern "C" fn(
    i32,
    i32,
    i32,
    *const i32,
    *const i32,
    *const i32,
    *const f32,
    *const f32,
    *const i32,
    *const i32,
) -> Option<Made>;

enum Product {
    OpenBlas(Sgemv),
    OneDnn(Sgemm),
    Xsmm(Made),
}

/// `y = W·x + b`.
struct Layer {
    product: Product,
    /// Row-major `[outputs, inputs]`; for libxsmm column by column.
    weight: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
}

impl Layer {
    fn apply(&self, x: &[f32], y: &mut [f32]) {
        assert!(x.len() == self.inputs && y.len() == self.bias.len());
        y.copy_from_slice(&self.bias);
        let (outputs, inputs) = (y.len(), self.inputs);
        // SAFETY: the signatures are those of the libraries' headers, and the lengths are asserted above.
        unsafe {
            match self.product {
                Product::OpenBlas(sgemv) => {
                    let (rows, columns) = (outputs as i32, inputs as i32);
                    let (weight, x, y) = (self.weight.as_ptr(), x.as_ptr(), y.as_mut_ptr());
                    // Row-major, not transposed.
                    sgemv(101, 111, rows, columns, 1.0, weight, columns, x, 1, 1.0, y, 1);
                }
                Product::OneDnn(sgemm) => {
                    let (rows, columns) = (outputs as i64, inputs as i64);
                    let (n, weight) = (b'N' as i8, self.weight.as_ptr());
                    let status =
                        sgemm(n, n, rows, 1, columns, 1.0, weight, columns, x.as_ptr(), 1, 1.0, y.as_mut_ptr(), 1);
                    assert_eq!(status, 0);
                }
                Product::Xsmm(made) => made(self.weight.as_ptr(), x.as_ptr(), y.as_mut_ptr()),
            }
        }
    }
}

/// Which library, and the variable with its path.
#[derive(Clone, Copy)]
pub enum Kind {
    OpenBlas,
    OneDnn,
    Xsmm,
}

impl Kind {
    const fn variable(self) -> &'static str {
        match self {
            Self::OpenBlas => "OPENBLAS_PATH",
            Self::OneDnn => "ONEDNN_PATH",
            Self::Xsmm => "XSMM_PATH",
        }
    }

    fn layer(self, library: &Library, weight: &[f32], bias: &[f32], inputs: usize) -> Result<Layer, Failure> {
        let (rows, columns) = (bias.len() as i32, inputs as i32);
        // SAFETY: the signatures are those of the libraries' headers; the library outlives the network, which holds it.
        let product = unsafe {
            match self {
                Self::OpenBlas => Product::OpenBlas(*library.get::<Sgemv>(b"cblas_sgemv")?),
                Self::OneDnn => Product::OneDnn(*library.get::<Sgemm>(b"dnnl_sgemm")?),
                Self::Xsmm => {
                    let dispatch = *library.get::<Dispatch>(b"libxsmm_smmdispatch")?;
                    let none = std::ptr::null();
                    let made =
                        dispatch(rows, 1, columns, none, none, none.cast(), none.cast(), none.cast(), none, none);
                    Product::Xsmm(made.ok_or("libxsmm makes no code for a shape")?)
                }
            }
        };
        let weight = if matches!(self, Self::Xsmm) { transposed(weight, inputs) } else { weight.to_vec() };
        Ok(Layer { product, weight, bias: bias.to_vec(), inputs })
    }
}

pub struct LibraryNet {
    kernel: Kernel,
    encoder: Layer,
    input: Layer,
    hidden: Layer,
    heads: [Layer; 2],
    head_0: Layer,
    head_2: Layer,
    e: Activated,
    from_x: [f32; 3 * M1_HIDDEN],
    from_h: [f32; 3 * M1_HIDDEN],
    gates: Activated,
    n: Activated,
    latent: [[f32; M1_LATENT]; 2],
    joined: [f32; M1_HIDDEN + M1_LATENT],
    head: Activated,
    _library: Library,
}

/// Values with the aligned copy that our activations work on.
struct Activated {
    values: Vec<f32>,
    blocks: Activations,
}

impl Activated {
    fn zeros(len: usize) -> Self {
        Self { values: vec![0.0; len], blocks: Activations::zeros(len) }
    }

    fn activate(&mut self, kernel: &Kernel, activation: Activation) -> Result<(), Failure> {
        self.blocks.set(&self.values)?;
        kernel.activate(activation, &mut self.blocks);
        self.values.iter_mut().zip(self.blocks.iter()).for_each(|(value, activated)| *value = activated);
        Ok(())
    }
}

impl LibraryNet {
    /// `None` where the library is not named.
    pub fn new(kind: Kind, tensors: &M1Tensors) -> Result<Option<Self>, Failure> {
        let Some(path) = std::env::var_os(kind.variable()) else { return Ok(None) };
        // SAFETY: these libraries do nothing at loading but set themselves up.
        let library = unsafe { Library::new(path)? };
        let dense = |layer: &Dense| kind.layer(&library, &layer.weight, &layer.bias, layer.inputs);
        Ok(Some(Self {
            kernel: Kernel::new(Backend::best()).ok_or("the best backend is there")?,
            encoder: dense(&tensors.encoder)?,
            input: kind.layer(&library, &tensors.weight_ih, &tensors.bias_ih, M1_ENCODING)?,
            hidden: kind.layer(&library, &tensors.weight_hh, &tensors.bias_hh, M1_HIDDEN)?,
            heads: [dense(&tensors.heads[0])?, dense(&tensors.heads[1])?],
            head_0: dense(&tensors.head_0)?,
            head_2: dense(&tensors.head_2)?,
            e: Activated::zeros(M1_ENCODING),
            from_x: [0.0; 3 * M1_HIDDEN],
            from_h: [0.0; 3 * M1_HIDDEN],
            gates: Activated::zeros(2 * M1_HIDDEN),
            n: Activated::zeros(M1_HIDDEN),
            latent: [[0.0; M1_LATENT]; 2],
            joined: [0.0; M1_HIDDEN + M1_LATENT],
            head: Activated::zeros(M1_HEAD),
            _library: library,
        }))
    }
}

impl Network for LibraryNet {
    fn step(&mut self, x: &[f32]) -> Result<Vec<f32>, Failure> {
        assert_eq!(x.len(), M1_INPUTS);
        let Self { kernel, e, from_x, from_h, gates, n, latent, joined, head, .. } = self;
        self.encoder.apply(x, &mut e.values);
        e.activate(kernel, Activation::Silu)?;
        let (h, second) = joined.split_at_mut(M1_HIDDEN);
        self.input.apply(&e.values, from_x);
        self.hidden.apply(h, from_h);
        gates.values.iter_mut().zip(from_x.iter().zip(&*from_h)).for_each(|(gate, (x, h))| *gate = x + h);
        gates.activate(kernel, Activation::Sigmoid)?;
        let (r, z) = gates.values.split_at(M1_HIDDEN);
        let from = from_x[2 * M1_HIDDEN..].iter().zip(&from_h[2 * M1_HIDDEN..]);
        n.values.iter_mut().zip(r.iter().zip(from)).for_each(|(n, (r, (x, h)))| *n = x + r * h);
        n.activate(kernel, Activation::Tanh)?;
        h.iter_mut().zip(n.values.iter().zip(z)).for_each(|(h, (n, z))| *h = n + z * (*h - n));
        for (layer, latent) in self.heads.iter().zip(&mut *latent) {
            layer.apply(h, latent);
        }
        std::hint::black_box(&latent[0]);
        second.copy_from_slice(&latent[1]);
        self.head_0.apply(joined, &mut head.values);
        head.activate(kernel, Activation::Silu)?;
        let mut out = vec![0.0; M1_OUTPUTS];
        self.head_2.apply(&head.values, &mut out);
        Ok(out)
    }

    fn reset(&mut self) {
        self.joined.fill(0.0);
    }
}

//! burn's side: layers as PyTorch defines them, and the leaves of a graph by name.
//!
//! All tensors are matrices [rows, width]; a bias is [1, width]. A [`Leaves`] made with tracking records gradients.

use std::collections::BTreeMap;

use burn::tensor::{Device, Gradients, Tensor, TensorData, activation};

use crate::params::{Array, Params};
use crate::real::Real;

/// A matrix of burn.
pub(crate) type Matrix = Tensor<2>;

/// The CPU backend: `flex`, pure Rust on one thread.
pub(crate) fn device(tracked: bool) -> Device {
    if tracked { Device::flex().autodiff() } else { Device::flex() }
}

/// A matrix on a device.
pub(crate) fn matrix<T: Real>(data: Vec<T>, rows: usize, device: &Device) -> Matrix {
    let columns = data.len() / rows.max(1);
    Matrix::from_data(TensorData::new(data, [rows, columns]), (device, T::DTYPE))
}

/// The elements of a matrix, row-major.
pub(crate) fn elements<T: Real>(matrix: Matrix) -> Vec<T> {
    // The type is the one that the matrix was made with.
    matrix.into_data().try_into_vec::<T>().unwrap_or_default()
}

/// Named leaves of a graph.
pub(crate) struct Leaves {
    pub(crate) device: Device,
    tracked: bool,
    leaves: BTreeMap<String, (Matrix, Vec<usize>)>,
}

impl Leaves {
    pub(crate) fn new(tracked: bool) -> Self {
        Self { device: device(tracked), tracked, leaves: BTreeMap::new() }
    }

    /// Leaves for every array whose name `is_wanted`.
    pub(crate) fn of<T: Real>(params: &Params<T>, tracked: bool, is_wanted: impl Fn(&str) -> bool) -> Self {
        let mut leaves = Self::new(tracked);
        for (name, array) in params.0.iter().filter(|(name, _)| is_wanted(name)) {
            leaves.insert(name, array);
        }
        leaves
    }

    /// Adds a leaf and gives it.
    pub(crate) fn insert<T: Real>(&mut self, name: &str, array: &Array<T>) -> Matrix {
        let rows = if array.shape.len() == 2 { array.shape[0] } else { 1 };
        let leaf = matrix(array.data.clone(), rows, &self.device).set_require_grad(self.tracked);
        self.leaves.insert(name.to_owned(), (leaf.clone(), array.shape.clone()));
        leaf
    }

    /// The leaf of this name; a name that was never inserted is a fault of this crate and gives an empty matrix.
    pub(crate) fn get(&self, name: &str) -> Matrix {
        debug_assert!(self.leaves.contains_key(name), "no leaf is called {name}");
        self.leaves.get(name).map_or_else(|| Matrix::zeros([1, 1], &self.device), |(leaf, _)| leaf.clone())
    }

    /// `x·Wᵀ + b` with `NAME.weight` and `NAME.bias`.
    pub(crate) fn linear(&self, name: &str, x: Matrix) -> Matrix {
        x.matmul(self.get(&format!("{name}.weight")).transpose()) + self.get(&format!("{name}.bias"))
    }

    /// The gradients of all leaves that have one, by name.
    pub(crate) fn gradients<T: Real>(&self, mut gradients: Gradients) -> Params<T> {
        let mut to = Params::default();
        for (name, (leaf, shape)) in &self.leaves {
            if let Some(gradient) = leaf.grad_remove(&mut gradients) {
                to.insert(name, shape.clone(), elements(gradient));
            }
        }
        to
    }
}

/// `x·sigmoid(x)`.
pub(crate) fn silu(x: Matrix) -> Matrix {
    activation::silu(x)
}

/// Columns `start..start + count`.
pub(crate) fn columns(x: Matrix, start: usize, count: usize) -> Matrix {
    x.narrow(1, start, count)
}

/// `(x − mean)/√(variance + ε)·γ + β` over each row, population variance.
#[cfg_attr(not(test), expect(dead_code, reason = "a layer of the oracles that no model of ours has"))]
pub(crate) fn layer_norm(x: Matrix, gamma: Matrix, beta: Matrix, epsilon: f64) -> Matrix {
    let distance = x.clone() - x.mean_dim(1);
    let variance = distance.clone().square().mean_dim(1);
    distance / (variance + epsilon).sqrt() * gamma + beta
}

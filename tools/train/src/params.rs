//! Named weights and their gradients, in one fixed order, and the optimiser over all of them.

use std::collections::BTreeMap;

use peregrine_model::{Tensor, Tensors};

use crate::real::Real;

/// One array, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Array<T> {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<T>,
}

impl<T: Real> Array<T> {
    pub(crate) fn new(shape: Vec<usize>, data: Vec<T>) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        Self { shape, data }
    }

    /// Length of the last axis.
    pub(crate) fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Columns `start..start + count` of every row.
    pub(crate) fn column_range(&self, start: usize, count: usize) -> Vec<T> {
        let rows = self.data.chunks_exact(self.columns().max(1));
        rows.flat_map(|row| row[start..start + count].iter().copied()).collect()
    }
}

/// Arrays by name. A `BTreeMap`, so that every sum over all of them runs in the same order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Params<T>(pub(crate) BTreeMap<String, Array<T>>);

impl<T: Real> Params<T> {
    pub(crate) fn insert(&mut self, name: &str, shape: Vec<usize>, data: Vec<T>) {
        self.0.insert(name.to_owned(), Array::new(shape, data));
    }

    /// The array's elements, empty when there is none of this name.
    pub(crate) fn data(&self, name: &str) -> &[T] {
        self.0.get(name).map_or(&[], |array| &array.data)
    }

    /// Zeros of the same names and shapes.
    pub(crate) fn zeros_like(&self) -> Self {
        let zero = |array: &Array<T>| Array::new(array.shape.clone(), vec![T::ZERO; array.data.len()]);
        Self(self.0.iter().map(|(name, array)| (name.clone(), zero(array))).collect())
    }

    /// Adds `data` to the array of this name, or makes it.
    pub(crate) fn accumulate(&mut self, name: &str, shape: &[usize], data: &[T]) {
        match self.0.get_mut(name) {
            None => self.insert(name, shape.to_vec(), data.to_vec()),
            Some(array) => array.data.iter_mut().zip(data).for_each(|(to, from)| *to += *from),
        }
    }

    /// Every element, array after array in the order of their names.
    pub(crate) fn elements(&self) -> impl Iterator<Item = &T> {
        self.0.values().flat_map(|array| &array.data)
    }

    /// Name and index of the first element that is NaN or infinite.
    pub(crate) fn first_fault(&self) -> Option<(&str, usize)> {
        let fault = |array: &Array<T>| array.data.iter().position(|x| !x.is_number());
        self.0.iter().find_map(|(name, array)| fault(array).map(|index| (name.as_str(), index)))
    }
}

impl Params<f32> {
    pub(crate) fn from_tensors(tensors: &Tensors) -> Self {
        let array = |tensor: &Tensor| Array::new(tensor.shape.clone(), tensor.data.clone());
        Self(tensors.0.iter().map(|(name, tensor)| (name.clone(), array(tensor))).collect())
    }

    pub(crate) fn to_tensors(&self) -> Tensors {
        let tensor = |array: &Array<f32>| Tensor { shape: array.shape.clone(), data: array.data.clone() };
        Tensors(self.0.iter().map(|(name, array)| (name.clone(), tensor(array))).collect())
    }
}

/// Scales all gradients together so that their common Euclidean norm is at most `max_norm`; gives the norm before.
/// The coefficient is PyTorch's `clip_grad_norm_`: `min(1, max_norm/(norm + 1e-6))`, applied even when it is 1.
pub(crate) fn clip_norm<T: Real>(gradients: &mut Params<T>, max_norm: f64) -> f64 {
    let norm = gradients.elements().map(|x| x.wide() * x.wide()).sum::<f64>().sqrt();
    let coefficient = T::of((max_norm / (norm + 1e-6)).min(1.0));
    for array in gradients.0.values_mut() {
        array.data.iter_mut().for_each(|x| *x = *x * coefficient);
    }
    norm
}

/// AdamW (Loshchilov & Hutter 2019) as PyTorch computes it: β₁ 0.9, β₂ 0.999, ε 1e-8, decay on every parameter.
///
/// burn's own optimiser keeps its moments per parameter behind generated identifiers; one over named arrays gives the
/// clipping by the norm of all gradients, the checkpoint and the fixed order for nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AdamW<T> {
    pub(crate) steps: u64,
    pub(crate) first: Params<T>,
    pub(crate) second: Params<T>,
}

const BETA: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

impl<T: Real> AdamW<T> {
    pub(crate) fn new(params: &Params<T>) -> Self {
        Self { steps: 0, first: params.zeros_like(), second: params.zeros_like() }
    }

    /// One step over the parameters that have a gradient.
    pub(crate) fn step(&mut self, params: &mut Params<T>, gradients: &Params<T>, rate: f64, decay: f64) {
        self.steps += 1;
        let power = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let step_size = T::of(rate / (1.0 - BETA.0.powi(power)));
        let root_scale = T::of((1.0 - BETA.1.powi(power)).sqrt());
        let (b1, b2, keep) = (T::of(BETA.0), T::of(BETA.1), T::of(1.0 - rate * decay));
        let (c1, c2) = (T::of(1.0 - BETA.0), T::of(1.0 - BETA.1));
        for (name, array) in &mut params.0 {
            let moments = self.first.0.get_mut(name).zip(self.second.0.get_mut(name));
            let (Some(gradient), Some((first, second))) = (gradients.0.get(name), moments) else { continue };
            let all = array.data.iter_mut().zip(&gradient.data).zip(first.data.iter_mut().zip(&mut second.data));
            for ((p, g), (m, v)) in all {
                *m = b1 * *m + c1 * *g;
                *v = b2 * *v + c2 * *g * *g;
                *p = *p * keep - step_size * *m / (v.root() / root_scale + T::of(EPSILON));
            }
        }
    }
}

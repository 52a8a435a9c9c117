//! What every rival needs of the weights: transposed, so that a row vector is multiplied from the left.

use crate::networks::Dense;

/// `[rows, columns]` row-major to `[columns, rows]`.
pub fn transposed(weight: &[f32], columns: usize) -> Vec<f32> {
    let rows = weight.len() / columns;
    (0..columns).flat_map(|column| (0..rows).map(move |row| weight[row * columns + column])).collect()
}

/// A dense layer: transposed weights, bias, inputs, outputs.
pub fn dense(layer: &Dense) -> (Vec<f32>, Vec<f32>, usize, usize) {
    (transposed(&layer.weight, layer.inputs), layer.bias.clone(), layer.inputs, layer.bias.len())
}

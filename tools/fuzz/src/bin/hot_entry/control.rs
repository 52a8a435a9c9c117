//! Negative controls: each of these must be caught, else the walk proves nothing.

#[inline(never)]
#[expect(clippy::indexing_slicing, reason = "this is the sin that must be found")]
pub(crate) fn indexes(bytes: &[u8], index: usize) -> u8 {
    bytes[index]
}

#[inline(never)]
pub(crate) fn allocates(len: usize) -> Vec<u8> {
    vec![1; len]
}

/// The sin is two calls away.
#[inline(never)]
pub(crate) fn calls_deeply(bytes: &[u8], index: usize) -> u8 {
    middle(bytes, index).wrapping_add(middle(bytes, index / 2))
}

#[inline(never)]
fn middle(bytes: &[u8], index: usize) -> u8 {
    indexes(bytes, index ^ 1).wrapping_mul(3)
}

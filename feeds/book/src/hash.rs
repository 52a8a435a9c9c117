//! The canonical hash: a sum over orders and symbols, so that neither memory layout nor iteration order can show.

use peregrine_types::OrderRef;

use crate::RestingOrder;

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection of 64 bits in which every bit depends on every one.
#[inline]
pub(crate) const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Hashes `words` in their order, apart from other records by `tag`.
pub(crate) fn hash_words(tag: u64, words: &[u64]) -> u64 {
    words.iter().fold(mix(tag.wrapping_add(0x9e37_79b9_7f4a_7c15)), |hash, word| {
        mix(hash.rotate_left(23) ^ mix(word.wrapping_add(0x9e37_79b9_7f4a_7c15)))
    })
}

/// The share of one live order in the state hash.
pub(crate) fn hash_order(order_ref: OrderRef, order: &RestingOrder) -> u64 {
    let side = u64::from(order.side as u8);
    let price = order.price.0.cast_unsigned();
    hash_words(1, &[order_ref.0, u64::from(order.symbol.0), side, price, order.qty.0, order.priority.0])
}

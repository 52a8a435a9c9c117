//! `advance` of four instruments at a time: each tile of weights is fetched once for all of them. The sums of one
//! instrument are added up in the same order as alone, so that the results are the same bits.
#![deny(clippy::arithmetic_side_effects)]

use std::marker::PhantomData;

use crate::format::{F32, Format, Plan};
use crate::latent::Parts;
use crate::matvec::{load_all, store_all};
use crate::simd::{Block, Simd, Task};
use crate::size::{HB_MAX, Shape, ZB_MAX, advance_blocks, gru_blocks, matrix_blocks};
use crate::step::{gru_gates, keep_products, rolled};

/// Instruments that share a tile.
pub(crate) const TOGETHER: usize = 4;

/// Weights of fewer blocks than this, 64 KiB, stay in the first cache or near it: there sharing was 1.1 to 1.4 times slower.
pub(crate) const TOGETHER_BLOCKS_MIN: usize = 1_024;

/// Outputs of the products with `h`, in blocks.
const PRODUCT_BLOCKS_MAX: usize = 4 * ZB_MAX;

/// [`Advance`](crate::step::Advance) of several instruments; `None`, and nothing done, where registers are too few for
/// the sums of four.
pub(crate) struct AdvanceMany<'a, D, P> {
    pub(crate) weights: &'a [Block],
    pub(crate) latents: [&'a mut [Block]; TOGETHER],
    pub(crate) shape: PhantomData<(D, P)>,
}

impl<D: Shape, P: Plan> Task for AdvanceMany<'_, D, P> {
    type Output = Option<()>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        if S::IS_NARROW || self.weights.len() != const { advance_blocks::<P>(D::HB, D::ZB) } {
            return None;
        }
        let [a, b, c, d] = self.latents;
        let mut latents = [Parts::split::<D>(a)?, Parts::split::<D>(b)?, Parts::split::<D>(c)?, Parts::split::<D>(d)?];
        let (gru, products) = self.weights.split_at_checked(const { D::HB * gru_blocks::<P>(D::HB, D::ZB) })?;
        gru_step::<S, D, P>(s, gru, &mut latents)?;
        derive::<S, D, P::Fine>(s, products, &mut latents)
    }
}

#[inline(always)]
fn gru_step<S: Simd, D: Shape, P: Plan>(s: S, weights: &[Block], latents: &mut [Parts<'_>; TOGETHER]) -> Option<()> {
    let mut next = [[Block::ZERO; HB_MAX]; TOGETHER];
    let mut z_room = [[<P::Fine as Format>::Room::default(); ZB_MAX]; TOGETHER];
    let mut h_room = [[<P::Recurrent as Format>::Room::default(); HB_MAX]; TOGETHER];
    let [l0, l1, l2, l3] = &*latents;
    let ([z0, z1, z2, z3], [h0, h1, h2, h3]) = (&mut z_room, &mut h_room);
    let z = [
        P::Fine::prepare(s, l0.z, z0),
        P::Fine::prepare(s, l1.z, z1),
        P::Fine::prepare(s, l2.z, z2),
        P::Fine::prepare(s, l3.z, z3),
    ];
    let len = rolled(D::HB);
    let h = [
        P::Recurrent::prepare(s, l0.h.get(..len)?, h0),
        P::Recurrent::prepare(s, l1.h.get(..len)?, h1),
        P::Recurrent::prepare(s, l2.h.get(..len)?, h2),
        P::Recurrent::prepare(s, l3.h.get(..len)?, h3),
    ];
    let units = weights.chunks_exact(rolled(const { gru_blocks::<P>(D::HB, D::ZB) }).max(1));
    for (index, unit) in units.enumerate() {
        let gates = gru_unit::<S, P>(s, unit, z, h)?;
        for ((gates, latent), next) in gates.into_iter().zip(&*latents).zip(&mut next) {
            gru_gates(s, gates, latent.h.get(index)?, next.get_mut(index)?);
        }
    }
    for (latent, next) in latents.iter_mut().zip(&next) {
        // As long as each other; `copy_from_slice` would carry a panic all the same.
        latent.h.iter_mut().zip(next).for_each(|(to, from)| *to = *from);
    }
    Some(())
}

/// The sums of r, z, n's input and n's hidden term of one block, of each instrument.
#[inline(always)]
fn gru_unit<'a, S: Simd, P: Plan>(
    s: S,
    unit: &[Block],
    z: [<P::Fine as Format>::Input<'a>; TOGETHER],
    h: [<P::Recurrent as Format>::Input<'a>; TOGETHER],
) -> Option<[[S::V; 4]; TOGETHER]> {
    let (biases, rows) = unit.split_first_chunk::<4>()?;
    let [reset, update, input, hidden] = load_all(s, biases);
    let z_blocks = z.first().map_or(0, |z| P::Fine::input_blocks(*z));
    let (z_rows, h_rows) = rows.split_at_checked(matrix_blocks::<P::Fine>(3, z_blocks))?;
    let from_z = P::Fine::tile_shared::<S, 3, 3, 2, TOGETHER>(s, z_rows, 0, z, [[reset, update, input]; TOGETHER]);
    let init = from_z.map(|[reset, update, _]| [reset, update, hidden]);
    let from_h = P::Recurrent::tile_shared::<S, 3, 3, 2, TOGETHER>(s, h_rows, 0, h, init);
    let mut sums = [[hidden; 4]; TOGETHER];
    for ((sums, [_, _, input]), [reset, update, hidden]) in sums.iter_mut().zip(from_z).zip(from_h) {
        *sums = [reset, update, input, hidden];
    }
    Some(sums)
}

#[inline(always)]
fn derive<S: Simd, D: Shape, F: Format>(s: S, weights: &[Block], latents: &mut [Parts<'_>; TOGETHER]) -> Option<()> {
    let (biases, rest) = weights.split_at_checked(const { 4 * D::ZB })?;
    let (panels, rest) = rest.split_at_checked(const { matrix_blocks::<F>(4 * D::ZB, D::HB) })?;
    let (head_biases, head_panel) = rest.split_first_chunk::<2>()?;
    let mut room = [[F::Room::default(); HB_MAX]; TOGETHER];
    let mut products = [[Block::ZERO; PRODUCT_BLOCKS_MAX]; TOGETHER];
    let [l0, l1, l2, l3] = &*latents;
    let [b0, b1, b2, b3] = &mut room;
    let len = rolled(D::HB);
    let [h0, h1, h2, h3] = [l0.h.get(..len)?, l1.h.get(..len)?, l2.h.get(..len)?, l3.h.get(..len)?];
    let h = [F::prepare(s, h0, b0), F::prepare(s, h1, b1), F::prepare(s, h2, b2), F::prepare(s, h3, b3)];
    dense::<S, F>(s, panels, h, biases, &mut products);
    let init = [load_all(s, head_biases); 2];
    let [heads_0, heads_1] = F32::tile_shared::<S, 2, 2, 4, 2>(s, head_panel, 0, [h0, h1], init);
    let [heads_2, heads_3] = F32::tile_shared::<S, 2, 2, 4, 2>(s, head_panel, 0, [h2, h3], init);
    let heads = [heads_0, heads_1, heads_2, heads_3];
    for ((latent, products), heads) in latents.iter_mut().zip(&products).zip(heads) {
        keep_products::<S, D>(s, products.get(..const { 4 * D::ZB })?, latent)?;
        store_all(s, heads, latent.heads_h);
    }
    Some(())
}

/// `out = init + W·x` of each instrument, for tiles of four blocks, worked in halves.
#[inline(always)]
fn dense<S: Simd, F: Format>(
    s: S,
    panels: &[Block],
    x: [F::Input<'_>; TOGETHER],
    init: &[Block],
    out: &mut [[Block; PRODUCT_BLOCKS_MAX]; TOGETHER],
) {
    let input_blocks = x.first().map_or(0, |x| F::input_blocks(*x));
    let (init, _) = init.as_chunks::<4>();
    for (index, (panel, init)) in panels.chunks_exact(matrix_blocks::<F>(4, input_blocks).max(1)).zip(init).enumerate()
    {
        let [i0, i1, i2, i3] = load_all(s, init);
        let low = F::tile_shared::<S, 4, 2, 2, TOGETHER>(s, panel, 0, x, [[i0, i1]; TOGETHER]);
        let high = F::tile_shared::<S, 4, 2, 2, TOGETHER>(s, panel, 2, x, [[i2, i3]; TOGETHER]);
        for ((out, [o0, o1]), [o2, o3]) in out.iter_mut().zip(low).zip(high) {
            let (tiles, _) = out.as_chunks_mut::<4>();
            if let Some(tile) = tiles.get_mut(index) {
                store_all(s, [o0, o1, o2, o3], tile);
            }
        }
    }
}

//! The price levels of every symbol: near the touch one cell per price step, elsewhere sorted arrays.
//!
//! A side in use has one [`Window`]: 512 cells for 512 neighbouring prices, a cent apart, and one bit per cell that says
//! whether orders stand there. A level in the window is found by arithmetic (one cache line), comes and goes by one bit,
//! and the next best level is the next bit: nothing is searched and nothing moves. Levels outside of the window, or
//! between its price steps, are in the sorted arrays of the [`LevelPool`]; a price that the window covers is never there.
//!
//! The window follows the touch ([`Ladders::reanchor`]): three quarters of it lie behind the touch, one quarter before.

use peregrine_types::{Level, PRICE_SCALE, Price, Qty, Side};

use crate::level_pool::{Block, LevelCell, LevelPool, search, search_at};
use crate::{BookAnomaly, LEVEL_QTY_MAX, SIDE_LEVEL_COUNT_MAX};

/// One cent: the least price step of US shares from one dollar up (Regulation NMS, Rule 612).
const TICK: u64 = PRICE_SCALE.unsigned_abs() / 100;
const WINDOW_LEN: u16 = 512;
/// Price units that a window covers.
const WINDOW_SPAN: u64 = TICK * 512;
/// Distance of the touch from the window's worst price when the window is placed.
const TOUCH_SPAN: i64 = (TICK * 384).cast_signed();
/// The touch has come so near to the window's worst price that the window had better follow.
const TOUCH_LOW: u16 = WINDOW_LEN / 4;
const WORD_COUNT: usize = 8;
const NO_WINDOW: u32 = u32::MAX;
const QTY_BITS: u32 = 40;
const ONE_ORDER: u64 = 1 << QTY_BITS;

const _: () = assert!(LEVEL_QTY_MAX == ONE_ORDER - 1);
const _: () = assert!(WORD_COUNT * 64 == WINDOW_LEN as usize && WINDOW_SPAN == TICK * WINDOW_LEN as u64);

/// Neighbouring price steps of one side, worst first. One line longer than a page: the same cells of two windows do not
/// compete for one place in the cache.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Window {
    /// Which cells are levels.
    words: [u64; WORD_COUNT],
    /// Quantity in the low 40 bits, number of orders above them; zero where no order stands.
    cells: [u64; WINDOW_LEN as usize],
}

const _: () = assert!(size_of::<Window>() == 4096 + 64);

/// One side of one symbol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SideLevels {
    /// Key of the window's first cell.
    base: i64,
    window: u32,
    /// Most levels at once since the session began.
    len_peak: u32,
    /// The levels outside of the window.
    far: Block,
    /// Levels in the window.
    near_len: u16,
    /// The window's best level; 0 when it has none.
    near_best: u16,
}

const _: () = assert!(size_of::<SideLevels>() == 32);

impl Default for SideLevels {
    fn default() -> Self {
        Self { base: 0, window: NO_WINDOW, len_peak: 0, far: Block::default(), near_len: 0, near_best: 0 }
    }
}

impl SideLevels {
    pub(crate) const fn level_count(&self) -> usize {
        (self.far.len as usize).wrapping_add(self.near_len as usize)
    }

    /// Which cell of the window a key has.
    #[inline]
    fn cell_of(&self, key: i64) -> Option<u16> {
        let above = key.wrapping_sub(self.base).cast_unsigned();
        if above >= WINDOW_SPAN {
            return None;
        }
        let index = above / TICK;
        if index.wrapping_mul(TICK) == above { u16::try_from(index).ok() } else { None }
    }

    #[inline]
    fn key_at(&self, index: u16) -> i64 {
        self.base.wrapping_add(u64::from(index).wrapping_mul(TICK).cast_signed())
    }
}

/// Where a new order's level is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joined {
    /// Counted from the worst level outside of the window; 0 for one in it.
    pub(crate) index: usize,
    /// Whether it is the best level.
    pub(crate) is_best: bool,
}

/// What to take from a level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Which level; see [`key_of`].
    pub(crate) key: i64,
    /// [`Joined::index`] when the order joined.
    pub(crate) hint: usize,
    pub(crate) qty: u64,
    /// Whether one order less stands there.
    pub(crate) is_order_gone: bool,
}

/// A level's best price and quantity, for comparing before with after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BestCell(Option<(i64, u64)>);

/// What a side is sorted by: larger is better. Prices are positive, so that this cannot wrap.
#[inline]
pub(crate) const fn key_of(side: Side, price: i64) -> i64 {
    match side {
        Side::Buy => price,
        Side::Sell => price.wrapping_neg(),
    }
}

#[inline]
const fn qty_of(packed: u64) -> u64 {
    packed & LEVEL_QTY_MAX
}

#[inline]
fn level_of(cell: LevelCell, side: Side) -> Level {
    let order_count = u32::try_from(cell.packed >> QTY_BITS).unwrap_or(u32::MAX);
    Level { price: Price(key_of(side, cell.key)), qty: Qty(qty_of(cell.packed)), order_count }
}

impl Window {
    const EMPTY: Self = Self { words: [0; WORD_COUNT], cells: [0; WINDOW_LEN as usize] };

    #[inline]
    fn packed(&self, index: u16) -> u64 {
        self.cells.get(usize::from(index)).copied().unwrap_or(0)
    }

    #[inline]
    fn flip(&mut self, index: u16) {
        if let Some(word) = self.words.get_mut(usize::from(index / 64)) {
            *word ^= 1_u64.wrapping_shl(u32::from(index));
        }
    }

    /// The best level at or below `index`.
    #[inline]
    fn best_from(&self, index: u16) -> Option<u16> {
        let mut place = index / 64;
        let mut word = self.words.get(usize::from(place))? & u64::MAX.wrapping_shr(u32::from(!index));
        while word == 0 {
            place = place.checked_sub(1)?;
            word = *self.words.get(usize::from(place))?;
        }
        Some((place << 6) | (63 ^ u16::try_from(word.leading_zeros()).unwrap_or(0)))
    }

    fn put(&mut self, index: u16, packed: u64) {
        if let Some(cell) = self.cells.get_mut(usize::from(index)) {
            *cell = packed;
            self.flip(index);
        }
    }
}

/// The levels of all sides.
#[derive(Debug)]
pub(crate) struct Ladders {
    windows: Box<[Window]>,
    windows_used: u32,
    far: LevelPool,
    /// Sum of every side's `len_peak`.
    peak_sum: u32,
    peak_sum_max: u32,
}

impl Ladders {
    /// A window for each side, but not more than one for eight levels.
    pub(crate) fn new(symbol_count_max: u32, level_count_max: u32) -> Self {
        let window_count = symbol_count_max.saturating_mul(2).min((level_count_max / 8).saturating_add(1));
        let windows = vec![Window::EMPTY; window_count as usize].into_boxed_slice();
        let far = LevelPool::new(symbol_count_max, level_count_max);
        Self { windows, windows_used: 0, far, peak_sum: 0, peak_sum_max: level_count_max }
    }

    /// Forgets every level; the caller resets every side.
    pub(crate) fn clear(&mut self) {
        self.windows.iter_mut().take(self.windows_used as usize).for_each(|window| *window = Window::EMPTY);
        self.windows_used = 0;
        self.far.clear();
        self.peak_sum = 0;
    }

    /// How many sides have a window.
    #[inline]
    pub(crate) const fn windows_used(&self) -> u32 {
        self.windows_used
    }

    #[inline]
    fn near_best(&self, side: &SideLevels) -> Option<LevelCell> {
        if side.near_len == 0 {
            return None;
        }
        let window = self.windows.get(side.window as usize)?;
        Some(LevelCell { key: side.key_at(side.near_best), packed: window.packed(side.near_best) })
    }

    #[inline]
    fn best_level(&self, side: &SideLevels) -> Option<LevelCell> {
        let near = self.near_best(side);
        if near.is_some() && !side.far.is_mixed {
            return near;
        }
        let far = self.far.levels(side.far).last().copied();
        match (near, far) {
            (Some(near), Some(far)) => Some(if near.key > far.key { near } else { far }),
            (near, far) => near.or(far),
        }
    }

    /// The best level.
    #[inline]
    pub(crate) fn best(&self, levels: &SideLevels, side: Side) -> Option<Level> {
        self.best_level(levels).map(|cell| level_of(cell, side))
    }

    #[inline]
    pub(crate) fn best_cell(&self, levels: &SideLevels) -> BestCell {
        BestCell(self.best_level(levels).map(|cell| (cell.key, qty_of(cell.packed))))
    }

    pub(crate) fn level(&self, levels: &SideLevels, side: Side, price: Price) -> Option<Level> {
        let key = key_of(side, price.0);
        if let Some(index) = levels.cell_of(key)
            && let Some(window) = self.windows.get(levels.window as usize)
        {
            let packed = window.packed(index);
            return (packed != 0).then(|| level_of(LevelCell { key, packed }, side));
        }
        let cells = self.far.levels(levels.far);
        let index = search(cells, key).ok()?;
        cells.get(index).map(|cell| level_of(*cell, side))
    }

    /// The window's levels, best first.
    #[inline]
    fn near_levels(&self, levels: &SideLevels) -> impl Iterator<Item = LevelCell> + use<'_> {
        let levels = *levels;
        let window = self.windows.get(levels.window as usize);
        let mut next = if levels.near_len == 0 { None } else { Some(levels.near_best) };
        core::iter::from_fn(move || {
            let (index, window) = (next?, window?);
            next = index.checked_sub(1).and_then(|below| window.best_from(below));
            Some(LevelCell { key: levels.key_at(index), packed: window.packed(index) })
        })
    }

    /// Writes the best levels into `out`, best first, and returns how many.
    #[inline]
    pub(crate) fn depth(&self, levels: &SideLevels, side: Side, out: &mut [Level]) -> usize {
        let mut far = self.far.levels(levels.far).iter().rev().copied().peekable();
        let mut near = self.near_levels(levels).peekable();
        let mut count = 0_usize;
        for place in out {
            let is_far = match (near.peek(), far.peek()) {
                (Some(near), Some(far)) => far.key > near.key,
                (near, _) => near.is_none(),
            };
            let Some(cell) = (if is_far { far.next() } else { near.next() }) else { break };
            *place = level_of(cell, side);
            count = count.wrapping_add(1);
        }
        count
    }

    /// Reads the line of the best level, so that it is on its way.
    #[inline]
    pub(crate) fn touch_best(&self, levels: &SideLevels) -> u64 {
        self.windows.get(levels.window as usize).map_or(0, |window| window.packed(levels.near_best))
    }

    /// Reads the lines of the level `key`, or the one where it once was outside of the window.
    #[inline]
    pub(crate) fn touch(&self, levels: &SideLevels, key: i64, hint: usize) -> u64 {
        if let Some(index) = levels.cell_of(key)
            && let Some(window) = self.windows.get(levels.window as usize)
        {
            return window.packed(index) ^ window.words.first().copied().unwrap_or(0);
        }
        self.far.levels(levels.far).get(hint).map_or(0, |cell| cell.packed)
    }

    /// Whether a level outside of the window is better than `key`.
    #[inline]
    fn is_behind_far(&self, side: &SideLevels, key: i64) -> bool {
        side.far.is_mixed && self.far.levels(side.far).last().is_some_and(|cell| cell.key > key)
    }

    /// Adds an order of `qty` at `key`. Returns the place of its level.
    #[inline]
    pub(crate) fn add(&mut self, side: &mut SideLevels, key: i64, qty: u64) -> Result<Joined, BookAnomaly> {
        match side.cell_of(key) {
            Some(index) if side.window != NO_WINDOW => self.add_near(side, index, qty),
            Some(_) | None => self.add_far(side, key, qty),
        }
    }

    #[inline]
    fn add_near(&mut self, side: &mut SideLevels, index: u16, qty: u64) -> Result<Joined, BookAnomaly> {
        let window = self.windows.get_mut(side.window as usize).ok_or(BookAnomaly::LevelMissing)?;
        let cell = window.cells.get_mut(usize::from(index)).ok_or(BookAnomaly::LevelMissing)?;
        let before = *cell;
        if qty_of(before).wrapping_add(qty) > LEVEL_QTY_MAX {
            return Err(BookAnomaly::QtyTooLarge);
        }
        if before == 0 {
            if side.level_count() == side.len_peak as usize {
                count_peak(side, &mut self.peak_sum, self.peak_sum_max)?;
            }
            side.near_len = side.near_len.wrapping_add(1);
            side.near_best = side.near_best.max(index);
        }
        *cell = before.wrapping_add(ONE_ORDER | qty);
        if before == 0 {
            window.flip(index);
        }
        let is_best = index == side.near_best && !self.is_behind_far(side, side.key_at(index));
        Ok(Joined { index: 0, is_best })
    }

    #[inline(never)]
    fn add_far(&mut self, side: &mut SideLevels, key: i64, qty: u64) -> Result<Joined, BookAnomaly> {
        let cells = self.far.levels_mut(side.far);
        let index = match search(cells, key) {
            Ok(index) => {
                let cell = cells.get_mut(index).ok_or(BookAnomaly::LevelMissing)?;
                if qty_of(cell.packed).wrapping_add(qty) > LEVEL_QTY_MAX {
                    return Err(BookAnomaly::QtyTooLarge);
                }
                cell.packed = cell.packed.wrapping_add(ONE_ORDER | qty);
                index
            }
            Err(index) => {
                // Refused before anything is taken: what a refused order took, a side that is owed it would lack.
                if side.level_count() == side.len_peak as usize {
                    count_peak(side, &mut self.peak_sum, self.peak_sum_max)?;
                }
                let is_moved = self.reanchor(side, key);
                if is_moved && let Some(cell) = side.cell_of(key) {
                    return self.add_near(side, cell, qty);
                }
                // A window that moved without reaching the key took levels out of the array, or put some in.
                let index =
                    if is_moved { search(self.far.levels(side.far), key).unwrap_or_else(|place| place) } else { index };
                self.far.insert(&mut side.far, index, LevelCell { key, packed: ONE_ORDER | qty })?;
                self.note_mixed(side);
                index
            }
        };
        let is_best =
            index.wrapping_add(1) == side.far.len as usize && (side.near_len == 0 || key > side.key_at(side.near_best));
        Ok(Joined { index, is_best })
    }

    /// Call after every change of the sorted array and of the window's place.
    fn note_mixed(&self, side: &mut SideLevels) {
        side.far.is_mixed = self.far.levels(side.far).last().is_some_and(|cell| cell.key > side.base);
    }

    /// Takes what `cut` says from its level. Returns whether the level was the best one, or `None` when there is none.
    #[inline]
    pub(crate) fn reduce(&mut self, side: &mut SideLevels, cut: Cut) -> Option<bool> {
        let taken = cut.qty | (u64::from(cut.is_order_gone) << QTY_BITS);
        let Some(index) = side.cell_of(cut.key) else { return self.reduce_far(side, cut, taken) };
        let is_behind_far = self.is_behind_far(side, cut.key);
        let Some(window) = self.windows.get_mut(side.window as usize) else {
            return self.reduce_far(side, cut, taken);
        };
        let cell = window.cells.get_mut(usize::from(index)).filter(|cell| **cell != 0)?;
        let is_near_best = index == side.near_best;
        *cell = cell.wrapping_sub(taken);
        if *cell == 0 {
            window.flip(index);
            side.near_len = side.near_len.wrapping_sub(1);
            if is_near_best {
                side.near_best = window.best_from(index).unwrap_or(0);
            }
        }
        Some(is_near_best && !is_behind_far)
    }

    #[inline(never)]
    fn reduce_far(&mut self, side: &mut SideLevels, cut: Cut, taken: u64) -> Option<bool> {
        let cells = self.far.levels_mut(side.far);
        let index = search_at(cells, cut.hint, cut.key).ok()?;
        let is_far_best = index.wrapping_add(1) == cells.len();
        let cell = cells.get_mut(index)?;
        cell.packed = cell.packed.wrapping_sub(taken);
        if cell.packed == 0 {
            self.far.remove(&mut side.far, index);
            self.note_mixed(side);
        }
        Some(is_far_best && (side.near_len == 0 || cut.key > side.key_at(side.near_best)))
    }

    /// Where the window had better begin now that a level `key` comes that it does not hold: `None` to leave it.
    fn base_for(&self, side: &SideLevels, key: i64) -> Option<i64> {
        if !key.unsigned_abs().is_multiple_of(TICK) {
            return None;
        }
        let touch = if side.near_len == 0 {
            let far_best = self.far.levels(side.far).last().map_or(key, |cell| cell.key);
            key.max(far_best.checked_sub(far_best.rem_euclid(TICK.cast_signed()))?)
        } else if key > side.base {
            key
        } else if side.near_best < TOUCH_LOW {
            side.key_at(side.near_best)
        } else {
            return None;
        };
        let base = touch.checked_sub(TOUCH_SPAN)?;
        (base != side.base || side.window == NO_WINDOW).then_some(base)
    }

    /// Lets the window follow the touch when a level `key` comes that it does not hold. Returns whether it moved.
    #[cold]
    #[inline(never)]
    fn reanchor(&mut self, side: &mut SideLevels, key: i64) -> bool {
        let Some(base) = self.base_for(side, key) else { return false };
        // Room first: nothing below can fail.
        if self.far.reserve(&mut side.far, u32::from(side.near_len)).is_err() {
            return false;
        }
        if side.window == NO_WINDOW {
            if self.windows_used as usize >= self.windows.len() {
                return false;
            }
            side.window = self.windows_used;
            self.windows_used = self.windows_used.wrapping_add(1);
        }
        let Some(window) = self.windows.get_mut(side.window as usize) else { return false };
        let old = core::mem::replace(window, Window::EMPTY);
        let old_side = *side;
        (side.base, side.near_len, side.near_best) = (base, 0, 0);
        for index in 0..WINDOW_LEN {
            let packed = old.packed(index);
            if packed != 0 {
                self.settle(side, LevelCell { key: old_side.key_at(index), packed });
            }
        }
        self.gather(side);
        self.note_mixed(side);
        true
    }

    /// Puts a level that the side has had all along where it belongs now.
    fn settle(&mut self, side: &mut SideLevels, cell: LevelCell) {
        if let Some(index) = side.cell_of(cell.key)
            && let Some(window) = self.windows.get_mut(side.window as usize)
        {
            window.put(index, cell.packed);
            side.near_len = side.near_len.wrapping_add(1);
            side.near_best = side.near_best.max(index);
        } else if let Err(index) = search(self.far.levels(side.far), cell.key) {
            let inserted = self.far.insert(&mut side.far, index, cell);
            debug_assert!(inserted.is_ok(), "room was reserved");
        }
    }

    /// Takes what the window covers now out of the sorted array.
    fn gather(&mut self, side: &mut SideLevels) {
        let mut kept = 0_u32;
        for index in 0..side.far.len as usize {
            let Some(cell) = self.far.levels(side.far).get(index).copied() else { break };
            if side.cell_of(cell.key).is_some() {
                self.settle(side, cell);
            } else if let Some(place) = self.far.levels_mut(side.far).get_mut(kept as usize) {
                *place = cell;
                kept = kept.wrapping_add(1);
            }
        }
        side.far.len = kept;
    }
}

/// One level more than the side ever had at once.
#[inline]
fn count_peak(side: &mut SideLevels, peak_sum: &mut u32, peak_sum_max: u32) -> Result<(), BookAnomaly> {
    if *peak_sum >= peak_sum_max || side.len_peak >= SIDE_LEVEL_COUNT_MAX {
        return Err(BookAnomaly::LevelCapacity);
    }
    side.len_peak = side.len_peak.wrapping_add(1);
    *peak_sum = peak_sum.wrapping_add(1);
    Ok(())
}

//! The price levels of every symbol in one block of memory.
//!
//! A side is one contiguous array of 16-byte cells, worst price first, best price last: what happens near the touch
//! moves few cells, and the top of the book is the last cell. Arrays have 8 × 2ⁿ cells; a full one moves into a block
//! of twice the size, and its old block serves other sides. Arrays never shrink within a session, so a side of which the
//! longest was `h` levels used at most `4 × h + 8` cells in all: the pool cannot run out before `level_count_max` does.

use peregrine_types::{Level, Price, Qty, Side};

use crate::{BookAnomaly, LEVEL_QTY_MAX, SIDE_LEVEL_COUNT_MAX};

const BLOCK_LEN_MIN: u32 = 8;
const CLASS_COUNT: usize = 14;
const LINE_LEN: usize = 64;
/// Cells per cache line: the most that alignment can cost.
const LINE_CELL_COUNT: u32 = 4;
const NO_BLOCK: u32 = u32::MAX;
const QTY_BITS: u32 = 40;
const ONE_ORDER: u64 = 1 << QTY_BITS;
/// How many levels from the touch are looked at one by one before the search halves the rest.
const NEAR_LEN: usize = 8;

const _: () = assert!(LEVEL_QTY_MAX == ONE_ORDER - 1);
const _: () = assert!(BLOCK_LEN_MIN << (CLASS_COUNT - 1) == SIDE_LEVEL_COUNT_MAX);

/// One price level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
struct LevelCell {
    /// Price for bids, negated price for asks: larger is better. In a free block's first cell: the next free block.
    key: i64,
    /// Quantity in the low 40 bits, number of orders above them.
    packed: u64,
}

const _: () = assert!(size_of::<LevelCell>() == 16, "four levels per cache line");

/// Not all zero on purpose: memory filled with it has been written to, page by page.
const EMPTY: LevelCell = LevelCell { key: i64::MIN, packed: 0 };

/// One side of one symbol: where its array is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SideLevels {
    /// First cell.
    offset: u32,
    /// Levels.
    len: u32,
    /// Cells, 0 before the first level.
    capacity: u32,
    /// Most levels at once since the session began.
    len_peak: u32,
}

/// Where a new order's level is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joined {
    /// Counted from the worst level of the side.
    pub(crate) index: usize,
    /// Whether it is the best level.
    pub(crate) is_best: bool,
}

/// What to take from a level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Which level; see [`key_of`].
    pub(crate) key: i64,
    /// Where it was when the order joined, counted from the worst level.
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

impl LevelCell {
    const fn qty(self) -> u64 {
        self.packed & LEVEL_QTY_MAX
    }

    fn level(self, side: Side) -> Level {
        let order_count = u32::try_from(self.packed >> QTY_BITS).unwrap_or(u32::MAX);
        Level { price: Price(key_of(side, self.key)), qty: Qty(self.qty()), order_count }
    }
}

impl SideLevels {
    pub(crate) const fn level_count(&self) -> usize {
        self.len as usize
    }
}

/// The cells of all sides.
#[derive(Debug)]
pub(crate) struct LevelPool {
    cells: Box<[LevelCell]>,
    /// First cell that no block has taken yet.
    unused: u32,
    /// First free block of each size.
    free: [u32; CLASS_COUNT],
    /// Sum of every side's `len_peak`.
    peak_sum: u32,
    peak_sum_max: u32,
}

/// Finds `key` in cells that ascend: its index, or where it would go. Looks at the touch first, then further and
/// further away from it, so that a search reads the lines that every search reads.
#[inline]
fn search(cells: &[LevelCell], key: i64) -> Result<usize, usize> {
    let mut index = cells.len();
    for cell in cells.iter().rev().take(NEAR_LEN) {
        if cell.key <= key {
            return if cell.key == key { Ok(index.wrapping_sub(1)) } else { Err(index) };
        }
        index = index.wrapping_sub(1);
    }
    search_down(cells, index, key)
}

/// The same where every cell from `high` on is known to be above `key`.
#[inline(never)]
fn search_down(cells: &[LevelCell], mut high: usize, key: i64) -> Result<usize, usize> {
    let mut step = NEAR_LEN;
    loop {
        let low = high.saturating_sub(step);
        match cells.get(low) {
            Some(cell) if low > 0 && cell.key > key => high = low,
            Some(_) | None => return search_between(cells, low, high, key),
        }
        step = step.wrapping_mul(2);
    }
}

/// The same where every cell below `low` is known to be below `key`.
#[inline(never)]
fn search_up(cells: &[LevelCell], mut low: usize, key: i64) -> Result<usize, usize> {
    let mut step = 1_usize;
    loop {
        let high = low.wrapping_add(step);
        match cells.get(high) {
            Some(cell) if cell.key < key => low = high.wrapping_add(1),
            Some(_) | None => return search_between(cells, low, high.wrapping_add(1), key),
        }
        step = step.wrapping_mul(2);
    }
}

fn search_between(cells: &[LevelCell], low: usize, high: usize, key: i64) -> Result<usize, usize> {
    let between = cells.get(low..high.min(cells.len())).unwrap_or_default();
    let found = between.binary_search_by(|cell| cell.key.cmp(&key));
    found.map(|index| low.wrapping_add(index)).map_err(|index| low.wrapping_add(index))
}

/// Finds `key` where it was once, or near there: levels come and go mostly at the touch, behind most others.
#[inline]
fn search_at(cells: &[LevelCell], hint: usize, key: i64) -> Result<usize, usize> {
    match cells.get(hint) {
        Some(cell) if cell.key == key => Ok(hint),
        Some(cell) if cell.key < key => search_up(cells, hint.wrapping_add(1), key),
        Some(_) => search_down(cells, hint, key),
        None => search(cells, key),
    }
}

/// The first cell that begins a cache line.
fn first_line(cells: &[LevelCell]) -> u32 {
    u32::try_from(cells.as_ptr().align_offset(LINE_LEN)).unwrap_or(0).min(LINE_CELL_COUNT)
}

impl LevelPool {
    pub(crate) fn new(symbol_count_max: u32, level_count_max: u32) -> Self {
        let sides_used = symbol_count_max.saturating_mul(2).min(level_count_max);
        let len = level_count_max
            .saturating_mul(4)
            .saturating_add(sides_used.saturating_mul(8))
            .saturating_add(LINE_CELL_COUNT);
        let cells = vec![EMPTY; len as usize].into_boxed_slice();
        let unused = first_line(&cells);
        Self { cells, unused, free: [NO_BLOCK; CLASS_COUNT], peak_sum: 0, peak_sum_max: level_count_max }
    }

    /// Forgets every block; the caller resets every side.
    pub(crate) fn clear(&mut self) {
        self.unused = first_line(&self.cells);
        self.free = [NO_BLOCK; CLASS_COUNT];
        self.peak_sum = 0;
    }

    #[inline]
    fn levels(&self, side: &SideLevels) -> &[LevelCell] {
        let start = side.offset as usize;
        self.cells.get(start..start.wrapping_add(side.len as usize)).unwrap_or_default()
    }

    #[inline]
    fn levels_mut(&mut self, side: &SideLevels) -> &mut [LevelCell] {
        let start = side.offset as usize;
        self.cells.get_mut(start..start.wrapping_add(side.len as usize)).unwrap_or_default()
    }

    /// The best level.
    #[inline]
    pub(crate) fn best(&self, levels: &SideLevels, side: Side) -> Option<Level> {
        self.levels(levels).last().map(|cell| cell.level(side))
    }

    #[inline]
    pub(crate) fn best_cell(&self, levels: &SideLevels) -> BestCell {
        BestCell(self.levels(levels).last().map(|cell| (cell.key, cell.qty())))
    }

    pub(crate) fn level(&self, levels: &SideLevels, side: Side, price: Price) -> Option<Level> {
        let cells = self.levels(levels);
        let index = search(cells, key_of(side, price.0)).ok()?;
        cells.get(index).map(|cell| cell.level(side))
    }

    /// Writes the best levels into `out`, best first, and returns how many.
    #[inline]
    pub(crate) fn depth(&self, levels: &SideLevels, side: Side, out: &mut [Level]) -> usize {
        out.iter_mut().zip(self.levels(levels).iter().rev()).map(|(to, cell)| *to = cell.level(side)).count()
    }

    /// Reads the line of the best level, so that it is on its way.
    #[inline]
    pub(crate) fn touch_best(&self, levels: &SideLevels) -> u64 {
        self.levels(levels).last().map_or(0, |cell| cell.packed)
    }

    /// Reads the line where a level once was.
    #[inline]
    pub(crate) fn touch_hint(&self, levels: &SideLevels, hint: usize) -> u64 {
        self.levels(levels).get(hint).map_or(0, |cell| cell.packed)
    }

    /// Adds an order of `qty` at `key`. Returns the place of its level.
    #[inline]
    pub(crate) fn add(&mut self, side: &mut SideLevels, key: i64, qty: u64) -> Result<Joined, BookAnomaly> {
        let last = side.level_count().wrapping_sub(1);
        let cells = self.levels_mut(side);
        match search(cells, key) {
            Ok(index) => {
                let Some(cell) = cells.get_mut(index) else { return Err(BookAnomaly::LevelMissing) };
                if cell.qty().wrapping_add(qty) > LEVEL_QTY_MAX {
                    return Err(BookAnomaly::QtyTooLarge);
                }
                cell.packed = cell.packed.wrapping_add(ONE_ORDER | qty);
                Ok(Joined { index, is_best: index == last })
            }
            Err(index) => {
                self.insert(side, index, LevelCell { key, packed: ONE_ORDER | qty })?;
                Ok(Joined { index, is_best: index == last.wrapping_add(1) })
            }
        }
    }

    #[inline]
    fn insert(&mut self, side: &mut SideLevels, index: usize, cell: LevelCell) -> Result<(), BookAnomaly> {
        if side.len == side.len_peak {
            if self.peak_sum >= self.peak_sum_max || side.len >= SIDE_LEVEL_COUNT_MAX {
                return Err(BookAnomaly::LevelCapacity);
            }
            if side.len == side.capacity {
                self.grow(side)?;
            }
            side.len_peak = side.len_peak.wrapping_add(1);
            self.peak_sum = self.peak_sum.wrapping_add(1);
        }
        side.len = side.len.wrapping_add(1);
        let mut carried = cell;
        for place in self.levels_mut(side).get_mut(index..).unwrap_or_default() {
            core::mem::swap(place, &mut carried);
        }
        Ok(())
    }

    /// Takes what `cut` says from its level. Returns whether the level was the best one, or `None` when there is none.
    #[inline]
    pub(crate) fn reduce(&mut self, side: &mut SideLevels, cut: Cut) -> Option<bool> {
        let Cut { key, hint, qty, is_order_gone } = cut;
        let last = side.level_count().wrapping_sub(1);
        let cells = self.levels_mut(side);
        let index = search_at(cells, hint, key).ok()?;
        let cell = cells.get_mut(index)?;
        cell.packed = cell.packed.wrapping_sub(qty | (u64::from(is_order_gone) << QTY_BITS));
        if cell.packed == 0 {
            let mut carried = EMPTY;
            for place in cells.get_mut(index..).unwrap_or_default().iter_mut().rev() {
                core::mem::swap(place, &mut carried);
            }
            side.len = side.len.wrapping_sub(1);
        }
        Some(index == last)
    }

    /// Moves a full side into a block of twice the size.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, side: &mut SideLevels) -> Result<(), BookAnomaly> {
        let capacity = side.capacity.saturating_mul(2).max(BLOCK_LEN_MIN);
        let offset = self.take_block(capacity).ok_or(BookAnomaly::LevelCapacity)?;
        for index in 0..side.level_count() {
            let cell = self.cells.get((side.offset as usize).wrapping_add(index)).copied().unwrap_or(EMPTY);
            if let Some(place) = self.cells.get_mut((offset as usize).wrapping_add(index)) {
                *place = cell;
            }
        }
        if side.capacity > 0 {
            self.give_block(side.offset, side.capacity);
        }
        (side.offset, side.capacity) = (offset, capacity);
        Ok(())
    }

    fn class_of(capacity: u32) -> usize {
        (capacity / BLOCK_LEN_MIN).trailing_zeros() as usize
    }

    fn take_block(&mut self, capacity: u32) -> Option<u32> {
        let head = self.free.get_mut(Self::class_of(capacity))?;
        if *head != NO_BLOCK {
            let block = *head;
            *head = u32::try_from(self.cells.get(block as usize)?.key).unwrap_or(NO_BLOCK);
            return Some(block);
        }
        let block = self.unused;
        let end = block.checked_add(capacity)?;
        if end as usize > self.cells.len() {
            return None;
        }
        self.unused = end;
        Some(block)
    }

    fn give_block(&mut self, block: u32, capacity: u32) {
        let Some(head) = self.free.get_mut(Self::class_of(capacity)) else { return };
        if let Some(cell) = self.cells.get_mut(block as usize) {
            cell.key = i64::from(*head);
            *head = block;
        }
    }
}

//! Price levels as sorted arrays, for what a [`Window`](crate::ladder) does not hold, of every symbol in one block of
//! memory.
//!
//! A side is one contiguous array of 16-byte cells, worst price first, best price last: what happens near the touch
//! moves few cells, and the best level is the last cell. Arrays have 8 × 2ⁿ cells; a full one moves into a block
//! of twice the size, and its old block serves other sides. Arrays never shrink within a session, so a side of which the
//! longest was `h` levels used at most `4 × h + 8` cells in all: the pool cannot run out before `level_count_max` does.

use crate::{BookAnomaly, SIDE_LEVEL_COUNT_MAX};

const BLOCK_LEN_MIN: u32 = 8;
const CLASS_COUNT: usize = 14;
const LINE_LEN: usize = 64;
/// Cells per cache line: the most that alignment can cost.
const LINE_CELL_COUNT: u32 = 4;
const NO_BLOCK: u32 = u32::MAX;
/// How many levels from the touch are looked at one by one before the search halves the rest.
const NEAR_LEN: usize = 8;

const _: () = assert!(BLOCK_LEN_MIN << (CLASS_COUNT - 1) == SIDE_LEVEL_COUNT_MAX);

/// One price level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct LevelCell {
    /// Price for bids, negated price for asks: larger is better. In a free block's first cell: the next free block.
    pub(crate) key: i64,
    /// Quantity in the low 40 bits, number of orders above them.
    pub(crate) packed: u64,
}

const _: () = assert!(size_of::<LevelCell>() == 16, "four levels per cache line");

/// Not all zero on purpose: memory filled with it has been written to, page by page.
const EMPTY: LevelCell = LevelCell { key: i64::MIN, packed: 0 };

/// Where the array of one side is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Block {
    /// First cell.
    offset: u32,
    /// Levels.
    pub(crate) len: u32,
    /// 0 before the first level, then one more than the size class.
    class: u8,
    /// For the owner: whether the best level here is better than the worst price of the owner's window. Mostly it is
    /// not, and then nobody needs to look here for the best level.
    pub(crate) is_mixed: bool,
}

impl Block {
    const fn capacity(self) -> u32 {
        match self.class.checked_sub(1) {
            Some(class) => BLOCK_LEN_MIN << class,
            None => 0,
        }
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
}

/// Finds `key` in cells that ascend: its index, or where it would go. Looks at the touch first, then further and
/// further away from it, so that a search reads the lines that every search reads.
#[inline]
pub(crate) fn search(cells: &[LevelCell], key: i64) -> Result<usize, usize> {
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
pub(crate) fn search_at(cells: &[LevelCell], hint: usize, key: i64) -> Result<usize, usize> {
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
        Self { cells, unused, free: [NO_BLOCK; CLASS_COUNT] }
    }

    /// Forgets every block; the caller resets every side.
    pub(crate) fn clear(&mut self) {
        self.unused = first_line(&self.cells);
        self.free = [NO_BLOCK; CLASS_COUNT];
    }

    /// The levels of one side, worst first.
    #[inline]
    pub(crate) fn levels(&self, block: Block) -> &[LevelCell] {
        let start = block.offset as usize;
        self.cells.get(start..start.wrapping_add(block.len as usize)).unwrap_or_default()
    }

    /// The same, to be changed without changing their order.
    #[inline]
    pub(crate) fn levels_mut(&mut self, block: Block) -> &mut [LevelCell] {
        let start = block.offset as usize;
        self.cells.get_mut(start..start.wrapping_add(block.len as usize)).unwrap_or_default()
    }

    /// Puts a level at `index` of a side.
    pub(crate) fn insert(&mut self, block: &mut Block, index: usize, cell: LevelCell) -> Result<(), BookAnomaly> {
        self.reserve(block, 1)?;
        block.len = block.len.wrapping_add(1);
        let mut carried = cell;
        for place in self.levels_mut(*block).get_mut(index..).unwrap_or_default() {
            core::mem::swap(place, &mut carried);
        }
        Ok(())
    }

    /// Takes the level at `index` out of a side.
    pub(crate) fn remove(&mut self, block: &mut Block, index: usize) {
        let mut carried = EMPTY;
        for place in self.levels_mut(*block).get_mut(index..).unwrap_or_default().iter_mut().rev() {
            core::mem::swap(place, &mut carried);
        }
        block.len = block.len.wrapping_sub(1);
    }

    /// Makes room for `count` more levels of a side.
    pub(crate) fn reserve(&mut self, block: &mut Block, count: u32) -> Result<(), BookAnomaly> {
        while block.len.saturating_add(count) > block.capacity() {
            self.grow(block)?;
        }
        Ok(())
    }

    /// Moves a side into a block of twice the size.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, block: &mut Block) -> Result<(), BookAnomaly> {
        let class = block.class;
        let offset = self.take_block(class).ok_or(BookAnomaly::LevelCapacity)?;
        for index in 0..block.len {
            let cell = self.cells.get(block.offset.wrapping_add(index) as usize).copied().unwrap_or(EMPTY);
            if let Some(place) = self.cells.get_mut(offset.wrapping_add(index) as usize) {
                *place = cell;
            }
        }
        if let Some(old) = class.checked_sub(1) {
            self.give_block(block.offset, old);
        }
        (block.offset, block.class) = (offset, class.wrapping_add(1));
        Ok(())
    }

    fn take_block(&mut self, class: u8) -> Option<u32> {
        let head = self.free.get_mut(usize::from(class))?;
        if *head != NO_BLOCK {
            let block = *head;
            *head = u32::try_from(self.cells.get(block as usize)?.key).unwrap_or(NO_BLOCK);
            return Some(block);
        }
        let block = self.unused;
        let end = block.checked_add(BLOCK_LEN_MIN << class)?;
        if end as usize > self.cells.len() {
            return None;
        }
        self.unused = end;
        Some(block)
    }

    fn give_block(&mut self, block: u32, class: u8) {
        let Some(head) = self.free.get_mut(usize::from(class)) else { return };
        if let Some(cell) = self.cells.get_mut(block as usize) {
            cell.key = i64::from(*head);
            *head = block;
        }
    }
}

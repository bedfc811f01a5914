//! Where numbers live: one row of cells per thread, so that counting is one atomic addition on memory of one's own.

use crossbeam_utils::CachePadded;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Cells of a row: eight cache lines, three histograms.
const ROW: usize = 64;

/// Most rows of a slab. Threads beyond it share rows, which costs time but no count.
const MAX_ROWS: usize = 128;

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SHARD: usize = THREADS.fetch_add(1, Relaxed);
}

/// Rows of cells: a metric has the same cells in each, a thread only ever writes to one.
///
/// Rows are padded against each other, cells are not: what one thread counts lies close together, and a counter costs
/// eight bytes a thread and not a cache line.
struct Slab {
    rows: Box<[CachePadded<[AtomicU64; ROW]>]>,
}

/// Some cells, in every row.
pub(super) struct Cells {
    slab: Arc<Slab>,
    start: usize,
    length: usize,
}

impl Cells {
    /// Adds to a cell in the row of this thread. A cell that is not there counts nothing.
    pub(super) fn add(&self, cell: usize, n: u64) {
        let row = SHARD.with(|shard| shard & (self.slab.rows.len() - 1));
        if let Some(cell) = self.slab.rows.get(row).and_then(|row| row.get(self.start + cell)) {
            cell.fetch_add(n, Relaxed);
        }
    }

    /// What all threads have added to a cell.
    pub(super) fn sum(&self, cell: usize) -> u64 {
        self.column(cell).fold(0, |sum, cell| sum.wrapping_add(cell.load(Relaxed)))
    }

    fn clear(&self) {
        (0..self.length).flat_map(|cell| self.column(cell)).for_each(|cell| cell.store(0, Relaxed));
    }

    fn column(&self, cell: usize) -> impl Iterator<Item = &AtomicU64> {
        self.slab.rows.iter().filter_map(move |row| row.get(self.start + cell))
    }
}

/// Gives out cells, and takes them back.
pub(super) struct Arena {
    rows: usize,
    slab: Option<(Arc<Slab>, usize)>,
    free: HashMap<usize, Vec<Cells>>,
}

impl Arena {
    /// For about so many threads.
    pub(super) fn new(threads: usize) -> Self {
        let rows = threads.clamp(1, MAX_ROWS).next_power_of_two();
        Self { rows, slab: None, free: HashMap::new() }
    }

    /// Cells that are zero; `length` is at most [`ROW`].
    pub(super) fn take(&mut self, length: usize) -> Cells {
        if let Some(cells) = self.free.get_mut(&length).and_then(Vec::pop) {
            return cells;
        }
        let (slab, start) = match self.slab.take() {
            Some((slab, used)) if used + length <= ROW => (slab, used),
            _ => (self.new_slab(), 0),
        };
        self.slab = Some((slab.clone(), start + length));
        Cells { slab, start, length }
    }

    /// Takes cells back that nobody else holds.
    pub(super) fn give_back(&mut self, cells: Cells) {
        cells.clear();
        self.free.entry(cells.length).or_default().push(cells);
    }

    fn new_slab(&self) -> Arc<Slab> {
        let row = || CachePadded::new([const { AtomicU64::new(0) }; ROW]);
        Arc::new(Slab { rows: std::iter::repeat_with(row).take(self.rows).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_do_not_overlap_and_are_used_again() {
        let mut arena = Arena::new(3);
        assert_eq!(arena.rows, 4);
        let all: Vec<_> = [1, 21, 21, 21, 1, 2, 63].into_iter().map(|length| arena.take(length)).collect();
        for (number, cells) in (1..).zip(&all) {
            (0..cells.length).for_each(|cell| cells.add(cell, number));
        }
        for (number, cells) in (1..).zip(&all) {
            assert!((0..cells.length).all(|cell| cells.sum(cell) == number), "{number}");
        }
        let (slab, start) = (Arc::as_ptr(&all[1].slab), all[1].start);
        all.into_iter().for_each(|cells| arena.give_back(cells));
        let again: Vec<_> = (0..3).map(|_| arena.take(21)).collect();
        assert!(again.iter().all(|cells| (0..21).all(|cell| cells.sum(cell) == 0)));
        assert!(again.iter().any(|cells| (Arc::as_ptr(&cells.slab), cells.start) == (slab, start)));
    }

    #[test]
    fn more_threads_than_rows_lose_nothing() {
        let cells = Arena::new(2).take(1);
        std::thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| (0..1000).for_each(|_| cells.add(0, 2)));
            }
        });
        assert_eq!(cells.sum(0), 10_000);
    }
}

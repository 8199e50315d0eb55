//! Sums of a table's rows, with their gradient: what deep learning libraries call an EmbeddingBag.

#![allow(unsafe_code)]

use super::context::Kernels;
use super::dispatch::Task;
use super::path::KernelPath;
use super::pool::Pool;
use super::simd::Simd;
use super::workspace::Shared;

/// Sums computed by one task.
const TASK_ROWS: usize = 128;

/// Columns of the gradient in one task.
const TASK_COLUMNS: usize = 32;

/// The bits of a mask that stand for the rows of a table: bit `first + r` for row `r`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitRange {
    /// The bit of row 0.
    pub first: u32,
    /// How many rows there are; `first + rows` is at most 128.
    pub rows: usize,
}

/// Sets of rows, one for each position.
#[derive(Debug, Clone, Copy)]
pub struct Bags<'a> {
    /// `(N)`: which rows are in the set.
    pub masks: &'a [u128],
    /// What the bits of a mask stand for.
    pub bits: BitRange,
}

impl BitRange {
    /// All of its bits.
    pub fn mask(self) -> u128 {
        let ones = match self.rows {
            128 => u128::MAX,
            rows => (1 << rows) - 1,
        };
        ones << self.first
    }

    /// The rows of a mask, ascending. The mask has no bit outside of the range.
    #[inline(always)]
    pub fn rows_of(self, mask: u128) -> impl Iterator<Item = usize> {
        let mut rest = mask >> self.first;
        std::iter::from_fn(move || {
            let row = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            (row < u128::BITS).then_some(row as usize)
        })
    }
}

impl<'a> Bags<'a> {
    /// How many positions.
    pub fn len(self) -> usize {
        self.masks.len()
    }

    /// Whether there is no position.
    pub fn is_empty(self) -> bool {
        self.masks.is_empty()
    }

    /// # Panics
    /// If a mask has a bit that stands for no row.
    pub(super) fn check(self) {
        let bits = self.bits.mask();
        assert!(
            self.masks.iter().all(|mask| mask & !bits == 0),
            "every bit of a mask stands for a row"
        );
    }

    fn part(self, range: std::ops::Range<usize>) -> Self {
        Self {
            masks: &self.masks[range],
            ..self
        }
    }
}

impl Kernels {
    /// The sum of each set's rows of `table` `(rows, E)`, to `out` `(N, E)`; zero for an empty set.
    ///
    /// # Panics
    /// If a slice has the wrong length, or a mask a bit that stands for no row.
    pub fn embedding_bag(&mut self, table: &[f32], bags: Bags<'_>, out: &mut [f32]) {
        sum_rows(&mut self.pool, self.path, table, bags, None, out);
    }

    /// The gradient of [`embedding_bag`](Kernels::embedding_bag) from `dout` `(N, E)`; `dtable` `(rows, E)` is overwritten.
    ///
    /// # Panics
    /// If a slice has the wrong length, or a mask a bit that stands for no row.
    pub fn embedding_bag_backward(&mut self, bags: Bags<'_>, dout: &[f32], dtable: &mut [f32]) {
        spread_to_rows(&mut self.pool, self.path, bags, dout, dtable);
    }
}

/// The sums of [`Kernels::embedding_bag`], each on top of `start` `(E)` if there is one.
pub(super) fn sum_rows(
    pool: &mut Pool,
    path: KernelPath,
    table: &[f32],
    bags: Bags<'_>,
    start: Option<&[f32]>,
    out: &mut [f32],
) {
    let width = table.len() / bags.bits.rows;
    assert_eq!(
        (table.len(), out.len()),
        (bags.bits.rows * width, bags.len() * width),
        "table is (rows, E) and out (N, E)"
    );
    assert!(
        start.is_none_or(|start| start.len() == width),
        "start is (E)"
    );
    bags.check();
    if width == 0 {
        return;
    }
    let shared = Shared::of(out);
    pool.run(bags.len().div_ceil(TASK_ROWS), &|_, task| {
        let first = task * TASK_ROWS;
        let bags = bags.part(first..(first + TASK_ROWS).min(bags.len()));
        path.dispatch(Sum {
            table,
            bags,
            start,
            // SAFETY: this task's rows of `out`.
            out: unsafe { shared.slice(first * width, bags.len() * width) },
            width,
        });
    });
}

/// See [`Kernels::embedding_bag_backward`].
pub(super) fn spread_to_rows(
    pool: &mut Pool,
    path: KernelPath,
    bags: Bags<'_>,
    dout: &[f32],
    dtable: &mut [f32],
) {
    let width = dtable.len() / bags.bits.rows;
    assert_eq!(
        (dtable.len(), dout.len()),
        (bags.bits.rows * width, bags.len() * width),
        "dtable is (rows, E), dout (N, E)"
    );
    bags.check();
    dtable.fill(0.0);
    let dtable = Shared::of(dtable);
    pool.run(width.div_ceil(TASK_COLUMNS), &|_, task| {
        path.dispatch(Spread {
            bags,
            dout,
            dtable,
            width,
            columns: task * TASK_COLUMNS..((task + 1) * TASK_COLUMNS).min(width),
        });
    });
}

/// Some rows of sums.
struct Sum<'a> {
    table: &'a [f32],
    bags: Bags<'a>,
    start: Option<&'a [f32]>,
    out: &'a mut [f32],
    width: usize,
}

impl Task for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.width;
        for (&mask, out) in self.bags.masks.iter().zip(self.out.chunks_exact_mut(width)) {
            match self.start {
                Some(start) => out.copy_from_slice(start),
                None => out.fill(0.0),
            }
            for row in self.bags.bits.rows_of(mask) {
                add_to(s, out, &self.table[row * width..][..width]);
            }
        }
    }
}

/// Some columns of the gradient.
struct Spread<'a> {
    bags: Bags<'a>,
    dout: &'a [f32],
    dtable: Shared<'a>,
    width: usize,
    columns: std::ops::Range<usize>,
}

impl Task for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (n, &mask) in self.bags.masks.iter().enumerate() {
            let dout = &self.dout[n * self.width..][self.columns.clone()];
            for row in self.bags.bits.rows_of(mask) {
                let first = row * self.width + self.columns.start;
                // SAFETY: these columns of the table belong to this task alone.
                add_to(s, unsafe { self.dtable.slice(first, dout.len()) }, dout);
            }
        }
    }
}

/// `to += from`
#[inline(always)]
fn add_to<S: Simd>(s: S, to: &mut [f32], from: &[f32]) {
    let len = to.len().min(from.len());
    for at in (0..len).step_by(S::LANES) {
        // SAFETY: at most `len - at` lanes are touched.
        unsafe {
            let to = to.as_mut_ptr().add(at);
            let sum = s.add(
                s.load_up_to(to, len - at),
                s.load_up_to(from.as_ptr().add(at), len - at),
            );
            s.store_up_to(to, len - at, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Precision;
    use super::super::reference::{Numbers, PIANO, masks};
    use super::*;

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let mut numbers = Numbers::new(5);
        let masks = masks(&mut numbers, 1000);
        let bags = Bags {
            masks: &masks,
            bits: PIANO,
        };
        let (dout, table) = (numbers.vector(1000 * 37, 1.0), numbers.vector(88 * 37, 1.0));
        for path in KernelPath::testable() {
            let run = |threads| {
                let mut kernels = Kernels::new(path, threads, Precision::F32);
                let (mut out, mut dtable) = (vec![0.0; 1000 * 37], vec![1.0; 88 * 37]);
                kernels.embedding_bag(&table, bags, &mut out);
                kernels.embedding_bag_backward(bags, &dout, &mut dtable);
                (out, dtable)
            };
            let one = run(1);
            assert!(one == run(2) && one == run(3), "{}", path.name());
        }
    }

    #[test]
    fn a_bag_is_the_sum_of_its_rows_and_hands_its_gradient_to_each() {
        let table: Vec<f32> = (0..88 * 3).map(|i| i as f32).collect();
        let bags = Bags {
            masks: &[1 << 21 | 1 << 108, 0, 1 << 60],
            bits: PIANO,
        };
        for path in KernelPath::testable() {
            let mut kernels = Kernels::new(path, 2, Precision::F32);
            let mut out = [f32::NAN; 9];
            kernels.embedding_bag(&table, bags, &mut out);
            assert_eq!(
                out,
                [261.0, 263.0, 265.0, 0.0, 0.0, 0.0, 117.0, 118.0, 119.0]
            );
            let mut dtable = vec![f32::NAN; 88 * 3];
            kernels.embedding_bag_backward(bags, &out, &mut dtable);
            assert_eq!(dtable[..3], out[..3]);
            assert_eq!(dtable[87 * 3..], out[..3]);
            assert_eq!(dtable[39 * 3..40 * 3], out[6..]);
            assert_eq!(dtable.iter().filter(|d| **d != 0.0).count(), 9);
        }
    }

    #[test]
    fn a_range_may_be_all_bits_of_a_mask() {
        let bits = BitRange {
            first: 0,
            rows: 128,
        };
        assert_eq!(bits.mask(), u128::MAX);
        assert_eq!(bits.rows_of(1 << 127 | 1).collect::<Vec<_>>(), [0, 127]);
    }

    #[test]
    #[should_panic(expected = "every bit of a mask stands for a row")]
    fn a_bit_that_stands_for_no_row_is_a_bug() {
        let bags = Bags {
            masks: &[1 << 20],
            bits: PIANO,
        };
        let mut kernels = Kernels::new(KernelPath::Plain, 1, Precision::F32);
        kernels.embedding_bag(&[0.0; 88], bags, &mut [0.0]);
    }
}

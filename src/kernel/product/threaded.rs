//! Products of whole matrices shared out among the threads.

#![allow(unsafe_code)]

use super::super::pool::Pool;
use super::super::workspace::{Buffer, Shared};
use super::super::{KernelPath, Precision};
use super::pack::{PackPanel, PackRows};
use super::{Panels, RowsProduct};

/// Rows of the left operand in one task; a multiple of the register kernel's.
const TASK_ROWS: usize = 48;

/// The means to run products: threads, path and operand format.
pub(in crate::kernel) struct Products<'a> {
    pub pool: &'a mut Pool,
    pub path: KernelPath,
    pub precision: Precision,
}

impl Products<'_> {
    /// Units that `numbers` numbers take.
    pub fn units(&self, numbers: usize) -> usize {
        match self.precision {
            Precision::F32 => numbers,
            Precision::Bf16 => numbers.div_ceil(2),
        }
    }

    /// Packs a right operand of `numbers` along the depth and `columns` across; `from` is `(numbers, columns)`, or where
    /// `transposed`, `(columns, numbers)`.
    pub fn pack(
        &mut self,
        from: &[f32],
        transposed: bool,
        numbers: usize,
        columns: usize,
        to: &mut Buffer,
    ) -> Shared {
        assert_eq!(
            from.len(),
            numbers * columns,
            "a right operand has its depth times its columns"
        );
        let panels = Panels::new(columns, self.path.shape());
        let to = to.shared(panels.padded() * self.units(numbers));
        let from = Shared(from.as_ptr().cast_mut());
        let (path, precision) = (self.path, self.precision);
        self.pool.run(panels.count(), &|_, index| {
            path.dispatch_in(
                precision,
                PackPanel {
                    from: { from }.0,
                    transposed,
                    numbers,
                    columns,
                    to,
                    index,
                },
            );
        });
        to
    }

    /// The rows of a left operand as units: themselves, or rounded to bf16.
    pub fn rows(&mut self, from: &[f32], numbers: usize, to: &mut Buffer) -> Shared {
        let from_start = Shared(from.as_ptr().cast_mut());
        if self.precision == Precision::F32 || numbers == 0 {
            return from_start;
        }
        let rows = from.len() / numbers;
        let to = to.shared(rows * self.units(numbers));
        let (path, precision) = (self.path, self.precision);
        self.pool.run(rows.div_ceil(TASK_ROWS), &|_, task| {
            let rows = task * TASK_ROWS..((task + 1) * TASK_ROWS).min(rows);
            path.dispatch_in(
                precision,
                PackRows {
                    from: from_start,
                    numbers,
                    rows,
                    to,
                },
            );
        });
        to
    }

    /// `product` shared out by rows.
    pub fn product(&mut self, product: RowsProduct) {
        let (a, c) = (Shared(product.a.cast_mut()), Shared(product.c));
        let b = Shared(product.b.cast_mut());
        let RowsProduct {
            lda,
            rows,
            depth,
            columns,
            ldc,
            start,
            ..
        } = product;
        let (path, precision) = (self.path, self.precision);
        self.pool.run(rows.div_ceil(TASK_ROWS), &|_, task| {
            let first = task * TASK_ROWS;
            // SAFETY: the rows of this task, within the caller's extents.
            let (a, c) = unsafe { (a.at(first * lda), c.at(first * ldc)) };
            let rows = (rows - first).min(TASK_ROWS);
            let b = { b }.0;
            path.dispatch_in(
                precision,
                RowsProduct {
                    a,
                    lda,
                    rows,
                    b,
                    depth,
                    columns,
                    c,
                    ldc,
                    start,
                },
            );
        });
    }
}

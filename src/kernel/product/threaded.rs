//! Products of whole matrices shared out among the threads.

use super::super::path::KernelPath;
use super::super::pool::Pool;
use super::super::precision::Precision;
use super::super::workspace::{Buffer, View};
use super::pack::{PackPanel, PackRows};
use super::panels::Panels;
use super::rows::RowsProduct;

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
        numbers.div_ceil(self.precision.pair())
    }

    /// Packs a right operand of `numbers` along the depth and `columns` across; `from` is `(numbers, columns)`, or where
    /// `transposed`, `(columns, numbers)`.
    pub fn pack<'a>(
        &mut self,
        from: &[f32],
        transposed: bool,
        (numbers, columns): (usize, usize),
        to: &'a mut Buffer,
    ) -> View<'a> {
        assert_eq!(
            from.len(),
            numbers * columns,
            "a right operand has its depth times its columns"
        );
        let panels = Panels::new(columns, self.path.shape());
        let to = to.shared(panels.padded() * self.units(numbers));
        let (path, precision) = (self.path, self.precision);
        self.pool.run(panels.count(), &|_, index| {
            let panel = PackPanel {
                from,
                transposed,
                numbers,
                columns,
                to,
                index,
            };
            path.dispatch_in(precision, panel);
        });
        to.view()
    }

    /// The rows of a left operand as units: themselves, or rounded to bf16.
    pub fn rows<'a>(
        &mut self,
        from: View<'a>,
        shape: (usize, usize),
        to: &'a mut Buffer,
    ) -> View<'a> {
        let (rows, numbers) = shape;
        if self.precision == Precision::F32 || numbers == 0 {
            return from;
        }
        let to = to.shared(rows * self.units(numbers));
        let (path, precision) = (self.path, self.precision);
        self.pool.run(rows.div_ceil(TASK_ROWS), &|_, task| {
            let rows = task * TASK_ROWS..((task + 1) * TASK_ROWS).min(rows);
            let rows = PackRows {
                from,
                numbers,
                rows,
                to,
            };
            path.dispatch_in(precision, rows);
        });
        to.view()
    }

    /// `product` shared out by rows.
    pub fn product(&mut self, product: RowsProduct) {
        let (path, precision) = (self.path, self.precision);
        self.pool.run(product.rows.div_ceil(TASK_ROWS), &|_, task| {
            let first = task * TASK_ROWS;
            let rows = (product.rows - first).min(TASK_ROWS);
            path.dispatch_in(precision, product.part(first, rows));
        });
    }
}

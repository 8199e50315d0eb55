//! Products of whole matrices shared out among the threads, and the linear layer made of them.

#![allow(unsafe_code)]

use super::path::FormatTask;
use super::pool::Pool;
use super::product::{
    Format, Left, Output, PackPanel, Panels, ROWS, RowsProduct, Start, full_tile, pack_row,
};
use super::simd::Simd;
use super::workspace::{Buffer, Shared, part};
use super::{KernelPath, Kernels, Precision};

/// Rows of the left operand in one task; a multiple of the register kernel's.
const TASK_ROWS: usize = 48;

/// Lines along the depth of a weight gradient that are taken at a time, so that a panel stays in the first-level cache.
const CHUNK: usize = 256;

/// Groups of [`ROWS`] rows of a weight gradient in one task, about.
const TASK_GROUPS: usize = 8;

/// What the products keep from call to call.
#[derive(Default)]
pub(super) struct ProductWorkspace {
    units: Buffer,
    right: Buffer,
    chunk: Buffer,
    pub losses: Buffer,
}

/// The means to run products: threads, path and operand format.
pub(super) struct Products<'a> {
    pub pool: &'a mut Pool,
    pub path: KernelPath,
    pub precision: Precision,
}

/// A packed right operand of a weight gradient, and where its product goes.
#[derive(Clone, Copy)]
pub(super) struct Right {
    pub packed: Shared,
    pub columns: usize,
    /// `(rows of the gradient, columns)`
    pub to: Shared,
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

    /// `dyᵀ · right` for each of `rights`, and the column sums of `dy` into `db`. `dy` is `(positions, db.len())`; all
    /// outputs are overwritten.
    pub fn weight_gradient(
        &mut self,
        dy: &[f32],
        rights: &[Right],
        db: &mut [f32],
        chunk: &mut Buffer,
    ) {
        let rows = db.len();
        let positions = dy.len() / rows;
        let groups = rows.div_ceil(ROWS);
        let tasks = groups.div_ceil(TASK_GROUPS).next_multiple_of(4).min(groups);
        let stride = (groups.div_ceil(tasks) + 1) * ROWS * CHUNK;
        let chunk = chunk.shared(self.pool.threads() * stride);
        let db = Shared::of(db);
        let (path, precision) = (self.path, self.precision);
        self.pool.run(tasks, &|worker, task| {
            // SAFETY: the worker's own part of the buffer.
            let chunk = Shared(unsafe { chunk.at(worker * stride) });
            let groups = part(groups, tasks, task);
            path.dispatch_in(
                precision,
                WeightGradient {
                    dy,
                    rows,
                    positions,
                    groups,
                    rights,
                    db,
                    chunk,
                },
            );
        });
    }
}

/// Some rows of a left operand turned into units.
struct PackRows {
    from: Shared,
    numbers: usize,
    rows: std::ops::Range<usize>,
    to: Shared,
}

impl FormatTask for PackRows {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self) {
        let units = self.numbers.div_ceil(M::PAIR);
        for row in self.rows {
            // SAFETY: `row` is below the number of rows that both buffers hold.
            unsafe {
                pack_row::<S, M>(
                    self.from.at(row * self.numbers),
                    self.numbers,
                    self.to.at(row * units),
                )
            };
        }
    }
}

/// Some rows of a weight gradient.
struct WeightGradient<'a> {
    dy: &'a [f32],
    rows: usize,
    positions: usize,
    groups: std::ops::Range<usize>,
    rights: &'a [Right],
    db: Shared,
    chunk: Shared,
}

impl FormatTask for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self) {
        let depth = self.positions.div_ceil(M::PAIR);
        let own = self.groups.start * ROWS..(self.groups.end * ROWS).min(self.rows);
        // SAFETY: these rows of the outputs belong to this task alone.
        let db = unsafe { self.db.slice(own.start, own.len()) };
        db.fill(0.0);
        if depth == 0 {
            for right in self.rights {
                // SAFETY: as above.
                unsafe {
                    right
                        .to
                        .slice(own.start * right.columns, own.len() * right.columns)
                }
                .fill(0.0);
            }
        }
        for first in (0..depth).step_by(CHUNK) {
            let lines = first..(first + CHUNK).min(depth);
            for position in lines.start * M::PAIR..(lines.end * M::PAIR).min(self.positions) {
                let dy = &self.dy[position * self.rows..][own.clone()];
                db.iter_mut().zip(dy).for_each(|(db, dy)| *db += dy);
            }
            // SAFETY: the chunk holds the groups times CHUNK lines; panels and outputs have the extents of `rights`.
            unsafe {
                self.pack_chunk::<M>(lines.clone(), own.clone());
                for right in self.rights {
                    let panels = Panels::of::<S>(right.columns);
                    for p in 0..panels.count() {
                        let width = panels.width(p);
                        let b = right.packed.at(p * panels.panel * depth + first * width);
                        for (at, group) in self.groups.clone().enumerate() {
                            let a = self.chunk.at(at * CHUNK * ROWS);
                            let left = Left {
                                a,
                                lda: ROWS,
                                outer: 1,
                                stride: 0,
                                inner: lines.len(),
                            };
                            let out = Output {
                                c: right.to.at(group * ROWS * right.columns + p * panels.panel),
                                ldc: right.columns,
                                rows: self.rows - group * ROWS,
                                columns: panels.valid(p),
                            };
                            let start = if first == 0 { Start::Zero } else { Start::Add };
                            full_tile::<S, M, true>(width / S::LANES, left, b, out, start);
                        }
                    }
                }
            }
        }
    }
}

impl WeightGradient<'_> {
    /// Some lines of `dy`, this task's columns, regrouped so that a register kernel reads straight through.
    #[inline(always)]
    unsafe fn pack_chunk<M: Format>(
        &self,
        lines: std::ops::Range<usize>,
        own: std::ops::Range<usize>,
    ) {
        let value = |position: usize, row: usize| {
            if position < self.positions && row < own.end {
                self.dy[position * self.rows + row]
            } else {
                0.0
            }
        };
        for (line, at) in lines.clone().enumerate() {
            let position = at * M::PAIR;
            for (group, first) in own.clone().step_by(ROWS).enumerate() {
                // SAFETY: the caller's chunk has room for every group and line.
                let to = unsafe { self.chunk.slice((group * CHUNK + line) * ROWS, ROWS) };
                if M::PAIR == 1 && first + ROWS <= own.end {
                    to.copy_from_slice(&self.dy[position * self.rows + first..][..ROWS]);
                    continue;
                }
                for (i, to) in to.iter_mut().enumerate() {
                    let high = if M::PAIR == 2 {
                        value(position + 1, first + i)
                    } else {
                        0.0
                    };
                    *to = M::unit(value(position, first + i), high);
                }
            }
        }
    }
}

impl Kernels {
    /// `y = x · Wᵀ + bias`: `x` is `(N, I)`, `w` `(O, I)`, `bias` `(O)`, `y` `(N, O)`.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn linear_forward(
        &mut self,
        precision: Precision,
        x: &[f32],
        w: &[f32],
        bias: &[f32],
        y: &mut [f32],
    ) {
        let (outputs, inputs, positions) = linear_shape(w, bias.len(), y.len());
        assert_eq!(x.len(), positions * inputs, "x is (N, I)");
        let ProductWorkspace { units, right, .. } = &mut self.product;
        let mut products = Products {
            pool: &mut self.pool,
            path: self.path,
            precision,
        };
        let b = products.pack(w, true, inputs, outputs, right);
        let a = products.rows(x, inputs, units);
        let depth = products.units(inputs);
        products.product(RowsProduct {
            a: a.0,
            lda: depth,
            rows: positions,
            b: b.0,
            depth,
            columns: outputs,
            c: y.as_mut_ptr(),
            ldc: outputs,
            start: Start::Bias(bias.as_ptr()),
        });
    }

    /// Gradients of [`linear_forward`](Kernels::linear_forward) from `dy` `(N, O)`; `dx`, `dw` and `db`, shaped like `x`,
    /// `w` and the bias, are overwritten.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    #[allow(clippy::too_many_arguments)]
    pub fn linear_backward(
        &mut self,
        precision: Precision,
        x: &[f32],
        w: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        dw: &mut [f32],
        db: &mut [f32],
    ) {
        let (outputs, inputs, positions) = linear_shape(w, db.len(), dy.len());
        assert_eq!(
            (x.len(), dx.len(), dw.len()),
            (positions * inputs, positions * inputs, w.len()),
            "x is (N, I)"
        );
        let ProductWorkspace {
            units,
            right,
            chunk,
            ..
        } = &mut self.product;
        let mut products = Products {
            pool: &mut self.pool,
            path: self.path,
            precision,
        };
        let b = products.pack(w, false, outputs, inputs, right);
        let a = products.rows(dy, outputs, units);
        let depth = products.units(outputs);
        products.product(RowsProduct {
            a: a.0,
            lda: depth,
            rows: positions,
            b: b.0,
            depth,
            columns: inputs,
            c: dx.as_mut_ptr(),
            ldc: inputs,
            start: Start::Zero,
        });
        let packed = products.pack(x, false, positions, inputs, right);
        let right = Right {
            packed,
            columns: inputs,
            to: Shared::of(dw),
        };
        products.weight_gradient(dy, &[right], db, chunk);
    }
}

/// Outputs, inputs and positions of a linear layer.
fn linear_shape(w: &[f32], outputs: usize, y: usize) -> (usize, usize, usize) {
    assert!(
        outputs > 0 && w.len().is_multiple_of(outputs) && y.is_multiple_of(outputs),
        "w is (O, I), y (N, O) and the bias (O)"
    );
    (outputs, w.len() / outputs, y / outputs)
}

#[cfg(test)]
mod tests {
    use super::super::reference::{self, Numbers};
    use super::*;

    #[test]
    fn values_and_gradients_agree_with_f64_on_every_path_and_odd_shape() {
        for (n, inputs, outputs) in [
            (1, 1, 1),
            (7, 5, 3),
            (50, 128, 88),
            (601, 33, 70),
            (13, 300, 19),
            (600, 16, 65),
        ] {
            let mut numbers = Numbers::new(3);
            let (x, w) = (
                numbers.vector(n * inputs, 1.0),
                numbers.vector(outputs * inputs, 1.0),
            );
            let (bias, dy) = (
                numbers.vector(outputs, 1.0),
                numbers.vector(n * outputs, 1.0),
            );
            let truth = reference::linear(&x, &w, &bias, &dy);
            for path in KernelPath::testable() {
                for (precision, tolerance) in [(Precision::F32, 3e-6), (Precision::Bf16, 1.5e-2)] {
                    let mut first: Option<[Vec<f32>; 4]> = None;
                    for threads in [1, 2, 3] {
                        let mut kernels = Kernels::new(path, threads);
                        let mut found =
                            [dy.len(), x.len(), w.len(), outputs].map(|len| vec![f32::NAN; len]);
                        let [y, dx, dw, db] = &mut found;
                        kernels.linear_forward(precision, &x, &w, &bias, y);
                        kernels.linear_backward(precision, &x, &w, &dy, dx, dw, db);
                        let name =
                            format!("{} {precision:?} {n} x {inputs} x {outputs}", path.name());
                        for (found, truth) in found.iter().zip(&truth) {
                            reference::assert_close(found, truth, tolerance, &name);
                        }
                        assert!(
                            first.as_ref().is_none_or(|first| *first == found),
                            "{name}: {threads} threads differ"
                        );
                        first = Some(found);
                    }
                }
            }
        }
    }
}

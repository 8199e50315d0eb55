//! The gradient of a weight: the product of two operands along their positions.

#![allow(unsafe_code)]

use super::super::dispatch::FormatTask;
use super::super::simd::Simd;
use super::super::workspace::{Buffer, Shared, View, part};
use super::format::Format;
use super::panels::Panels;
use super::threaded::Products;
use super::tile::{Left, Output, ROWS, Start, full_tile};

/// Lines along the depth of a weight gradient that are taken at a time, so that a panel stays in the first-level cache.
const CHUNK: usize = 256;

/// Groups of [`ROWS`] rows of a weight gradient in one task, about.
const TASK_GROUPS: usize = 8;

/// A packed right operand of a weight gradient, and where its product goes.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Right<'a> {
    pub packed: View<'a>,
    pub columns: usize,
    /// `(rows of the gradient, columns)`
    pub to: Shared<'a>,
}

impl Products<'_> {
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
            let gradient = WeightGradient {
                dy,
                rows,
                positions,
                groups: part(groups, tasks, task),
                rights,
                db,
                chunk: chunk.part(worker * stride, stride),
            };
            path.dispatch_in(precision, gradient);
        });
    }
}

/// Some rows of a weight gradient.
struct WeightGradient<'a> {
    dy: &'a [f32],
    rows: usize,
    positions: usize,
    groups: std::ops::Range<usize>,
    rights: &'a [Right<'a>],
    db: Shared<'a>,
    /// The worker's own.
    chunk: Shared<'a>,
}

impl FormatTask for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self, s: S) {
        let depth = self.positions.div_ceil(M::PAIR);
        let own = self.groups.start * ROWS..(self.groups.end * ROWS).min(self.rows);
        // SAFETY: these rows of the outputs belong to this task alone.
        let db = unsafe { self.db.slice(own.start, own.len()) };
        db.fill(0.0);
        if depth == 0 {
            for right in self.rights {
                let (first, count) = (own.start * right.columns, own.len() * right.columns);
                // SAFETY: as above.
                unsafe { right.to.slice(first, count) }.fill(0.0);
            }
        }
        for first in (0..depth).step_by(CHUNK) {
            let lines = first..(first + CHUNK).min(depth);
            for position in lines.start * M::PAIR..(lines.end * M::PAIR).min(self.positions) {
                let dy = &self.dy[position * self.rows..][own.clone()];
                db.iter_mut().zip(dy).for_each(|(db, dy)| *db += dy);
            }
            self.pack_chunk::<M>(lines.clone(), own.clone());
            for right in self.rights {
                self.add_lines::<S, M>(s, right, lines.clone(), depth);
            }
        }
    }
}

impl WeightGradient<'_> {
    /// Adds the product of the chunk, which holds some lines of `dy`, with those lines of `right`.
    #[inline(always)]
    fn add_lines<S: Simd, M: Format>(
        &self,
        s: S,
        right: &Right,
        lines: std::ops::Range<usize>,
        depth: usize,
    ) {
        let start = match lines.start {
            0 => Start::Zero,
            _ => Start::Add,
        };
        let panels = Panels::of::<S>(right.columns);
        for p in 0..panels.count() {
            let width = panels.width(p);
            let b = right
                .packed
                .at(p * panels.panel * depth + lines.start * width);
            for (at, group) in self.groups.clone().enumerate() {
                let left = Left {
                    a: self.chunk.at(at * CHUNK * ROWS),
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
                // SAFETY: the chunk holds each group's lines, the panel as many; these rows of the output are this task's.
                unsafe { full_tile::<S, M, true>(s, width / S::LANES, left, b, out, start) };
            }
        }
    }

    /// Some lines of `dy`, this task's columns, regrouped so that a register kernel reads straight through.
    #[inline(always)]
    fn pack_chunk<M: Format>(&self, lines: std::ops::Range<usize>, own: std::ops::Range<usize>) {
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
                // SAFETY: a line of a group in the worker's own chunk.
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

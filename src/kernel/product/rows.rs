//! A product by rows of its left operand: the inputs of a layer, and each step of a recurrent one.

#![allow(unsafe_code)]

use super::super::dispatch::FormatTask;
use super::super::simd::Simd;
use super::super::workspace::{Shared, View, part};
use super::format::Format;
use super::panels::Panels;
use super::tile::{Left, Output, ROWS, Start, tile_of};

/// Steps of depth after which a kernel moves on to the next tile, so that a panel stays in the first-level cache.
const DEPTH_CHUNK: usize = 256;

/// `C = start + A · B`: `A` in rows of units, `B` packed.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct RowsProduct<'a> {
    pub a: View<'a>,
    pub lda: usize,
    pub rows: usize,
    pub b: View<'a>,
    /// Units along the depth.
    pub depth: usize,
    pub columns: usize,
    pub c: Shared<'a>,
    pub ldc: usize,
    pub start: Start<'a>,
}

impl<'a> RowsProduct<'a> {
    /// `count` rows from `first`.
    pub fn part(self, first: usize, count: usize) -> Self {
        let within = |stride: usize, width: usize| match count {
            0 => 0,
            _ => (count - 1) * stride + width,
        };
        Self {
            a: self.a.part(first * self.lda, within(self.lda, self.depth)),
            c: self
                .c
                .part(first * self.ldc, within(self.ldc, self.columns)),
            rows: count,
            ..self
        }
    }
}

impl FormatTask for RowsProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self, s: S) {
        let panels = Panels::of::<S>(self.columns);
        let groups = self.rows.div_ceil(ROWS);
        let mut first = 0;
        loop {
            let inner = (self.depth - first).min(DEPTH_CHUNK);
            for p in 0..panels.count() {
                let width = panels.width(p);
                for group in 0..groups {
                    // Groups of nearly equal size: a lone last row would cost as much as three.
                    let rows = part(self.rows, groups, group);
                    let left = Left {
                        a: self.a.at(rows.start * self.lda + first),
                        lda: self.lda,
                        outer: 1,
                        stride: 0,
                        inner,
                    };
                    let b = self.b.at(p * panels.panel * self.depth + first * width);
                    let out = Output {
                        c: self.c.at(rows.start * self.ldc + p * panels.panel),
                        ldc: self.ldc,
                        rows: rows.len(),
                        columns: panels.valid(p),
                    };
                    let start = match self.start {
                        _ if first > 0 => Start::Add,
                        Start::Bias(bias) => Start::Bias(&bias[p * panels.panel..]),
                        other => other,
                    };
                    let vectors = width / S::LANES;
                    // SAFETY: rows and columns of the operands, as many as there are; whoever made the product gave rows of `c` that
                    // are written here alone.
                    unsafe {
                        match rows.len() {
                            6 => tile_of::<S, M, 6, false>(s, vectors, left, b, out, start),
                            5 => tile_of::<S, M, 5, false>(s, vectors, left, b, out, start),
                            4 => tile_of::<S, M, 4, false>(s, vectors, left, b, out, start),
                            3 => tile_of::<S, M, 3, false>(s, vectors, left, b, out, start),
                            2 => tile_of::<S, M, 2, false>(s, vectors, left, b, out, start),
                            _ => tile_of::<S, M, 1, false>(s, vectors, left, b, out, start),
                        }
                    }
                }
            }
            first += inner;
            if first >= self.depth {
                return;
            }
        }
    }
}

//! A product by rows of its left operand: the inputs of a layer, and each step of a recurrent one.

#![allow(unsafe_code)]

use super::super::path::FormatTask;
use super::super::simd::Simd;
use super::super::workspace::part;
use super::tile::tile_of;
use super::{Format, Left, Output, Panels, ROWS, Start};

/// Steps of depth after which a kernel moves on to the next tile, so that a panel stays in the first-level cache.
const DEPTH_CHUNK: usize = 256;

/// `C = start + A · B`: `A` in rows of units, `B` packed.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct RowsProduct {
    pub a: *const f32,
    pub lda: usize,
    pub rows: usize,
    pub b: *const f32,
    /// Units along the depth.
    pub depth: usize,
    pub columns: usize,
    pub c: *mut f32,
    pub ldc: usize,
    pub start: Start,
}

impl FormatTask for RowsProduct {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self) {
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
                    // SAFETY: row and column ranges lie within the extents that the caller gave.
                    unsafe {
                        let left = Left {
                            a: self.a.add(rows.start * self.lda + first),
                            lda: self.lda,
                            outer: 1,
                            stride: 0,
                            inner,
                        };
                        let b = self.b.add(p * panels.panel * self.depth + first * width);
                        let out = Output {
                            c: self.c.add(rows.start * self.ldc + p * panels.panel),
                            ldc: self.ldc,
                            rows: rows.len(),
                            columns: panels.valid(p),
                        };
                        let start = match self.start {
                            _ if first > 0 => Start::Add,
                            Start::Bias(bias) => Start::Bias(bias.add(p * panels.panel)),
                            other => other,
                        };
                        let vectors = width / S::LANES;
                        match rows.len() {
                            6 => tile_of::<S, M, 6, false>(vectors, left, b, out, start),
                            5 => tile_of::<S, M, 5, false>(vectors, left, b, out, start),
                            4 => tile_of::<S, M, 4, false>(vectors, left, b, out, start),
                            3 => tile_of::<S, M, 3, false>(vectors, left, b, out, start),
                            2 => tile_of::<S, M, 2, false>(vectors, left, b, out, start),
                            _ => tile_of::<S, M, 1, false>(vectors, left, b, out, start),
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

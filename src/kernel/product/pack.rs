//! Operands turned into the units, rows and panels that the register kernels read.

#![allow(unsafe_code)]
// Contract of the file: the path's features are there (see `simd.rs`), and every pointer is valid for the extents that
// come with it. The callers compute both from the same shapes, and check those against the slices that they were given.
#![allow(unsafe_op_in_unsafe_fn)]

use super::super::path::FormatTask;
use super::super::simd::Simd;
use super::super::workspace::Shared;
use super::{Format, Panels};

/// Packs a panel whose columns are the rows of `from`: `valid` rows of `numbers` numbers, `stride` apart; the columns
/// from `valid` to `width` become zero. `width` is whole vectors.
#[inline(always)]
pub(in crate::kernel) unsafe fn pack_columns<S: Simd, M: Format>(
    from: *const f32,
    stride: usize,
    numbers: usize,
    valid: usize,
    width: usize,
    to: *mut f32,
) {
    let depth = numbers.div_ceil(M::PAIR);
    // Squares of units first, turned around in registers.
    let squares = numbers / M::PAIR / S::LANES * S::LANES;
    for first in (0..width).step_by(S::LANES) {
        let mut done = 0;
        if first + S::LANES <= valid {
            for d in (0..squares).step_by(S::LANES) {
                let rows = from.add(first * stride + d * M::PAIR);
                let to = to.add(d * width + first);
                if M::PAIR == 1 {
                    S::transpose(rows, stride, to, width);
                } else {
                    let mut rounded = [0.0f32; 256];
                    for row in 0..S::LANES {
                        let units = rounded.as_mut_ptr().add(row * S::LANES);
                        pack_row::<S, M>(rows.add(row * stride), 2 * S::LANES, units);
                    }
                    S::transpose(rounded.as_ptr(), S::LANES, to, width);
                }
            }
            done = squares;
        }
        for column in first..first + S::LANES {
            for d in done..depth {
                let (mut low, mut high) = (0.0, 0.0);
                if column < valid {
                    let number = from.add(column * stride + d * M::PAIR);
                    low = *number;
                    if M::PAIR == 2 && d * 2 + 1 < numbers {
                        high = *number.add(1);
                    }
                }
                *to.add(d * width + column) = M::unit(low, high);
            }
        }
    }
}

/// Packs a panel whose lines are the rows of `from`: `numbers` rows, `stride` apart, `valid` columns of them; the columns
/// from `valid` to `width` and the lines from there to `depth` become zero. `width` is whole vectors.
#[inline(always)]
pub(in crate::kernel) unsafe fn pack_lines<S: Simd, M: Format>(
    from: *const f32,
    stride: usize,
    numbers: usize,
    depth: usize,
    valid: usize,
    width: usize,
    to: *mut f32,
) {
    for d in 0..depth {
        let row = d * M::PAIR;
        let mut column = 0;
        while column < width {
            let count = valid.saturating_sub(column);
            let low = if row < numbers {
                S::load_up_to(from.add(row * stride + column), count)
            } else {
                S::zero()
            };
            let high = if M::PAIR == 2 && row + 1 < numbers {
                S::load_up_to(from.add((row + 1) * stride + column), count)
            } else {
                S::zero()
            };
            S::store(to.add(d * width + column), M::pack::<S>(low, high));
            column += S::LANES;
        }
    }
}

/// Turns a row of `numbers` numbers into units, the last one filled up with zero.
#[inline(always)]
pub(in crate::kernel) unsafe fn pack_row<S: Simd, M: Format>(
    from: *const f32,
    numbers: usize,
    to: *mut f32,
) {
    let mut at = 0;
    while at + S::LANES <= numbers {
        if M::PAIR == 1 {
            S::store(to.add(at), S::load(from.add(at)));
        } else {
            S::store_bf16(to.cast::<u16>().add(at), S::load(from.add(at)));
        }
        at += S::LANES;
    }
    while at < numbers {
        let high = if M::PAIR == 2 && at + 1 < numbers {
            *from.add(at + 1)
        } else {
            0.0
        };
        *to.add(at / M::PAIR) = M::unit(*from.add(at), high);
        at += M::PAIR;
    }
}

/// Packs a right operand, one panel a task.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct PackPanel {
    pub from: *const f32,
    /// Whether columns of the product are rows of `from`.
    pub transposed: bool,
    /// Numbers along the depth.
    pub numbers: usize,
    pub columns: usize,
    pub to: Shared,
    pub index: usize,
}

impl FormatTask for PackPanel {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self) {
        let panels = Panels::of::<S>(self.columns);
        let depth = self.numbers.div_ceil(M::PAIR);
        let first = self.index * panels.panel;
        let (valid, width) = (panels.valid(self.index), panels.width(self.index));
        // SAFETY: `from` holds `numbers × columns` numbers and `to` has room for all panels, as the caller saw to.
        unsafe {
            let to = self.to.at(first * depth);
            if self.transposed {
                pack_columns::<S, M>(
                    self.from.add(first * self.numbers),
                    self.numbers,
                    self.numbers,
                    valid,
                    width,
                    to,
                );
            } else {
                pack_lines::<S, M>(
                    self.from.add(first),
                    self.columns,
                    self.numbers,
                    depth,
                    valid,
                    width,
                    to,
                );
            }
        }
    }
}

/// Some rows of a left operand turned into units.
pub(super) struct PackRows {
    pub from: Shared,
    pub numbers: usize,
    pub rows: std::ops::Range<usize>,
    pub to: Shared,
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

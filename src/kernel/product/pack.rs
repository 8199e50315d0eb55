//! Operands turned into the units, rows and panels that the register kernels read.

#![allow(unsafe_code)]

use super::super::dispatch::FormatTask;
use super::super::simd::Simd;
use super::super::workspace::{Shared, View};
use super::format::Format;
use super::panels::Panels;

/// A block of a row-major matrix, to be packed as one panel.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Block {
    /// Its first number.
    pub from: *const f32,
    /// From one row to the next.
    pub stride: usize,
    /// Numbers along the panel's depth.
    pub numbers: usize,
    /// Columns of the panel that there are.
    pub valid: usize,
    /// Columns of the panel in whole vectors; those from `valid` on become zero.
    pub width: usize,
}

/// Packs a panel whose columns are the rows of `block`: `valid` rows of `numbers` numbers.
///
/// # Safety
/// The block can be read, and `numbers` in units times `width` floats written to `to`.
#[inline(always)]
pub(in crate::kernel) unsafe fn pack_columns<S: Simd, M: Format>(s: S, block: Block, to: *mut f32) {
    let Block {
        from,
        stride,
        numbers,
        valid,
        width,
    } = block;
    let depth = numbers.div_ceil(M::PAIR);
    // Squares of units first, turned around in registers.
    let squares = numbers / M::PAIR / S::LANES * S::LANES;
    for first in (0..width).step_by(S::LANES) {
        let mut done = 0;
        if first + S::LANES <= valid {
            for d in (0..squares).step_by(S::LANES) {
                // SAFETY: `LANES` rows of as many whole units within the block, and their places in the panel.
                unsafe {
                    let rows = from.add(first * stride + d * M::PAIR);
                    let to = to.add(d * width + first);
                    if M::PAIR == 1 {
                        s.transpose(rows, stride, to, width);
                    } else {
                        let mut rounded = [0.0f32; 256];
                        for row in 0..S::LANES {
                            let units = rounded.as_mut_ptr().add(row * S::LANES);
                            pack_row::<S, M>(s, rows.add(row * stride), 2 * S::LANES, units);
                        }
                        s.transpose(rounded.as_ptr(), S::LANES, to, width);
                    }
                }
            }
            done = squares;
        }
        for column in first..first + S::LANES {
            for d in done..depth {
                let (mut low, mut high) = (0.0, 0.0);
                if column < valid {
                    // SAFETY: a number of the block, and the next one where there is one.
                    unsafe {
                        let number = from.add(column * stride + d * M::PAIR);
                        low = *number;
                        if M::PAIR == 2 && d * 2 + 1 < numbers {
                            high = *number.add(1);
                        }
                    }
                }
                // SAFETY: within the panel.
                unsafe { *to.add(d * width + column) = M::unit(low, high) };
            }
        }
    }
}

/// Packs a panel whose lines are the rows of `block`: `numbers` rows, `valid` columns of them; the lines from there to `depth` become
/// zero.
///
/// # Safety
/// The block can be read, and `depth` times `width` floats written to `to`.
#[inline(always)]
pub(in crate::kernel) unsafe fn pack_lines<S: Simd, M: Format>(
    s: S,
    block: Block,
    depth: usize,
    to: *mut f32,
) {
    for d in 0..depth {
        let row = d * M::PAIR;
        let mut column = 0;
        while column < block.width {
            let count = block.valid.saturating_sub(column);
            let load = |row: usize| {
                if row < block.numbers {
                    let from = block.from.wrapping_add(row * block.stride + column);
                    // SAFETY: `count` numbers of this row of the block, perhaps none.
                    unsafe { s.load_up_to(from, count) }
                } else {
                    s.zero()
                }
            };
            let low = load(row);
            let high = if M::PAIR == 2 {
                load(row + 1)
            } else {
                s.zero()
            };
            // SAFETY: a vector of this line of the panel.
            unsafe { s.store(to.add(d * block.width + column), M::pack(s, low, high)) };
            column += S::LANES;
        }
    }
}

/// Turns a row of `numbers` numbers into units, the last one filled up with zero.
///
/// # Safety
/// The numbers can be read from `from`, and as many units written to `to`.
#[inline(always)]
pub(in crate::kernel) unsafe fn pack_row<S: Simd, M: Format>(
    s: S,
    from: *const f32,
    numbers: usize,
    to: *mut f32,
) {
    let mut at = 0;
    while at + S::LANES <= numbers {
        // SAFETY: a whole vector is left of the row.
        unsafe {
            let vector = s.load(from.add(at));
            if M::PAIR == 1 {
                s.store(to.add(at), vector);
            } else {
                s.store_bf16(to.cast::<u16>().add(at), vector);
            }
        }
        at += S::LANES;
    }
    while at < numbers {
        // SAFETY: the number at `at`, the next one where there is one, and their unit.
        unsafe {
            let high = if M::PAIR == 2 && at + 1 < numbers {
                *from.add(at + 1)
            } else {
                0.0
            };
            *to.add(at / M::PAIR) = M::unit(*from.add(at), high);
        }
        at += M::PAIR;
    }
}

/// Packs a right operand, one panel a task.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct PackPanel<'a> {
    pub from: &'a [f32],
    /// Whether columns of the product are rows of `from`.
    pub transposed: bool,
    /// Numbers along the depth.
    pub numbers: usize,
    pub columns: usize,
    pub to: Shared<'a>,
    pub index: usize,
}

impl FormatTask for PackPanel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self, s: S) {
        let panels = Panels::of::<S>(self.columns);
        let depth = self.numbers.div_ceil(M::PAIR);
        let first = self.index * panels.panel;
        let (valid, width) = (panels.valid(self.index), panels.width(self.index));
        let to = self.to.part(first * depth, width * depth).at(0);
        let (start, stride) = match self.transposed {
            true => (first * self.numbers, self.numbers),
            false => (first, self.columns),
        };
        let block = Block {
            from: self.from[start.min(self.from.len())..].as_ptr(),
            stride,
            numbers: self.numbers,
            valid,
            width,
        };
        // SAFETY: `from` holds `numbers × columns` numbers, and the part of `to` is this task's.
        unsafe {
            if self.transposed {
                pack_columns::<S, M>(s, block, to);
            } else {
                pack_lines::<S, M>(s, block, depth, to);
            }
        }
    }
}

/// Some rows of a left operand turned into units.
pub(super) struct PackRows<'a> {
    pub from: View<'a>,
    pub numbers: usize,
    pub rows: std::ops::Range<usize>,
    pub to: Shared<'a>,
}

impl FormatTask for PackRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self, s: S) {
        let units = self.numbers.div_ceil(M::PAIR);
        for row in self.rows {
            let from = self.from.part(row * self.numbers, self.numbers).at(0);
            let to = self.to.part(row * units, units).at(0);
            // SAFETY: a row of either, which only this task writes.
            unsafe { pack_row::<S, M>(s, from, self.numbers, to) };
        }
    }
}

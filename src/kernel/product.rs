//! Matrix products: operand formats, packing, and the register kernels that everything large is made of.
//!
//! A *unit* is four bytes along a product's depth: one f32, or a pair of bf16 numbers. The right operand is packed in
//! *panels*: some columns wide, one line of units per step of depth, so that a kernel reads it straight through. A kernel
//! keeps `MR × NV` vectors of sums in registers; each sum is one chain over the depth, so its bits do not depend on how
//! rows and columns are cut.

#![allow(unsafe_code)]
// Contract of the file: the path's features are there (see `simd.rs`), and every pointer is valid for the extents that
// come with it. The callers compute both from the same shapes, and check those against the slices that they were given.
#![allow(unsafe_op_in_unsafe_fn)]
// Indices name the rows and vectors of a register tile.
#![allow(clippy::needless_range_loop)]

use super::path::{FormatTask, Shape};
use super::simd::{Simd, bf16_bits};
use super::workspace::Shared;

/// Rows of a register kernel.
pub(super) const ROWS: usize = 6;

/// Steps of depth after which a kernel moves on to the next tile, so that a panel stays in the first-level cache.
const DEPTH_CHUNK: usize = 256;

/// How the operands of a product are held.
pub(super) trait Format: Copy + Send + Sync + 'static {
    /// Numbers in a unit.
    const PAIR: usize;
    /// A unit's bits; `high` is ignored where a unit is one number.
    fn unit(low: f32, high: f32) -> f32;
    /// A vector of units.
    unsafe fn pack<S: Simd>(low: S::F, high: S::F) -> S::F;
    /// `acc + a · b`, over the numbers of the units.
    unsafe fn mac<S: Simd>(acc: S::F, a: S::F, b: S::F) -> S::F;
    /// What is left of a number once it has been in a unit.
    unsafe fn rounded<S: Simd>(value: S::F) -> S::F;
}

/// One f32 per unit.
#[derive(Clone, Copy)]
pub(super) struct F32;

/// Two bf16 numbers per unit.
#[derive(Clone, Copy)]
pub(super) struct Bf16;

impl Format for F32 {
    const PAIR: usize = 1;
    #[inline(always)]
    fn unit(low: f32, _high: f32) -> f32 {
        low
    }
    #[inline(always)]
    unsafe fn pack<S: Simd>(low: S::F, _high: S::F) -> S::F {
        low
    }
    #[inline(always)]
    unsafe fn mac<S: Simd>(acc: S::F, a: S::F, b: S::F) -> S::F {
        S::fma(a, b, acc)
    }
    #[inline(always)]
    unsafe fn rounded<S: Simd>(value: S::F) -> S::F {
        value
    }
}

impl Format for Bf16 {
    const PAIR: usize = 2;
    #[inline(always)]
    fn unit(low: f32, high: f32) -> f32 {
        f32::from_bits(u32::from(bf16_bits(low)) | u32::from(bf16_bits(high)) << 16)
    }
    #[inline(always)]
    unsafe fn pack<S: Simd>(low: S::F, high: S::F) -> S::F {
        S::pack_pairs(low, high)
    }
    #[inline(always)]
    unsafe fn mac<S: Simd>(acc: S::F, a: S::F, b: S::F) -> S::F {
        S::dot_pairs(acc, a, b)
    }
    #[inline(always)]
    unsafe fn rounded<S: Simd>(value: S::F) -> S::F {
        S::low_half(S::pack_pairs(value, value))
    }
}

/// Packs a panel whose columns are the rows of `from`: `valid` rows of `numbers` numbers, `stride` apart; the columns
/// from `valid` to `width` become zero. `width` is whole vectors.
#[inline(always)]
pub(super) unsafe fn pack_columns<S: Simd, M: Format>(
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
pub(super) unsafe fn pack_lines<S: Simd, M: Format>(
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
pub(super) unsafe fn pack_row<S: Simd, M: Format>(from: *const f32, numbers: usize, to: *mut f32) {
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

/// `acc += A · B` over `outer × inner` steps of depth: the innermost loop of every product.
///
/// `B` is a panel, read straight through. Row `i` of `A` at a step is `a[i * lda + step]`, or, where `TRANSPOSED`,
/// `a[step * lda + i]`; after every `inner` steps `A` moves by `stride`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn accumulate<
    S: Simd,
    M: Format,
    const MR: usize,
    const NV: usize,
    const TRANSPOSED: bool,
>(
    acc: &mut [[S::F; NV]; MR],
    a: *const f32,
    lda: usize,
    outer: usize,
    stride: usize,
    inner: usize,
    b: *const f32,
) {
    let mut b = b;
    for o in 0..outer {
        let mut a = a.add(o * stride);
        for _ in 0..inner {
            let mut line = [S::zero(); NV];
            for j in 0..NV {
                line[j] = S::load(b.add(j * S::LANES));
            }
            for i in 0..MR {
                let value = S::splat(*a.add(if TRANSPOSED { i } else { i * lda }));
                for j in 0..NV {
                    acc[i][j] = M::mac::<S>(acc[i][j], value, line[j]);
                }
            }
            b = b.add(NV * S::LANES);
            a = a.add(if TRANSPOSED { lda } else { 1 });
        }
    }
}

/// What a tile of sums starts from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    /// Nothing.
    Zero,
    /// What the output holds.
    Add,
    /// A bias for each column; the pointer is to the first column of the whole output.
    Bias(*const f32),
}

// SAFETY: an address that is only read, while the slice behind it is borrowed by the op that runs the tasks.
unsafe impl Send for Start {}
// SAFETY: as above.
unsafe impl Sync for Start {}

/// Where a tile reads its left operand, see [`accumulate`].
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub a: *const f32,
    pub lda: usize,
    pub outer: usize,
    pub stride: usize,
    pub inner: usize,
}

/// Where a tile writes: `rows × columns` numbers, rows `ldc` apart.
#[derive(Clone, Copy)]
pub(super) struct Output {
    pub c: *mut f32,
    pub ldc: usize,
    pub rows: usize,
    pub columns: usize,
}

/// One tile of a product: sums started, accumulated and stored.
#[inline(always)]
unsafe fn tile<S: Simd, M: Format, const MR: usize, const NV: usize, const TRANSPOSED: bool>(
    left: Left,
    b: *const f32,
    out: Output,
    start: Start,
) {
    let width = NV * S::LANES;
    let whole = out.rows >= MR && out.columns >= width;
    // A tile that reaches over the edge is worked on in a place of its own.
    let mut aside = std::mem::MaybeUninit::<[f32; ROWS * 64]>::uninit();
    let (c, ldc) = if whole {
        (out.c, out.ldc)
    } else {
        (aside.as_mut_ptr().cast::<f32>(), width)
    };
    let rows = out.rows.min(MR);
    let columns = out.columns.min(width);
    let (mut from, mut stride) = match start {
        Start::Zero => (std::ptr::null(), 0),
        Start::Add => (out.c.cast_const(), out.ldc),
        Start::Bias(bias) => (bias, 0),
    };
    if !whole {
        std::ptr::write_bytes(c, 0, MR * width);
        if !from.is_null() {
            for i in 0..rows {
                std::ptr::copy_nonoverlapping(from.add(i * stride), c.add(i * ldc), columns);
            }
            (from, stride) = (c, ldc);
        }
    }
    let mut acc = [[S::zero(); NV]; MR];
    if !from.is_null() {
        for i in 0..MR {
            for j in 0..NV {
                acc[i][j] = S::load(from.add(i * stride + j * S::LANES));
            }
        }
    }
    accumulate::<S, M, MR, NV, TRANSPOSED>(
        &mut acc,
        left.a,
        left.lda,
        left.outer,
        left.stride,
        left.inner,
        b,
    );
    for i in 0..MR {
        for j in 0..NV {
            S::store(c.add(i * ldc + j * S::LANES), acc[i][j]);
        }
    }
    if !whole {
        for i in 0..rows {
            std::ptr::copy_nonoverlapping(c.add(i * ldc), out.c.add(i * out.ldc), columns);
        }
    }
}

/// A tile of `MR` rows and `vectors` vectors, as many as a panel has at most.
#[inline(always)]
unsafe fn tile_of<S: Simd, M: Format, const MR: usize, const TRANSPOSED: bool>(
    vectors: usize,
    left: Left,
    b: *const f32,
    out: Output,
    start: Start,
) {
    if S::WIDE && vectors == 4 {
        tile::<S, M, MR, 4, TRANSPOSED>(left, b, out, start)
    } else if S::WIDE && vectors == 3 {
        tile::<S, M, MR, 3, TRANSPOSED>(left, b, out, start)
    } else if vectors == 2 {
        tile::<S, M, MR, 2, TRANSPOSED>(left, b, out, start)
    } else {
        tile::<S, M, MR, 1, TRANSPOSED>(left, b, out, start)
    }
}

/// A tile of [`ROWS`] rows whose left operand is read across (`TRANSPOSED`) or along rows.
#[inline(always)]
pub(super) unsafe fn full_tile<S: Simd, M: Format, const TRANSPOSED: bool>(
    vectors: usize,
    left: Left,
    b: *const f32,
    out: Output,
    start: Start,
) {
    tile_of::<S, M, ROWS, TRANSPOSED>(vectors, left, b, out, start)
}

/// How `columns` columns are cut into panels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panels {
    pub columns: usize,
    lanes: usize,
    /// Columns of every panel but the last.
    pub panel: usize,
}

impl Panels {
    /// For a path's shape.
    #[inline(always)]
    pub fn new(columns: usize, shape: Shape) -> Self {
        Self {
            columns,
            lanes: shape.lanes,
            panel: shape.panel(),
        }
    }

    /// For a SIMD type.
    #[inline(always)]
    pub fn of<S: Simd>(columns: usize) -> Self {
        Self::new(
            columns,
            Shape {
                lanes: S::LANES,
                wide: S::WIDE,
            },
        )
    }

    /// Number of panels.
    #[inline(always)]
    pub fn count(self) -> usize {
        self.columns.div_ceil(self.panel)
    }

    /// Real columns of panel `index`.
    #[inline(always)]
    pub fn valid(self, index: usize) -> usize {
        (self.columns - index * self.panel).min(self.panel)
    }

    /// Columns of panel `index` in whole vectors.
    #[inline(always)]
    pub fn width(self, index: usize) -> usize {
        self.valid(index).next_multiple_of(self.lanes)
    }

    /// Columns of all panels together.
    #[inline(always)]
    pub fn padded(self) -> usize {
        self.columns.next_multiple_of(self.lanes)
    }
}

/// `C = start + A · B`: `A` in rows of units, `B` packed.
#[derive(Clone, Copy)]
pub(super) struct RowsProduct {
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
                    let rows = super::workspace::part(self.rows, groups, group);
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

/// Packs a right operand, one panel a task.
#[derive(Clone, Copy)]
pub(super) struct PackPanel {
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

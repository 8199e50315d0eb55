//! The register kernels: a tile of sums started, accumulated and stored.

#![allow(unsafe_code)]
// Contract of the file: the path's features are there (see `simd.rs`), and every pointer is valid for the extents that
// come with it. The callers compute both from the same shapes, and check those against the slices that they were given.
#![allow(unsafe_op_in_unsafe_fn)]
// Indices name the rows and vectors of a register tile.
#![allow(clippy::needless_range_loop)]

use super::super::simd::Simd;
use super::Format;

/// Rows of a register kernel.
pub(in crate::kernel) const ROWS: usize = 6;

/// `acc += A · B` over `outer × inner` steps of depth: the innermost loop of every product.
///
/// `B` is a panel, read straight through. Row `i` of `A` at a step is `a[i * lda + step]`, or, where `TRANSPOSED`,
/// `a[step * lda + i]`; after every `inner` steps `A` moves by `stride`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(in crate::kernel) unsafe fn accumulate<
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
pub(in crate::kernel) enum Start {
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
pub(in crate::kernel) struct Left {
    pub a: *const f32,
    pub lda: usize,
    pub outer: usize,
    pub stride: usize,
    pub inner: usize,
}

/// Where a tile writes: `rows × columns` numbers, rows `ldc` apart.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Output {
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
pub(super) unsafe fn tile_of<S: Simd, M: Format, const MR: usize, const TRANSPOSED: bool>(
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
pub(in crate::kernel) unsafe fn full_tile<S: Simd, M: Format, const TRANSPOSED: bool>(
    vectors: usize,
    left: Left,
    b: *const f32,
    out: Output,
    start: Start,
) {
    tile_of::<S, M, ROWS, TRANSPOSED>(vectors, left, b, out, start)
}

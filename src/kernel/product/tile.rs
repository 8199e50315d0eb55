//! The register kernels: a tile of sums started, accumulated and stored.

#![allow(unsafe_code)]
// Indices name the rows and vectors of a register tile.
#![allow(clippy::needless_range_loop)]

use super::super::simd::Simd;
use super::format::Format;

/// Rows of a register kernel.
pub(in crate::kernel) const ROWS: usize = 6;

/// Where a tile reads its left operand: row `i` at a step is `a[i * lda + step]`, or, where it is read transposed,
/// `a[step * lda + i]`; after every `inner` steps, `outer` times, `a` moves by `stride`.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Left {
    pub a: *const f32,
    pub lda: usize,
    pub outer: usize,
    pub stride: usize,
    pub inner: usize,
}

/// What a tile of sums starts from.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernel) enum Start<'a> {
    /// Nothing.
    Zero,
    /// What the output holds.
    Add,
    /// A bias for each column of the output.
    Bias(&'a [f32]),
}

/// Where a tile writes: `rows × columns` numbers, rows `ldc` apart.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Output {
    pub c: *mut f32,
    pub ldc: usize,
    pub rows: usize,
    pub columns: usize,
}

/// `acc += A · B` over `outer × inner` steps of depth: the innermost loop of every product. `B` is a panel, read straight through.
///
/// # Safety
/// All of `left` for `MR` rows, and `outer × inner` lines of `NV` vectors from `b`, can be read.
#[inline(always)]
pub(in crate::kernel) unsafe fn accumulate<
    S: Simd,
    M: Format,
    const MR: usize,
    const NV: usize,
    const TRANSPOSED: bool,
>(
    s: S,
    acc: &mut [[S::F; NV]; MR],
    left: Left,
    b: *const f32,
) {
    let mut b = b;
    for o in 0..left.outer {
        // SAFETY: steps of `left` and lines of `b`, as many as the caller promises; neither pointer is followed past its end.
        unsafe {
            let mut a = left.a.add(o * left.stride);
            for _ in 0..left.inner {
                let mut line = [s.zero(); NV];
                for j in 0..NV {
                    line[j] = s.load(b.add(j * S::LANES));
                }
                for i in 0..MR {
                    let value = s.splat(*a.add(if TRANSPOSED { i } else { i * left.lda }));
                    for j in 0..NV {
                        acc[i][j] = M::mac(s, acc[i][j], value, line[j]);
                    }
                }
                b = b.wrapping_add(NV * S::LANES);
                a = a.wrapping_add(if TRANSPOSED { left.lda } else { 1 });
            }
        }
    }
}

/// One tile of a product: sums started, accumulated and stored.
///
/// # Safety
/// As for [`accumulate`], but of the left operand rows beyond the output's are read only where it is transposed; and all of `out` can be
/// read and written.
#[inline(always)]
unsafe fn tile<S: Simd, M: Format, const MR: usize, const NV: usize, const TRANSPOSED: bool>(
    s: S,
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
        Start::Bias(bias) => (bias[..columns].as_ptr(), 0),
    };
    let mut acc = [[s.zero(); NV]; MR];
    // SAFETY: `rows` and `columns` are within the output, a tile and its place aside have `MR` rows of `NV` vectors, and the rest is
    // the caller's promise.
    unsafe {
        if !whole {
            std::ptr::write_bytes(c, 0, MR * width);
            if !from.is_null() {
                for i in 0..rows {
                    std::ptr::copy_nonoverlapping(from.add(i * stride), c.add(i * ldc), columns);
                }
                (from, stride) = (c, ldc);
            }
        }
        if !from.is_null() {
            for i in 0..MR {
                for j in 0..NV {
                    acc[i][j] = s.load(from.add(i * stride + j * S::LANES));
                }
            }
        }
        accumulate::<S, M, MR, NV, TRANSPOSED>(s, &mut acc, left, b);
        for i in 0..MR {
            for j in 0..NV {
                s.store(c.add(i * ldc + j * S::LANES), acc[i][j]);
            }
        }
        if !whole {
            for i in 0..rows {
                std::ptr::copy_nonoverlapping(c.add(i * ldc), out.c.add(i * out.ldc), columns);
            }
        }
    }
}

/// A tile of `MR` rows and `vectors` vectors, as many as a panel has at most.
///
/// # Safety
/// As for `tile`, whose `NV` is `vectors`.
#[inline(always)]
pub(super) unsafe fn tile_of<S: Simd, M: Format, const MR: usize, const TRANSPOSED: bool>(
    s: S,
    vectors: usize,
    left: Left,
    b: *const f32,
    out: Output,
    start: Start,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if S::WIDE && vectors == 4 {
            tile::<S, M, MR, 4, TRANSPOSED>(s, left, b, out, start)
        } else if S::WIDE && vectors == 3 {
            tile::<S, M, MR, 3, TRANSPOSED>(s, left, b, out, start)
        } else if vectors == 2 {
            tile::<S, M, MR, 2, TRANSPOSED>(s, left, b, out, start)
        } else {
            tile::<S, M, MR, 1, TRANSPOSED>(s, left, b, out, start)
        }
    }
}

/// A tile of [`ROWS`] rows.
///
/// # Safety
/// As for `tile`, whose `NV` is `vectors`.
#[inline(always)]
pub(in crate::kernel) unsafe fn full_tile<S: Simd, M: Format, const TRANSPOSED: bool>(
    s: S,
    vectors: usize,
    left: Left,
    b: *const f32,
    out: Output,
    start: Start,
) {
    // SAFETY: the caller's promise.
    unsafe { tile_of::<S, M, ROWS, TRANSPOSED>(s, vectors, left, b, out, start) }
}

//! The few vector operations that every kernel is written in, and their portable form.
//!
//! A value of a [`Simd`] type is proof that the CPU has the path's instructions: only `path.rs` makes one, where they are enabled. So
//! functions on registers are safe, and only those on pointers are `unsafe`. All are `inline(always)`, so that they are compiled with
//! the features of the entry point in `path.rs`.

#![allow(unsafe_code)]

use super::path::KernelPath;

/// Vectors of f32. A vector may also carry, in each lane's 32 bits, a pair of bf16 numbers (the first in the low half).
pub(super) trait Simd: Copy + Send + Sync + 'static {
    /// f32 values in a vector.
    const LANES: usize;
    /// Whether there are 32 vector registers (else 16).
    const WIDE: bool;
    /// The path that this type runs on.
    const PATH: KernelPath;
    /// The vector.
    type F: Copy;

    /// `value` in every lane.
    fn splat(self, value: f32) -> Self::F;
    /// `a + b`
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a - b`
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b`
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a / b`
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once where the CPU can.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The greater; `b` where either is NaN.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// The lesser; `b` where either is NaN.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// Square root.
    fn sqrt(self, a: Self::F) -> Self::F;
    /// `value * 2^n`, where `n` is the integer in the low mantissa bits of `magic` (see `math.rs`).
    fn scale_exponent(self, value: Self::F, magic: Self::F) -> Self::F;
    /// `acc + a.low * b.low + a.high * b.high` over pairs of bf16.
    fn dot_pairs(self, acc: Self::F, a: Self::F, b: Self::F) -> Self::F;
    /// Lanes of pairs: `low` and `high` rounded to bf16.
    fn pack_pairs(self, low: Self::F, high: Self::F) -> Self::F;
    /// The low numbers of pairs, as f32.
    fn low_half(self, pairs: Self::F) -> Self::F;
    /// The high numbers of pairs, as f32.
    fn high_half(self, pairs: Self::F) -> Self::F;

    /// Reads a vector, at any alignment.
    ///
    /// # Safety
    /// `LANES` floats can be read from `from`.
    unsafe fn load(self, from: *const f32) -> Self::F;

    /// Writes a vector, at any alignment.
    ///
    /// # Safety
    /// `LANES` floats can be written to `to`.
    unsafe fn store(self, to: *mut f32, value: Self::F);

    /// Writes `LANES` bf16 numbers side by side.
    ///
    /// # Safety
    /// `LANES` numbers of two bytes can be written to `to`.
    unsafe fn store_bf16(self, to: *mut u16, value: Self::F);

    /// Zero in every lane.
    #[inline(always)]
    fn zero(self) -> Self::F {
        self.splat(0.0)
    }

    /// Reads the first `count` lanes, the rest zero.
    ///
    /// # Safety
    /// `count` floats can be read from `from`, or `LANES` of them if that is fewer.
    #[inline(always)]
    unsafe fn load_partial(self, from: *const f32, count: usize) -> Self::F {
        let mut lanes = [0.0f32; 16];
        // SAFETY: no vector is longer than `lanes`; the rest is the caller's promise.
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count.min(Self::LANES));
            self.load(lanes.as_ptr())
        }
    }

    /// Writes the first `count` lanes.
    ///
    /// # Safety
    /// `count` floats can be written to `to`, or `LANES` of them if that is fewer.
    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, count: usize, value: Self::F) {
        let lanes = lanes(self, value);
        // SAFETY: the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count.min(Self::LANES)) };
    }

    /// A whole vector where there is room, else its first `count` lanes.
    ///
    /// # Safety
    /// As for [`load_partial`](Simd::load_partial).
    #[inline(always)]
    unsafe fn load_up_to(self, from: *const f32, count: usize) -> Self::F {
        // SAFETY: the caller's promise.
        unsafe {
            if count >= Self::LANES {
                self.load(from)
            } else {
                self.load_partial(from, count)
            }
        }
    }

    /// Writes a whole vector where there is room, else its first `count` lanes.
    ///
    /// # Safety
    /// As for [`store_partial`](Simd::store_partial).
    #[inline(always)]
    unsafe fn store_up_to(self, to: *mut f32, count: usize, value: Self::F) {
        // SAFETY: the caller's promise.
        unsafe {
            if count >= Self::LANES {
                self.store(to, value)
            } else {
                self.store_partial(to, count, value)
            }
        }
    }

    /// Sum of the lanes, halves first.
    #[inline(always)]
    fn sum(self, value: Self::F) -> f32 {
        let mut lanes = lanes(self, value);
        let mut width = Self::LANES;
        while width > 1 {
            width /= 2;
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
        }
        lanes[0]
    }

    /// The sum of each of four vectors' lanes.
    #[inline(always)]
    fn sums(self, values: [Self::F; 4]) -> [f32; 4] {
        values.map(|value| self.sum(value))
    }

    /// Turns a square of `LANES` rows around: row `i`, `stride` apart from the next, becomes column `i` of `to`, whose rows
    /// are `to_stride` apart. Bits are moved unchanged.
    ///
    /// # Safety
    /// Each of the rows can be read, and each of those of `to` written.
    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        for i in 0..Self::LANES {
            for j in 0..Self::LANES {
                // SAFETY: the caller's promise.
                unsafe {
                    to.add(j * to_stride + i)
                        .write(from.add(i * stride + j).read());
                }
            }
        }
    }

    /// Greatest lane.
    #[inline(always)]
    fn greatest(self, value: Self::F) -> f32 {
        let lanes = lanes(self, value);
        lanes[..Self::LANES]
            .iter()
            .fold(f32::NEG_INFINITY, |a, &b| a.max(b))
    }
}

/// The lanes of a vector, then zeros.
#[inline(always)]
pub(super) fn lanes<S: Simd>(s: S, value: S::F) -> [f32; 16] {
    let mut lanes = [0.0f32; 16];
    // SAFETY: no vector is longer than that.
    unsafe { s.store(lanes.as_mut_ptr(), value) };
    lanes
}

/// Rounds to bf16 (to nearest, ties to even); NaN stays NaN.
#[inline(always)]
pub(super) fn bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// The f32 of a bf16's bits.
#[cfg(test)]
pub(super) fn bf16_value(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Four lanes in portable Rust, the width of the vectors that every 64-bit CPU has.
#[derive(Clone, Copy)]
pub(super) struct Plain;

/// Sixteen lanes in portable Rust: AVX-512's shapes, for tests.
#[cfg(test)]
#[derive(Clone, Copy)]
pub(super) struct Wide;

macro_rules! portable {
    ($name:ty, $lanes:literal, $wide:literal, $path:expr) => {
        impl Simd for $name {
            const LANES: usize = $lanes;
            const WIDE: bool = $wide;
            const PATH: KernelPath = $path;
            type F = [f32; $lanes];

            #[inline(always)]
            fn splat(self, value: f32) -> Self::F {
                [value; $lanes]
            }
            #[inline(always)]
            fn add(self, a: Self::F, b: Self::F) -> Self::F {
                std::array::from_fn(|i| a[i] + b[i])
            }
            #[inline(always)]
            fn sub(self, a: Self::F, b: Self::F) -> Self::F {
                std::array::from_fn(|i| a[i] - b[i])
            }
            #[inline(always)]
            fn mul(self, a: Self::F, b: Self::F) -> Self::F {
                std::array::from_fn(|i| a[i] * b[i])
            }
            #[inline(always)]
            fn div(self, a: Self::F, b: Self::F) -> Self::F {
                std::array::from_fn(|i| a[i] / b[i])
            }
            #[inline(always)]
            fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
                // `mul_add` calls a slow library function on a CPU target without the instruction.
                if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
                    std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
                } else {
                    std::array::from_fn(|i| a[i] * b[i] + c[i])
                }
            }
            #[inline(always)]
            fn max(self, a: Self::F, b: Self::F) -> Self::F {
                std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
            }
            #[inline(always)]
            fn min(self, a: Self::F, b: Self::F) -> Self::F {
                std::array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
            }
            #[inline(always)]
            fn sqrt(self, a: Self::F) -> Self::F {
                std::array::from_fn(|i| a[i].sqrt())
            }
            #[inline(always)]
            fn scale_exponent(self, value: Self::F, magic: Self::F) -> Self::F {
                std::array::from_fn(|i| {
                    f32::from_bits(value[i].to_bits().wrapping_add(magic[i].to_bits() << 23))
                })
            }
            #[inline(always)]
            fn dot_pairs(self, acc: Self::F, a: Self::F, b: Self::F) -> Self::F {
                let acc = self.fma(self.low_half(a), self.low_half(b), acc);
                self.fma(self.high_half(a), self.high_half(b), acc)
            }
            #[inline(always)]
            fn pack_pairs(self, low: Self::F, high: Self::F) -> Self::F {
                std::array::from_fn(|i| {
                    f32::from_bits(
                        u32::from(bf16_bits(low[i])) | u32::from(bf16_bits(high[i])) << 16,
                    )
                })
            }
            #[inline(always)]
            fn low_half(self, pairs: Self::F) -> Self::F {
                std::array::from_fn(|i| f32::from_bits(pairs[i].to_bits() << 16))
            }
            #[inline(always)]
            fn high_half(self, pairs: Self::F) -> Self::F {
                std::array::from_fn(|i| f32::from_bits(pairs[i].to_bits() & 0xffff_0000))
            }
            #[inline(always)]
            unsafe fn load(self, from: *const f32) -> Self::F {
                // SAFETY: the caller's promise.
                unsafe { from.cast::<Self::F>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32, value: Self::F) {
                // SAFETY: the caller's promise.
                unsafe { to.cast::<Self::F>().write_unaligned(value) }
            }
            #[inline(always)]
            unsafe fn store_bf16(self, to: *mut u16, value: Self::F) {
                let bits: [u16; $lanes] = std::array::from_fn(|i| bf16_bits(value[i]));
                // SAFETY: the caller's promise.
                unsafe { to.cast::<[u16; $lanes]>().write_unaligned(bits) }
            }
        }
    };
}

portable!(Plain, 4, false, KernelPath::Plain);
#[cfg(test)]
portable!(Wide, 16, true, KernelPath::Wide);

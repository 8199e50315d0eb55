//! The few vector operations that every kernel is written in, and their portable form.
//!
//! Contract of every `unsafe fn` here and in `avx2.rs`, `avx512.rs`: the CPU has the path's features (the path was checked
//! when [`Kernels`](super::Kernels) was made) and pointers are valid for the lanes that the name says. They are all
//! `inline(always)`, so that they take on the features of the entry point in `path.rs`.

#![allow(unsafe_code)]
// One contract for the whole file, stated above; a block per line would say nothing more.
#![allow(unsafe_op_in_unsafe_fn)]

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
    unsafe fn splat(value: f32) -> Self::F;
    /// Reads a vector, at any alignment.
    unsafe fn load(from: *const f32) -> Self::F;
    /// Writes a vector, at any alignment.
    unsafe fn store(to: *mut f32, value: Self::F);
    /// `a + b`
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    /// `a - b`
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    /// `a * b`
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    /// `a / b`
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once where the CPU can.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The greater; `b` where either is NaN.
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    /// The lesser; `b` where either is NaN.
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;
    /// Square root.
    unsafe fn sqrt(a: Self::F) -> Self::F;
    /// `value * 2^n`, where `n` is the integer in the low mantissa bits of `magic` (see `math.rs`).
    unsafe fn scale_exponent(value: Self::F, magic: Self::F) -> Self::F;
    /// `acc + a.low * b.low + a.high * b.high` over pairs of bf16.
    unsafe fn dot_pairs(acc: Self::F, a: Self::F, b: Self::F) -> Self::F;
    /// Lanes of pairs: `low` and `high` rounded to bf16.
    unsafe fn pack_pairs(low: Self::F, high: Self::F) -> Self::F;
    /// Writes `LANES` bf16 numbers side by side.
    unsafe fn store_bf16(to: *mut u16, value: Self::F);
    /// The low numbers of pairs, as f32.
    unsafe fn low_half(pairs: Self::F) -> Self::F;
    /// The high numbers of pairs, as f32.
    unsafe fn high_half(pairs: Self::F) -> Self::F;

    /// Zero in every lane.
    #[inline(always)]
    unsafe fn zero() -> Self::F {
        Self::splat(0.0)
    }

    /// Reads the first `count` lanes, the rest zero.
    #[inline(always)]
    unsafe fn load_partial(from: *const f32, count: usize) -> Self::F {
        let mut lanes = [0.0f32; 16];
        std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count.min(Self::LANES));
        Self::load(lanes.as_ptr())
    }

    /// Writes the first `count` lanes.
    #[inline(always)]
    unsafe fn store_partial(to: *mut f32, count: usize, value: Self::F) {
        let mut lanes = [0.0f32; 16];
        Self::store(lanes.as_mut_ptr(), value);
        std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count.min(Self::LANES));
    }

    /// A whole vector where there is room, else its first `count` lanes.
    #[inline(always)]
    unsafe fn load_up_to(from: *const f32, count: usize) -> Self::F {
        if count >= Self::LANES {
            Self::load(from)
        } else {
            Self::load_partial(from, count)
        }
    }

    /// Writes a whole vector where there is room, else its first `count` lanes.
    #[inline(always)]
    unsafe fn store_up_to(to: *mut f32, count: usize, value: Self::F) {
        if count >= Self::LANES {
            Self::store(to, value)
        } else {
            Self::store_partial(to, count, value)
        }
    }

    /// Sum of the lanes, halves first.
    #[inline(always)]
    unsafe fn sum(value: Self::F) -> f32 {
        let mut lanes = [0.0f32; 16];
        Self::store(lanes.as_mut_ptr(), value);
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
    unsafe fn sums(values: [Self::F; 4]) -> [f32; 4] {
        values.map(|value| Self::sum(value))
    }

    /// Turns a square of `LANES` rows around: row `i`, `stride` apart from the next, becomes column `i` of `to`, whose rows
    /// are `to_stride` apart. Bits are only moved, never looked at.
    #[inline(always)]
    unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        for i in 0..Self::LANES {
            for j in 0..Self::LANES {
                to.add(j * to_stride + i)
                    .write(from.add(i * stride + j).read());
            }
        }
    }

    /// Greatest lane.
    #[inline(always)]
    unsafe fn greatest(value: Self::F) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; 16];
        Self::store(lanes.as_mut_ptr(), value);
        lanes.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b))
    }
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
            unsafe fn splat(value: f32) -> Self::F {
                [value; $lanes]
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self::F {
                from.cast::<Self::F>().read_unaligned()
            }
            #[inline(always)]
            unsafe fn store(to: *mut f32, value: Self::F) {
                to.cast::<Self::F>().write_unaligned(value)
            }
            #[inline(always)]
            unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
                std::array::from_fn(|i| a[i] + b[i])
            }
            #[inline(always)]
            unsafe fn sub(a: Self::F, b: Self::F) -> Self::F {
                std::array::from_fn(|i| a[i] - b[i])
            }
            #[inline(always)]
            unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
                std::array::from_fn(|i| a[i] * b[i])
            }
            #[inline(always)]
            unsafe fn div(a: Self::F, b: Self::F) -> Self::F {
                std::array::from_fn(|i| a[i] / b[i])
            }
            #[inline(always)]
            unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
                // `mul_add` calls a slow library function on a CPU target without the instruction.
                if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
                    std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
                } else {
                    std::array::from_fn(|i| a[i] * b[i] + c[i])
                }
            }
            #[inline(always)]
            unsafe fn max(a: Self::F, b: Self::F) -> Self::F {
                std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
            }
            #[inline(always)]
            unsafe fn min(a: Self::F, b: Self::F) -> Self::F {
                std::array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
            }
            #[inline(always)]
            unsafe fn sqrt(a: Self::F) -> Self::F {
                std::array::from_fn(|i| a[i].sqrt())
            }
            #[inline(always)]
            unsafe fn scale_exponent(value: Self::F, magic: Self::F) -> Self::F {
                std::array::from_fn(|i| {
                    f32::from_bits(value[i].to_bits().wrapping_add(magic[i].to_bits() << 23))
                })
            }
            #[inline(always)]
            unsafe fn dot_pairs(acc: Self::F, a: Self::F, b: Self::F) -> Self::F {
                let acc = Self::fma(Self::low_half(a), Self::low_half(b), acc);
                Self::fma(Self::high_half(a), Self::high_half(b), acc)
            }
            #[inline(always)]
            unsafe fn pack_pairs(low: Self::F, high: Self::F) -> Self::F {
                std::array::from_fn(|i| {
                    f32::from_bits(
                        u32::from(bf16_bits(low[i])) | u32::from(bf16_bits(high[i])) << 16,
                    )
                })
            }
            #[inline(always)]
            unsafe fn store_bf16(to: *mut u16, value: Self::F) {
                let bits: [u16; $lanes] = std::array::from_fn(|i| bf16_bits(value[i]));
                to.cast::<[u16; $lanes]>().write_unaligned(bits)
            }
            #[inline(always)]
            unsafe fn low_half(pairs: Self::F) -> Self::F {
                std::array::from_fn(|i| f32::from_bits(pairs[i].to_bits() << 16))
            }
            #[inline(always)]
            unsafe fn high_half(pairs: Self::F) -> Self::F {
                std::array::from_fn(|i| f32::from_bits(pairs[i].to_bits() & 0xffff_0000))
            }
        }
    };
}

portable!(Plain, 4, false, KernelPath::Plain);
#[cfg(test)]
portable!(Wide, 16, true, KernelPath::Wide);

//! How the operands of a product are held.

use super::super::simd::{Simd, bf16_bits};

/// How the operands of a product are held.
pub(in crate::kernel) trait Format: Copy + Send + Sync + 'static {
    /// Numbers in a unit.
    const PAIR: usize;
    /// A unit's bits; `high` is ignored where a unit is one number.
    fn unit(low: f32, high: f32) -> f32;
    /// A vector of units.
    fn pack<S: Simd>(s: S, low: S::F, high: S::F) -> S::F;
    /// `acc + a · b`, over the numbers of the units.
    fn mac<S: Simd>(s: S, acc: S::F, a: S::F, b: S::F) -> S::F;
    /// What is left of a number once it has been in a unit.
    fn rounded<S: Simd>(s: S, value: S::F) -> S::F;
}

/// One f32 per unit.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct F32;

/// Two bf16 numbers per unit.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Bf16;

impl Format for F32 {
    const PAIR: usize = 1;
    #[inline(always)]
    fn unit(low: f32, _high: f32) -> f32 {
        low
    }
    #[inline(always)]
    fn pack<S: Simd>(_: S, low: S::F, _high: S::F) -> S::F {
        low
    }
    #[inline(always)]
    fn mac<S: Simd>(s: S, acc: S::F, a: S::F, b: S::F) -> S::F {
        s.fma(a, b, acc)
    }
    #[inline(always)]
    fn rounded<S: Simd>(_: S, value: S::F) -> S::F {
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
    fn pack<S: Simd>(s: S, low: S::F, high: S::F) -> S::F {
        s.pack_pairs(low, high)
    }
    #[inline(always)]
    fn mac<S: Simd>(s: S, acc: S::F, a: S::F, b: S::F) -> S::F {
        s.dot_pairs(acc, a, b)
    }
    #[inline(always)]
    fn rounded<S: Simd>(s: S, value: S::F) -> S::F {
        s.low_half(s.pack_pairs(value, value))
    }
}

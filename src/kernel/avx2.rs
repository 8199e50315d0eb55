//! [`Simd`] on AVX2 and FMA: eight lanes, sixteen registers.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::path::KernelPath;
use super::simd::Simd;

/// Eight lanes of AVX2; one exists only where the CPU has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// The proof that the CPU has AVX2 and FMA.
    ///
    /// # Safety
    /// It has them.
    #[inline(always)]
    pub(super) unsafe fn assumed() -> Self {
        Self(())
    }

    /// The bits of `value` with its upper half rounded to bf16 (to nearest, ties to even). A NaN may become an infinity; the loss is
    /// then not finite either.
    #[inline(always)]
    fn rounded(self, value: __m256) -> __m256i {
        // SAFETY: an `Avx2` exists, so the CPU has the instructions.
        unsafe {
            let bits = _mm256_castps_si256(value);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)))
        }
    }

    /// Four rows of eight turned into columns: vector `i` holds column `i` in its low half and column `4 + i` in its high one.
    ///
    /// # Safety
    /// Four rows of eight floats, `stride` apart, can be read.
    #[inline(always)]
    unsafe fn quarter(self, from: *const f32, stride: usize) -> [__m256; 4] {
        // SAFETY: an `Avx2` exists, so the CPU has the instructions; the rest is the caller's promise.
        unsafe {
            let [a, b, c, d] = [0, 1, 2, 3].map(|row| _mm256_loadu_ps(from.add(row * stride)));
            let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            [
                _mm256_shuffle_ps::<0x44>(ab_low, cd_low),
                _mm256_shuffle_ps::<0xee>(ab_low, cd_low),
                _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
                _mm256_shuffle_ps::<0xee>(ab_high, cd_high),
            ]
        }
    }
}

/// Functions of vectors that work on registers alone.
macro_rules! lanewise {
    ($($name:ident($self:ident $(, $argument:ident)*) => $result:expr;)*) => {
        $(
            #[inline(always)]
            fn $name($self $(, $argument: __m256)*) -> __m256 {
                // SAFETY: an `Avx2` exists, so the CPU has the instructions.
                unsafe { $result }
            }
        )*
    };
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    const WIDE: bool = false;
    const PATH: KernelPath = KernelPath::Avx2;
    type F = __m256;

    lanewise! {
        add(self, a, b) => _mm256_add_ps(a, b);
        sub(self, a, b) => _mm256_sub_ps(a, b);
        mul(self, a, b) => _mm256_mul_ps(a, b);
        div(self, a, b) => _mm256_div_ps(a, b);
        fma(self, a, b, c) => _mm256_fmadd_ps(a, b, c);
        max(self, a, b) => _mm256_max_ps(a, b);
        min(self, a, b) => _mm256_min_ps(a, b);
        sqrt(self, a) => _mm256_sqrt_ps(a);
        scale_exponent(self, value, magic) => {
            let shift = _mm256_slli_epi32::<23>(_mm256_castps_si256(magic));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(value), shift))
        };
        dot_pairs(self, acc, a, b) => {
            let acc = _mm256_fmadd_ps(self.low_half(a), self.low_half(b), acc);
            _mm256_fmadd_ps(self.high_half(a), self.high_half(b), acc)
        };
        pack_pairs(self, low, high) => {
            let low = _mm256_srli_epi32::<16>(self.rounded(low));
            let upper_half = _mm256_set1_epi32(0xffff_0000u32 as i32);
            let high = _mm256_and_si256(self.rounded(high), upper_half);
            _mm256_castsi256_ps(_mm256_or_si256(low, high))
        };
        low_half(self, pairs) => _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(pairs)));
        high_half(self, pairs) => {
            let mask = _mm256_set1_epi32(0xffff_0000u32 as i32);
            _mm256_castsi256_ps(_mm256_and_si256(_mm256_castps_si256(pairs), mask))
        };
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: an `Avx2` exists, so the CPU has the instruction.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn sums(self, [a, b, c, d]: [__m256; 4]) -> [f32; 4] {
        let mut out = [0.0; 4];
        // SAFETY: an `Avx2` exists, so the CPU has the instructions; four floats are written to as many.
        unsafe {
            let sums = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
            let high = _mm256_extractf128_ps::<1>(sums);
            _mm_storeu_ps(
                out.as_mut_ptr(),
                _mm_add_ps(_mm256_castps256_ps128(sums), high),
            );
        }
        out
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: __m256) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(to, value) }
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16, value: __m256) {
        // SAFETY: eight numbers of two bytes are written: the caller's promise.
        unsafe {
            let halves = _mm256_srli_epi32::<16>(self.rounded(value));
            let packed = _mm256_packus_epi32(halves, halves);
            let ordered = _mm256_permute4x64_epi64::<0b00_00_10_00>(packed);
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(ordered))
        }
    }

    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: eight rows are read and eight written: the caller's promise.
        unsafe {
            let [a, b, c, d] = self.quarter(from, stride);
            let [e, f, g, h] = self.quarter(from.add(4 * stride), stride);
            for (i, (low, high)) in [(a, e), (b, f), (c, g), (d, h)].into_iter().enumerate() {
                let first = _mm256_permute2f128_ps::<0x20>(low, high);
                let second = _mm256_permute2f128_ps::<0x31>(low, high);
                _mm256_storeu_ps(to.add(i * to_stride), first);
                _mm256_storeu_ps(to.add((4 + i) * to_stride), second);
            }
        }
    }
}

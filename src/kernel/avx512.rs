//! [`Simd`] on AVX-512: sixteen lanes, thirty-two registers, with or without the bf16 dot product.

#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::mem::transmute;

use super::avx2::Avx2;
use super::path::KernelPath;
use super::simd::Simd;

/// Sixteen lanes of AVX-512 (F, BW, DQ, VL); `BF16` says whether `vdpbf16ps` and the conversions are there. One exists only where the
/// CPU has them, and AVX2 with FMA.
#[derive(Clone, Copy)]
pub(super) struct Avx512<const BF16: bool>(Avx2);

/// Where `vpermt2w` finds the numbers of pairs: 0 of the one source, 0 of the other, 1 of the one, …
const PAIRED: [u16; 32] = {
    let mut order = [0; 32];
    let mut at = 0;
    while at < 32 {
        order[at] = (at / 2 + at % 2 * 32) as u16;
        at += 1;
    }
    order
};

/// The first `count` of sixteen lanes.
#[inline(always)]
fn first(count: usize) -> __mmask16 {
    ((1u32 << count.min(16)) - 1) as __mmask16
}

impl<const BF16: bool> Avx512<BF16> {
    /// The proof that the CPU has the instructions.
    ///
    /// # Safety
    /// It has them.
    #[inline(always)]
    pub(super) unsafe fn assumed() -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { Avx2::assumed() })
    }

    /// The upper halves of `value` rounded to bf16, as sixteen 16-bit numbers.
    #[inline(always)]
    fn halves(self, value: __m512) -> __m256i {
        // SAFETY: an `Avx512` exists, so the CPU has the instructions; both sides of the transmutation are 256 bits without structure.
        unsafe {
            if BF16 {
                return transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(value));
            }
            let bits = _mm512_castps_si512(value);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded))
        }
    }

    /// The lower half plus the upper half.
    #[inline(always)]
    fn folded(self, value: __m512) -> __m256 {
        // SAFETY: an `Avx512` exists, so the CPU has the instructions.
        unsafe {
            _mm256_add_ps(
                _mm512_castps512_ps256(value),
                _mm512_extractf32x8_ps::<1>(value),
            )
        }
    }
}

/// Functions of vectors that work on registers alone.
macro_rules! lanewise {
    ($($name:ident($self:ident $(, $argument:ident)*) => $result:expr;)*) => {
        $(
            #[inline(always)]
            fn $name($self $(, $argument: __m512)*) -> __m512 {
                // SAFETY: an `Avx512` exists, so the CPU has the instructions; vectors that are transmuted are 512 bits without structure.
                unsafe { $result }
            }
        )*
    };
}

impl<const BF16: bool> Simd for Avx512<BF16> {
    const LANES: usize = 16;
    const WIDE: bool = true;
    const PATH: KernelPath = if BF16 {
        KernelPath::Avx512Bf16
    } else {
        KernelPath::Avx512
    };
    type F = __m512;

    lanewise! {
        add(self, a, b) => _mm512_add_ps(a, b);
        sub(self, a, b) => _mm512_sub_ps(a, b);
        mul(self, a, b) => _mm512_mul_ps(a, b);
        div(self, a, b) => _mm512_div_ps(a, b);
        fma(self, a, b, c) => _mm512_fmadd_ps(a, b, c);
        max(self, a, b) => _mm512_max_ps(a, b);
        min(self, a, b) => _mm512_min_ps(a, b);
        sqrt(self, a) => _mm512_sqrt_ps(a);
        scale_exponent(self, value, magic) => {
            let shift = _mm512_slli_epi32::<23>(_mm512_castps_si512(magic));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(value), shift))
        };
        dot_pairs(self, acc, a, b) => {
            if BF16 {
                let (a, b) = (transmute::<__m512, __m512bh>(a), transmute::<__m512, __m512bh>(b));
                _mm512_dpbf16_ps(acc, a, b)
            } else {
                let acc = _mm512_fmadd_ps(self.low_half(a), self.low_half(b), acc);
                _mm512_fmadd_ps(self.high_half(a), self.high_half(b), acc)
            }
        };
        pack_pairs(self, low, high) => {
            // By way of halves and not by `vcvtne2ps2bf16`: where the same numbers are stored on their own too, they are
            // converted once.
            let low = _mm512_castsi256_si512(self.halves(low));
            let high = _mm512_castsi256_si512(self.halves(high));
            let order = _mm512_loadu_si512(PAIRED.as_ptr().cast());
            _mm512_castsi512_ps(_mm512_permutex2var_epi16(low, order, high))
        };
        low_half(self, pairs) => _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(pairs)));
        high_half(self, pairs) => {
            let mask = _mm512_set1_epi32(0xffff_0000u32 as i32);
            _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(pairs), mask))
        };
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: an `Avx512` exists, so the CPU has the instruction.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn sums(self, values: [__m512; 4]) -> [f32; 4] {
        self.0.sums(values.map(|value| self.folded(value)))
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: __m512) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(to, value) }
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16, value: __m512) {
        // SAFETY: sixteen numbers of two bytes are written: the caller's promise.
        unsafe { _mm256_storeu_si256(to.cast(), self.halves(value)) }
    }

    #[inline(always)]
    unsafe fn load_partial(self, from: *const f32, count: usize) -> __m512 {
        // SAFETY: no more than `count` lanes are read: the caller's promise.
        unsafe { _mm512_maskz_loadu_ps(first(count), from) }
    }

    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, count: usize, value: __m512) {
        // SAFETY: no more than `count` lanes are written: the caller's promise.
        unsafe { _mm512_mask_storeu_ps(to, first(count), value) }
    }

    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        for i in [0, 8] {
            for j in [0, 8] {
                // SAFETY: quarters of the squares that the caller promises.
                unsafe {
                    let (from, to) = (from.add(i * stride + j), to.add(j * to_stride + i));
                    self.0.transpose(from, stride, to, to_stride);
                }
            }
        }
    }
}

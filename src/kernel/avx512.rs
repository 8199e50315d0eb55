//! [`Simd`] on AVX-512: sixteen lanes, thirty-two registers, with or without the bf16 dot product. For the contract see
//! `simd.rs`.

#![allow(unsafe_code)]
// One contract for the whole file, stated in `simd.rs`.
#![allow(unsafe_op_in_unsafe_fn)]

use std::arch::x86_64::*;
use std::mem::transmute;

use super::avx2::Avx2;
use super::path::KernelPath;
use super::simd::Simd;

/// Sixteen lanes of AVX-512; `BF16` says whether `vdpbf16ps` and the conversions are there.
#[derive(Clone, Copy)]
pub(super) struct Avx512<const BF16: bool>;

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

/// The upper halves of `value` rounded to bf16, as sixteen 16-bit numbers.
#[inline(always)]
unsafe fn halves<const BF16: bool>(value: __m512) -> __m256i {
    if BF16 {
        // SAFETY: both are 256 bits without structure.
        transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(value))
    } else {
        let bits = _mm512_castps_si512(value);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded))
    }
}

/// The lower half plus the upper half.
#[inline(always)]
unsafe fn folded(value: __m512) -> __m256 {
    _mm256_add_ps(
        _mm512_castps512_ps256(value),
        _mm512_extractf32x8_ps::<1>(value),
    )
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

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        _mm512_set1_ps(value)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        _mm512_loadu_ps(from)
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m512) {
        _mm512_storeu_ps(to, value)
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        _mm512_add_ps(a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        _mm512_sub_ps(a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        _mm512_mul_ps(a, b)
    }
    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        _mm512_div_ps(a, b)
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        _mm512_max_ps(a, b)
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        _mm512_min_ps(a, b)
    }
    #[inline(always)]
    unsafe fn sqrt(a: __m512) -> __m512 {
        _mm512_sqrt_ps(a)
    }
    #[inline(always)]
    unsafe fn scale_exponent(value: __m512, magic: __m512) -> __m512 {
        let shift = _mm512_slli_epi32::<23>(_mm512_castps_si512(magic));
        _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(value), shift))
    }
    #[inline(always)]
    unsafe fn dot_pairs(acc: __m512, a: __m512, b: __m512) -> __m512 {
        if BF16 {
            // SAFETY: all are 512 bits without structure.
            _mm512_dpbf16_ps(
                acc,
                transmute::<__m512, __m512bh>(a),
                transmute::<__m512, __m512bh>(b),
            )
        } else {
            let acc = _mm512_fmadd_ps(Self::low_half(a), Self::low_half(b), acc);
            _mm512_fmadd_ps(Self::high_half(a), Self::high_half(b), acc)
        }
    }
    #[inline(always)]
    unsafe fn pack_pairs(low: __m512, high: __m512) -> __m512 {
        // By way of halves and not by `vcvtne2ps2bf16`: where the same numbers are stored on their own too, they are
        // converted once.
        let low = _mm512_castsi256_si512(halves::<BF16>(low));
        let high = _mm512_castsi256_si512(halves::<BF16>(high));
        let order = _mm512_loadu_si512(PAIRED.as_ptr().cast());
        _mm512_castsi512_ps(_mm512_permutex2var_epi16(low, order, high))
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, value: __m512) {
        _mm256_storeu_si256(to.cast(), halves::<BF16>(value))
    }
    #[inline(always)]
    unsafe fn low_half(pairs: __m512) -> __m512 {
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(pairs)))
    }
    #[inline(always)]
    unsafe fn high_half(pairs: __m512) -> __m512 {
        let mask = _mm512_set1_epi32(0xffff_0000u32 as i32);
        _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(pairs), mask))
    }
    #[inline(always)]
    unsafe fn load_partial(from: *const f32, count: usize) -> __m512 {
        _mm512_maskz_loadu_ps(first(count), from)
    }
    #[inline(always)]
    unsafe fn store_partial(to: *mut f32, count: usize, value: __m512) {
        _mm512_mask_storeu_ps(to, first(count), value)
    }
    #[inline(always)]
    unsafe fn sums([a, b, c, d]: [__m512; 4]) -> [f32; 4] {
        Avx2::sums([folded(a), folded(b), folded(c), folded(d)])
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        for i in [0, 8] {
            for j in [0, 8] {
                Avx2::transpose(
                    from.add(i * stride + j),
                    stride,
                    to.add(j * to_stride + i),
                    to_stride,
                );
            }
        }
    }
}

//! [`Simd`] on AVX2 and FMA: eight lanes, sixteen registers. For the contract see `simd.rs`.

#![allow(unsafe_code)]
// One contract for the whole file, stated in `simd.rs`.
#![allow(unsafe_op_in_unsafe_fn)]

use std::arch::x86_64::*;

use super::path::KernelPath;
use super::simd::Simd;

/// Eight lanes of AVX2.
#[derive(Clone, Copy)]
pub(super) struct Avx2;

/// The bits of `value` with its upper half rounded to bf16 (to nearest, ties to even). A NaN whose upper payload is empty
/// may become an infinity, which is as loud.
#[inline(always)]
unsafe fn rounded(value: __m256) -> __m256i {
    let bits = _mm256_castps_si256(value);
    let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
    _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)))
}

/// Four rows of eight turned into columns: vector `i` holds column `i` in its low half and column `4 + i` in its high one.
#[inline(always)]
unsafe fn quarter(from: *const f32, stride: usize) -> [__m256; 4] {
    let (a, b) = (_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(stride)));
    let (c, d) = (
        _mm256_loadu_ps(from.add(2 * stride)),
        _mm256_loadu_ps(from.add(3 * stride)),
    );
    let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    [
        _mm256_shuffle_ps::<0x44>(ab_low, cd_low),
        _mm256_shuffle_ps::<0xee>(ab_low, cd_low),
        _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
        _mm256_shuffle_ps::<0xee>(ab_high, cd_high),
    ]
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    const WIDE: bool = false;
    const PATH: KernelPath = KernelPath::Avx2;
    type F = __m256;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        _mm256_set1_ps(value)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        _mm256_loadu_ps(from)
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m256) {
        _mm256_storeu_ps(to, value)
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        _mm256_add_ps(a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        _mm256_sub_ps(a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        _mm256_mul_ps(a, b)
    }
    #[inline(always)]
    unsafe fn div(a: __m256, b: __m256) -> __m256 {
        _mm256_div_ps(a, b)
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        _mm256_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        _mm256_max_ps(a, b)
    }
    #[inline(always)]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        _mm256_min_ps(a, b)
    }
    #[inline(always)]
    unsafe fn sqrt(a: __m256) -> __m256 {
        _mm256_sqrt_ps(a)
    }
    #[inline(always)]
    unsafe fn scale_exponent(value: __m256, magic: __m256) -> __m256 {
        let shift = _mm256_slli_epi32::<23>(_mm256_castps_si256(magic));
        _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(value), shift))
    }
    #[inline(always)]
    unsafe fn dot_pairs(acc: __m256, a: __m256, b: __m256) -> __m256 {
        let acc = _mm256_fmadd_ps(Self::low_half(a), Self::low_half(b), acc);
        _mm256_fmadd_ps(Self::high_half(a), Self::high_half(b), acc)
    }
    #[inline(always)]
    unsafe fn pack_pairs(low: __m256, high: __m256) -> __m256 {
        let low = _mm256_srli_epi32::<16>(rounded(low));
        let high = _mm256_and_si256(rounded(high), _mm256_set1_epi32(0xffff_0000u32 as i32));
        _mm256_castsi256_ps(_mm256_or_si256(low, high))
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, value: __m256) {
        let halves = _mm256_srli_epi32::<16>(rounded(value));
        let packed = _mm256_packus_epi32(halves, halves);
        let ordered = _mm256_permute4x64_epi64::<0b00_00_10_00>(packed);
        _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(ordered))
    }
    #[inline(always)]
    unsafe fn low_half(pairs: __m256) -> __m256 {
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(pairs)))
    }
    #[inline(always)]
    unsafe fn high_half(pairs: __m256) -> __m256 {
        let mask = _mm256_set1_epi32(0xffff_0000u32 as i32);
        _mm256_castsi256_ps(_mm256_and_si256(_mm256_castps_si256(pairs), mask))
    }
    #[inline(always)]
    unsafe fn sums([a, b, c, d]: [__m256; 4]) -> [f32; 4] {
        let sums = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
        let sums = _mm_add_ps(
            _mm256_castps256_ps128(sums),
            _mm256_extractf128_ps::<1>(sums),
        );
        let mut out = [0.0; 4];
        _mm_storeu_ps(out.as_mut_ptr(), sums);
        out
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        let [a, b, c, d] = quarter(from, stride);
        let [e, f, g, h] = quarter(from.add(4 * stride), stride);
        for (i, (low, high)) in [(a, e), (b, f), (c, g), (d, h)].into_iter().enumerate() {
            _mm256_storeu_ps(
                to.add(i * to_stride),
                _mm256_permute2f128_ps::<0x20>(low, high),
            );
            _mm256_storeu_ps(
                to.add((4 + i) * to_stride),
                _mm256_permute2f128_ps::<0x31>(low, high),
            );
        }
    }
}

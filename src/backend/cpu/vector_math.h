// Float vectors of one tier and the functions of them that kernels need: exp, erfc, half conversions,
// reductions.
//
// For files compiled once per tier only (LATHE_TIER is avx2 or avx512). Everything is in the tier's namespace
// and has internal linkage, so that the linker can never give AVX-512 code to an AVX2 machine.
#pragma once

// gcc 12 takes the undefined operands inside its own AVX-512 intrinsics for uninitialised variables.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#include <stdint.h>

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

#if defined(__AVX512F__)
using F32 = __m512;
using I32 = __m512i;
constexpr int kWidth = 16;
inline F32 splat(float x) {
  return _mm512_set1_ps(x);
}
inline F32 zero() {
  return _mm512_setzero_ps();
}
inline F32 load(const float* p) {
  return _mm512_loadu_ps(p);
}
inline void store(float* p, F32 x) {
  _mm512_storeu_ps(p, x);
}
// The first `count` lanes, 0 <= count < kWidth; the others are zero, and memory behind them is not touched.
inline F32 load_part(const float* p, int count) {
  return _mm512_maskz_loadu_ps(__mmask16((1u << count) - 1), p);
}
inline void store_part(float* p, F32 x, int count) {
  _mm512_mask_storeu_ps(p, __mmask16((1u << count) - 1), x);
}
// Lanes from `count` on replaced by `other`; any count.
inline F32 keep_first(F32 x, int count, F32 other) {
  const I32 lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_mask_mov_ps(other, _mm512_cmplt_epi32_mask(lane, _mm512_set1_epi32(count)), x);
}
inline F32 add(F32 a, F32 b) {
  return _mm512_add_ps(a, b);
}
inline F32 sub(F32 a, F32 b) {
  return _mm512_sub_ps(a, b);
}
inline F32 mul(F32 a, F32 b) {
  return _mm512_mul_ps(a, b);
}
inline F32 div(F32 a, F32 b) {
  return _mm512_div_ps(a, b);
}
inline F32 fma(F32 a, F32 b, F32 c) {
  return _mm512_fmadd_ps(a, b, c);
}  // a b + c
inline F32 fnma(F32 a, F32 b, F32 c) {
  return _mm512_fnmadd_ps(a, b, c);
}  // c - a b
// b where either is NaN: put the value that may be NaN second.
inline F32 max(F32 a, F32 b) {
  return _mm512_max_ps(a, b);
}
inline F32 min(F32 a, F32 b) {
  return _mm512_min_ps(a, b);
}
inline F32 round(F32 x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline F32 abs(F32 x) {
  return _mm512_abs_ps(x);
}
inline F32 where_negative(F32 x, F32 yes, F32 no) {
  return _mm512_mask_mov_ps(no, _mm512_movepi32_mask(_mm512_castps_si512(x)), yes);
}
// x where it is NaN, else y.
inline F32 nan_to(F32 x, F32 y) {
  return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
}
inline bool any_nan(F32 x) {
  return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q) != 0;
}
// Bit i is set where lane i equals / is infinite or NaN.
inline uint32_t equal_lanes(F32 a, F32 b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
inline uint32_t not_finite_lanes(F32 x) {
  const I32 exponent = _mm512_set1_epi32(0x7f800000);
  return _mm512_cmpeq_epi32_mask(_mm512_and_si512(_mm512_castps_si512(x), exponent), exponent);
}
// x 2^n for whole n, with correct overflow and underflow.
inline F32 scale_by_power(F32 x, F32 n) {
  return _mm512_scalef_ps(x, n);
}
inline F32 load_f16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
}
inline F32 load_bf16(const uint16_t* p) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16));
}
inline void store_f16(uint16_t* p, F32 x) {
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline void store_bf16(uint16_t* p, F32 x) {  // to nearest even; NaN stays NaN
  const I32 bits = _mm512_castps_si512(x);
  const I32 odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const I32 up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const I32 quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const I32 rounded = _mm512_mask_mov_epi32(up, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), quiet);
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}
inline __m256 fold(F32 x, bool maximum) {
  const __m256 low = _mm512_castps512_ps256(x);
  const __m256 high = _mm512_extractf32x8_ps(x, 1);
  return maximum ? _mm256_max_ps(low, high) : _mm256_add_ps(low, high);
}
#else
using F32 = __m256;
using I32 = __m256i;
constexpr int kWidth = 8;
inline F32 splat(float x) {
  return _mm256_set1_ps(x);
}
inline F32 zero() {
  return _mm256_setzero_ps();
}
inline F32 load(const float* p) {
  return _mm256_loadu_ps(p);
}
inline void store(float* p, F32 x) {
  _mm256_storeu_ps(p, x);
}
inline I32 first_lanes(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline F32 load_part(const float* p, int count) {
  return _mm256_maskload_ps(p, first_lanes(count));
}
inline void store_part(float* p, F32 x, int count) {
  _mm256_maskstore_ps(p, first_lanes(count), x);
}
inline F32 keep_first(F32 x, int count, F32 other) {
  return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(first_lanes(count)));
}
inline F32 add(F32 a, F32 b) {
  return _mm256_add_ps(a, b);
}
inline F32 sub(F32 a, F32 b) {
  return _mm256_sub_ps(a, b);
}
inline F32 mul(F32 a, F32 b) {
  return _mm256_mul_ps(a, b);
}
inline F32 div(F32 a, F32 b) {
  return _mm256_div_ps(a, b);
}
inline F32 fma(F32 a, F32 b, F32 c) {
  return _mm256_fmadd_ps(a, b, c);
}
inline F32 fnma(F32 a, F32 b, F32 c) {
  return _mm256_fnmadd_ps(a, b, c);
}
inline F32 max(F32 a, F32 b) {
  return _mm256_max_ps(a, b);
}
inline F32 min(F32 a, F32 b) {
  return _mm256_min_ps(a, b);
}
inline F32 round(F32 x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline F32 abs(F32 x) {
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}
inline F32 where_negative(F32 x, F32 yes, F32 no) {
  return _mm256_blendv_ps(no, yes, x);
}
inline F32 nan_to(F32 x, F32 y) {
  return _mm256_blendv_ps(y, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}
inline bool any_nan(F32 x) {
  return _mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)) != 0;
}
inline uint32_t equal_lanes(F32 a, F32 b) {
  return uint32_t(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ)));
}
inline uint32_t not_finite_lanes(F32 x) {
  const I32 exponent = _mm256_set1_epi32(0x7f800000);
  const I32 bits = _mm256_and_si256(_mm256_castps_si256(x), exponent);
  return uint32_t(_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(bits, exponent))));
}
inline F32 scale_by_power(F32 x, F32 n) {
  // In two halves, because 2^n itself may be out of range where x 2^n is not.
  const I32 whole = _mm256_cvtps_epi32(n);
  const I32 half = _mm256_srai_epi32(whole, 1);
  const auto power = [](I32 e) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, _mm256_set1_epi32(127)), 23));
  };
  return mul(mul(x, power(half)), power(_mm256_sub_epi32(whole, half)));
}
inline F32 load_f16(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
}
inline F32 load_bf16(const uint16_t* p) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16));
}
inline void store_f16(uint16_t* p, F32 x) {
  _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline void store_bf16(uint16_t* p, F32 x) {
  const I32 bits = _mm256_castps_si256(x);
  const I32 odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const I32 up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const I32 quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const F32 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
  const F32 rounded = _mm256_blendv_ps(_mm256_castsi256_ps(up), _mm256_castsi256_ps(quiet), nan);
  const I32 high = _mm256_srli_epi32(_mm256_castps_si256(rounded), 16);
  const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
  _mm_storeu_si128((__m128i*)p, packed);
}
inline __m256 fold(F32 x, bool) {
  return x;
}
#endif

// Sum and maximum of all lanes, in one fixed order. NaN lanes make the sum NaN; the maximum may lose them.
inline float sum_lanes(F32 x) {
  const __m256 y = fold(x, false);
  __m128 z = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
  z = _mm_add_ps(z, _mm_movehl_ps(z, z));
  return _mm_cvtss_f32(_mm_add_ss(z, _mm_movehdup_ps(z)));
}
inline float max_lanes(F32 x) {
  const __m256 y = fold(x, true);
  __m128 z = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
  z = _mm_max_ps(z, _mm_movehl_ps(z, z));
  return _mm_cvtss_f32(_mm_max_ss(z, _mm_movehdup_ps(z)));
}

// e^x to 2 units in the last place; exp(-inf) = 0, exp(inf) = inf, NaN stays NaN, results may be subnormal.
inline F32 exp(F32 x) {
  // x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts so that r is exact to float precision.
  // e^r = 1 + r + r^2 p(r), p fitted by least squares on Chebyshev points to a relative error of 6e-11.
  x = max(splat(-104.0f), min(splat(89.0f), x));
  const F32 n = round(mul(x, splat(1.44269504f)));
  F32 r = fnma(n, splat(0x1.62e4p-1f), x);
  r = fnma(n, splat(0x1.7f7d1cp-20f), r);
  F32 p = splat(1.990978344e-4f);
  p = fma(p, r, splat(1.394656138e-3f));
  p = fma(p, r, splat(8.333280683e-3f));
  p = fma(p, r, splat(4.166626185e-2f));
  p = fma(p, r, splat(1.666666716e-1f));
  p = fma(p, r, splat(0.5f));
  return scale_by_power(add(splat(1.0f), fma(mul(r, r), p, r)), n);
}

// yes where a < b.
inline F32 where_less(F32 a, F32 b, F32 yes, F32 no) {
  return where_negative(sub(a, b), yes, no);
}
inline F32 logistic(F32 x) {
  return div(splat(1.0f), add(splat(1.0f), exp(sub(zero(), x))));
}
inline F32 hyperbolic_tangent(F32 x) {
  // 1 - 2 / (e^2x + 1); near 0, where that loses digits, the series.
  const F32 far = sub(splat(1.0f), div(splat(2.0f), add(exp(add(x, x)), splat(1.0f))));
  const F32 s = mul(x, x);
  F32 p = splat(62.0f / 2835);
  p = fma(p, s, splat(-17.0f / 315));
  p = fma(p, s, splat(2.0f / 15));
  p = fma(p, s, splat(-1.0f / 3));
  const F32 near = fma(mul(p, s), x, x);
  return nan_to(x, where_less(abs(x), splat(0.3f), near, far));
}

// erfc(z) / 2 for the distribution function of the normal: relative error about 1e-6 down to its underflow.
inline F32 half_erfc(F32 z) {
  // For a = |z|: erfc(a) = e^(-a^2) q(t) / (1 + 2 a), t = (a - 2) / (a + 2); q fitted as p above, to 1.4e-8
  // on [0, 12]. The part of a^2 that its float loses is put back: it would cost 1e-5 where a^2 is large.
  const F32 a = min(splat(12.0f), abs(z));
  const F32 t = div(sub(a, splat(2.0f)), add(a, splat(2.0f)));
  F32 q = splat(4.488226477e-05f);
  q = fma(q, t, splat(-3.266736166e-04f));
  q = fma(q, t, splat(-1.249599853e-03f));
  q = fma(q, t, splat(1.239800826e-03f));
  q = fma(q, t, splat(8.625159971e-03f));
  q = fma(q, t, splat(-8.035035804e-03f));
  q = fma(q, t, splat(-5.420063064e-02f));
  q = fma(q, t, splat(1.640521884e-01f));
  q = fma(q, t, splat(-1.660317928e-01f));
  q = fma(q, t, splat(-9.276387095e-02f));
  q = fma(q, t, splat(1.276978374e+00f));
  const F32 square = mul(a, a);
  const F32 lost = fnma(a, a, square);  // square - a a, exactly
  F32 e = exp(sub(zero(), square));
  e = fma(e, lost, e);
  const F32 tail = mul(splat(0.5f), div(mul(e, q), fma(splat(2.0f), a, splat(1.0f))));
  // abs and min lose a NaN's way only in `a`: min keeps its second operand.
  return where_negative(z, sub(splat(1.0f), tail), tail);
}

}  // namespace
}  // namespace lathe::backend::cpu::LATHE_TIER

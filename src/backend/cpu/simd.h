// Integer vectors of one tier: bytes of codes and their dot products. Beside vector_math.h, under its rules.
#pragma once

#include "backend/cpu/vector_math.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

// A panel's 16 rows are this many vectors; vector v of a word of codes holds rows v * kWidth onwards.
constexpr int kPanelVectors = 16 / kWidth;
#if defined(__AVX512F__)
constexpr bool kIsAvx512 = true;
inline I32 load_i32(const void* p) {
  return _mm512_loadu_si512(p);
}
inline void store_i32(void* p, I32 x) {
  _mm512_storeu_si512(p, x);
}
inline I32 splat_i32(int32_t x) {
  return _mm512_set1_epi32(x);
}
inline I32 and_bits(I32 a, I32 b) {
  return _mm512_and_si512(a, b);
}
// (a & mask) | b
inline I32 merge_bits(I32 a, I32 mask, I32 b) {
  return _mm512_ternarylogic_epi32(a, mask, b, 0xea);
}
inline I32 xor_bits(I32 a, I32 b) {
  return _mm512_xor_si512(a, b);
}
inline I32 add_i32(I32 a, I32 b) {
  return _mm512_add_epi32(a, b);
}
inline I32 sub_i8(I32 a, I32 b) {
  return _mm512_sub_epi8(a, b);
}
inline I32 sub_i16(I32 a, I32 b) {
  return _mm512_sub_epi16(a, b);
}
inline I32 multiply_i32(I32 a, I32 b) {
  return _mm512_mullo_epi32(a, b);
}
inline I32 max_i32(I32 a, I32 b) {
  return _mm512_max_epi32(a, b);
}
template <int N>
inline I32 shift_left_16(I32 x) {
  return _mm512_slli_epi16(x, N);
}
template <int N>
inline I32 shift_right_16(I32 x) {
  return _mm512_srli_epi16(x, N);
}
template <int N>
inline I32 shift_right_signed_16(I32 x) {
  return _mm512_srai_epi16(x, N);
}
template <int N>
inline I32 shift_left_32(I32 x) {
  return _mm512_slli_epi32(x, N);
}
template <int N>
inline I32 shift_right_32(I32 x) {
  return _mm512_srli_epi32(x, N);
}
inline I32 shift_right_by(I32 x, int count) {
  return _mm512_srl_epi32(x, _mm_cvtsi32_si128(count));
}
inline F32 to_f32(I32 x) {
  return _mm512_cvtepi32_ps(x);
}
inline I32 to_i32(F32 x) {
  return _mm512_cvtps_epi32(x);
}  // to nearest even
inline I32 bits_of(F32 x) {
  return _mm512_castps_si512(x);
}
inline F32 float_of(I32 x) {
  return _mm512_castsi512_ps(x);
}
inline I32 load_u8(const void* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p));
}
inline I32 load_s8(const void* p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p));
}
inline void store_low_bytes(void* p, I32 x) {
  _mm_storeu_si128((__m128i*)p, _mm512_cvtepi32_epi8(x));
}
inline void store_low_words(void* p, I32 x) {
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16(x));
}
inline int32_t max_lanes_i32(I32 x) {
  return _mm512_reduce_max_epi32(x);
}
// sum + the products of each lane's four bytes. Exact: 4 * 255 * 128 is far from 2^31.
inline I32 dot_u8_s8(I32 sum, I32 u, I32 s) {
  return _mm512_dpbusd_epi32(sum, u, s);
}
// sum + a0 b0 + a1 b1 of each lane's two signed 16-bit numbers.
inline I32 dot_s16(I32 sum, I32 a, I32 b) {
  return _mm512_dpwssd_epi32(sum, a, b);
}
// sum + a0 b0 + a1 b1 of each lane's two bf16. Written out because the file is not compiled for avx512_bf16.
inline F32 dot_bf16(F32 sum, I32 a, I32 b) {
  __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}
// Keeps a value in its register at this point: gcc 12 otherwise reorders the tile's products and spills.
inline void pin(I32& x) {
  __asm__ volatile("" : "+v"(x));
}
inline void pin(F32& x) {
  __asm__ volatile("" : "+v"(x));
}
#else
constexpr bool kIsAvx512 = false;
inline I32 load_i32(const void* p) {
  return _mm256_loadu_si256((const __m256i*)p);
}
inline void store_i32(void* p, I32 x) {
  _mm256_storeu_si256((__m256i*)p, x);
}
inline I32 splat_i32(int32_t x) {
  return _mm256_set1_epi32(x);
}
inline I32 and_bits(I32 a, I32 b) {
  return _mm256_and_si256(a, b);
}
inline I32 merge_bits(I32 a, I32 mask, I32 b) {
  return _mm256_or_si256(_mm256_and_si256(a, mask), b);
}
inline I32 xor_bits(I32 a, I32 b) {
  return _mm256_xor_si256(a, b);
}
inline I32 add_i32(I32 a, I32 b) {
  return _mm256_add_epi32(a, b);
}
inline I32 sub_i8(I32 a, I32 b) {
  return _mm256_sub_epi8(a, b);
}
inline I32 sub_i16(I32 a, I32 b) {
  return _mm256_sub_epi16(a, b);
}
inline I32 multiply_i32(I32 a, I32 b) {
  return _mm256_mullo_epi32(a, b);
}
inline I32 max_i32(I32 a, I32 b) {
  return _mm256_max_epi32(a, b);
}
template <int N>
inline I32 shift_left_16(I32 x) {
  return _mm256_slli_epi16(x, N);
}
template <int N>
inline I32 shift_right_16(I32 x) {
  return _mm256_srli_epi16(x, N);
}
template <int N>
inline I32 shift_right_signed_16(I32 x) {
  return _mm256_srai_epi16(x, N);
}
template <int N>
inline I32 shift_left_32(I32 x) {
  return _mm256_slli_epi32(x, N);
}
template <int N>
inline I32 shift_right_32(I32 x) {
  return _mm256_srli_epi32(x, N);
}
inline I32 shift_right_by(I32 x, int count) {
  return _mm256_srl_epi32(x, _mm_cvtsi32_si128(count));
}
inline F32 to_f32(I32 x) {
  return _mm256_cvtepi32_ps(x);
}
inline I32 to_i32(F32 x) {
  return _mm256_cvtps_epi32(x);
}
inline I32 bits_of(F32 x) {
  return _mm256_castps_si256(x);
}
inline F32 float_of(I32 x) {
  return _mm256_castsi256_ps(x);
}
inline I32 load_u8(const void* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p));
}
inline I32 load_s8(const void* p) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p));
}
inline void store_low_bytes(void* p, I32 x) {
  const I32 bytes = _mm256_shuffle_epi8(x, _mm256_set1_epi64x(0x0c0804000c080400));
  const I32 packed = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4));
  _mm_storel_epi64((__m128i*)p, _mm256_castsi256_si128(packed));
}
inline void store_low_words(void* p, I32 x) {  // for values that fit
  const __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  _mm_storeu_si128((__m128i*)p, packed);
}
inline int32_t max_lanes_i32(I32 x) {
  __m128i y = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  y = _mm_max_epi32(y, _mm_shuffle_epi32(y, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(y, _mm_shuffle_epi32(y, 0xb1)));
}
// Exact for u <= 127 and |s| <= 127, and for u <= 128 (the magnitude of a signed byte) too: vpmaddubsw adds
// two products, and 2 * 128 * 127 = 32512 fits 16 bits.
inline I32 dot_u8_s8(I32 sum, I32 u, I32 s) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1)));
}
inline I32 dot_s16(I32 sum, I32 a, I32 b) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}
inline I32 dot_s8_s8(I32 sum, I32 w, I32 s) {
  return dot_u8_s8(sum, _mm256_abs_epi8(w), _mm256_sign_epi8(s, w));
}
inline void pin(I32& x) {
  __asm__ volatile("" : "+x"(x));
}
inline void pin(F32& x) {
  __asm__ volatile("" : "+x"(x));
}
#endif

// Four adjacent bytes in all lanes.
inline I32 splat_bytes(const void* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return splat_i32(word);
}

}  // namespace
}  // namespace lathe::backend::cpu::LATHE_TIER

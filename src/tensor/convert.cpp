#include "tensor/convert.h"

#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/numbers.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lathe::tensor {
namespace {

template <class T>
T load(const std::byte* in) {
  T value;
  std::memcpy(&value, in, sizeof(T));
  return value;
}

template <class T>
void store(std::byte* out, T value) {
  std::memcpy(out, &value, sizeof(T));
}

#if defined(__x86_64__)
#define LATHE_TARGET_AVX2 __attribute__((target("avx2,f16c")))

// Whole groups of 8; returns how many elements were done. The rest is left to the portable loops, which give
// the same bits (but for signalling NaNs, which the instruction makes quiet).
LATHE_TARGET_AVX2 int64_t widen_f16_avx2(const std::byte* in, int64_t count, float* out) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i * 2));
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(half));
  }
  return i;
}

LATHE_TARGET_AVX2 int64_t narrow_f16_avx2(const float* in, int64_t count, std::byte* out) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i * 2), half);
  }
  return i;
}

bool has_f16c() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
}
#else
int64_t widen_f16_avx2(const std::byte*, int64_t, float*) {
  return 0;
}
int64_t narrow_f16_avx2(const float*, int64_t, std::byte*) {
  return 0;
}
bool has_f16c() {
  return false;
}
#endif

void widen_f16(const std::byte* in, int64_t count, float* out) {
  int64_t i = has_f16c() ? widen_f16_avx2(in, count, out) : 0;
  for (; i < count; ++i) out[i] = f16_to_f32(load<uint16_t>(in + i * 2));
}

void narrow_f16(const float* in, int64_t count, std::byte* out) {
  int64_t i = has_f16c() ? narrow_f16_avx2(in, count, out) : 0;
  for (; i < count; ++i) store(out + i * 2, f32_to_f16(in[i]));
}

// Branch-free form of f32_to_bf16, so that the compiler vectorises the loop.
void narrow_bf16(const float* in, int64_t count, std::byte* out) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(in[i]);
    const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    const uint32_t quiet_nan = bits >> 16 | 0x40u;
    const uint32_t is_nan = 0u - uint32_t((bits & 0x7fffffffu) > 0x7f800000u);
    store(out + i * 2, uint16_t((rounded & ~is_nan) | (quiet_nan & is_nan)));
  }
}

// Value of an 8-bit (or shorter) float without regard to its special values.
constexpr float decode_bits(unsigned bits, int exponent_bits, int mantissa_bits, int bias) {
  const unsigned exponent = bits >> mantissa_bits & ((1u << exponent_bits) - 1);
  const unsigned mantissa = bits & ((1u << mantissa_bits) - 1);
  const bool normal = exponent != 0;
  const unsigned significand = mantissa | unsigned(normal) << mantissa_bits;
  const int power = (normal ? int(exponent) : 1) - bias - mantissa_bits;
  const float magnitude = float(significand) * std::bit_cast<float>(uint32_t(power + 127) << 23);
  return bits >> (exponent_bits + mantissa_bits) & 1 ? -magnitude : magnitude;
}

constexpr float decode_small(DType dtype, unsigned bits) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  switch (dtype) {
    case DType::f8e4m3fn:
      return (bits & 0x7f) == 0x7f ? kNan : decode_bits(bits, 4, 3, 7);
    case DType::f8e4m3fnuz:
      return bits == 0x80 ? kNan : decode_bits(bits, 4, 3, 8);
    case DType::f8e5m2:
      if ((bits & 0x7c) != 0x7c) return decode_bits(bits, 5, 2, 15);
      return (bits & 3) != 0 ? kNan : bits & 0x80 ? -kInfinity : kInfinity;
    case DType::f8e5m2fnuz:
      return bits == 0x80 ? kNan : decode_bits(bits, 5, 2, 16);
    case DType::f8e8m0:  // 2^(bits - 127); the smallest is subnormal
      return bits == 0xff ? kNan : std::bit_cast<float>(bits == 0 ? 0x00400000u : uint32_t(bits) << 23);
    default:
      return decode_bits(bits & 15, 2, 1, 1);  // f4e2m1
  }
}

template <DType kDType>
constexpr std::array<float, 256> small_table() {
  std::array<float, 256> table{};
  for (unsigned bits = 0; bits < 256; ++bits) table[bits] = decode_small(kDType, bits);
  return table;
}

template <DType kDType>
void widen_small(const std::byte* in, int64_t count, float* out) {
  static constexpr std::array<float, 256> kTable = small_table<kDType>();
  for (int64_t i = 0; i < count; ++i) out[i] = kTable[size_t(in[i])];
}

void widen_f4(const std::byte* in, int64_t count, float* out) {
  static constexpr std::array<float, 256> kTable = small_table<DType::f4e2m1>();
  for (int64_t i = 0; i < count; ++i) out[i] = kTable[size_t(in[i / 2]) >> (i % 2 * 4) & 15];
}

}  // namespace

void widen_to_f32(DType dtype, const std::byte* in, int64_t count, float* out) {
  switch (dtype) {
    case DType::f32:
      if (count > 0) std::memcpy(out, in, size_t(count) * 4);
      return;
    case DType::f64:
      for (int64_t i = 0; i < count; ++i) out[i] = float(load<double>(in + i * 8));
      return;
    case DType::f16:
      return widen_f16(in, count, out);
    case DType::bf16:
      for (int64_t i = 0; i < count; ++i) out[i] = bf16_to_f32(load<uint16_t>(in + i * 2));
      return;
    case DType::f8e4m3fn:
      return widen_small<DType::f8e4m3fn>(in, count, out);
    case DType::f8e4m3fnuz:
      return widen_small<DType::f8e4m3fnuz>(in, count, out);
    case DType::f8e5m2:
      return widen_small<DType::f8e5m2>(in, count, out);
    case DType::f8e5m2fnuz:
      return widen_small<DType::f8e5m2fnuz>(in, count, out);
    case DType::f8e8m0:
      return widen_small<DType::f8e8m0>(in, count, out);
    case DType::f4e2m1:
      return widen_f4(in, count, out);
    default:
      fail(ErrorCode::unsupported, "{} values cannot be read as f32", to_string(dtype));
  }
}

void narrow_from_f32(const float* in, int64_t count, DType dtype, std::byte* out) {
  switch (dtype) {
    case DType::f32:
      if (count > 0) std::memcpy(out, in, size_t(count) * 4);
      return;
    case DType::f64:
      for (int64_t i = 0; i < count; ++i) store(out + i * 8, double(in[i]));
      return;
    case DType::f16:
      return narrow_f16(in, count, out);
    case DType::bf16:
      return narrow_bf16(in, count, out);
    default:
      fail(ErrorCode::unsupported, "no conversion from f32 to {}", to_string(dtype));
  }
}

}  // namespace lathe::tensor

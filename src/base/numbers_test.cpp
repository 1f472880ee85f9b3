// Small float formats against the processor's own conversions and against arithmetic, for every bit pattern.
#include "base/numbers.h"

#include <gtest/gtest.h>
#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

namespace lathe {
namespace {

__attribute__((target("f16c"))) float hardware_f16_to_f32(uint16_t bits) {
  return _cvtsh_ss(bits);
}
__attribute__((target("f16c"))) uint16_t hardware_f32_to_f16(float value) {
  return _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT);
}

uint32_t bits_of(float value) {
  return std::bit_cast<uint32_t>(value);
}

// The value a pattern means, from the definition of the format.
double value_of(unsigned bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = int(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const double mantissa = double(bits & ((1u << mantissa_bits) - 1)) / double(1 << mantissa_bits);
  const double sign = (bits >> (exponent_bits + mantissa_bits)) & 1 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return mantissa == 0 ? sign * INFINITY : NAN;
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias);
  return sign * std::ldexp(1 + mantissa, exponent - bias);
}

TEST(Numbers, F16ToF32ForAllPatterns) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float value = f16_to_f32(uint16_t(bits));
    const double wanted = value_of(bits, 5, 10);
    if (std::isnan(wanted)) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      continue;
    }
    ASSERT_EQ(double(value), wanted) << bits;
    ASSERT_EQ(std::signbit(value), std::signbit(wanted)) << bits;
    ASSERT_EQ(f32_to_f16(value), bits);
  }
}

TEST(Numbers, Bf16ToF32ForAllPatterns) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float value = bf16_to_f32(uint16_t(bits));
    const double wanted = value_of(bits, 8, 7);
    if (std::isnan(wanted)) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      ASSERT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(value)))) << bits;
      continue;
    }
    ASSERT_EQ(double(value), wanted) << bits;
    ASSERT_EQ(f32_to_bf16(value), bits);
  }
}

// Around every representable value and every midpoint between two of them: the float itself and its
// neighbours.
TEST(Numbers, F32ToF16RoundsLikeTheProcessor) {
  if (!__builtin_cpu_supports("f16c")) GTEST_SKIP() << "this machine has no F16C";
  const auto check = [](float value) {
    for (const float x : {value, std::nextafter(value, INFINITY), std::nextafter(value, -INFINITY)}) {
      ASSERT_EQ(f32_to_f16(x), hardware_f32_to_f16(x)) << std::hexfloat << x;
    }
  };
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float value = f16_to_f32(uint16_t(bits));
    ASSERT_EQ(bits_of(value) & ~(std::isnan(value) ? 0x400000u : 0u),
              bits_of(hardware_f16_to_f32(uint16_t(bits))) & ~(std::isnan(value) ? 0x400000u : 0u))
        << bits;
    if (!std::isfinite(value)) continue;
    const unsigned next = bits + 1;
    const double above =
        (next & 0x7fff) == 0x7c00 ? std::copysign(65536.0, double(value)) : value_of(next, 5, 10);
    check(value);
    if ((next & 0x7fff) != 0) check(float((double(value) + above) / 2));
  }
  std::mt19937 random(1);
  for (int i = 0; i < 2000000; ++i) {
    const float x = std::bit_cast<float>(uint32_t(random()));
    ASSERT_EQ(f32_to_f16(x), hardware_f32_to_f16(x)) << bits_of(x);
  }
}

TEST(Numbers, F32ToBf16RoundsToNearestEven) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float low = bf16_to_f32(uint16_t(bits));
    if (!std::isfinite(low)) continue;
    const uint32_t base = bits << 16;
    ASSERT_EQ(f32_to_bf16(std::bit_cast<float>(base | 0x7fffu)), bits);
    ASSERT_EQ(f32_to_bf16(std::bit_cast<float>(base | 0x8000u)), bits + (bits & 1));
    ASSERT_EQ(f32_to_bf16(std::bit_cast<float>(base | 0x8001u)), bits + 1);
    ASSERT_EQ(f32_to_bf16(std::bit_cast<float>(base | 0xffffu)), bits + 1);
  }
}

TEST(Numbers, NanStaysNanWhateverItsPayload) {
  for (const uint32_t payload : {1u, 0x1fffu, 0x2000u, 0xffffu, 0x10000u, 0x3fffffu, 0x400000u, 0x7fffffu}) {
    for (const uint32_t sign : {0u, 0x80000000u}) {
      const float nan = std::bit_cast<float>(sign | 0x7f800000u | payload);
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(nan)))) << payload;
      EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(nan)))) << payload;
    }
  }
}

}  // namespace
}  // namespace lathe

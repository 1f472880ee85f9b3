#include "op/small_float.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/numbers.h"

namespace lathe::op {
namespace {

using tensor::DType;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A format of sign, exponent and mantissa. Source: the OCP 8-bit and MX specifications; "fnuz" formats are
// those of Graphcore and AMD, whose only NaN is the pattern of negative zero.
struct Format {
  int mantissa_bits;
  int bias;
  int sign_shift;      // position of the sign bit
  uint8_t largest;     // pattern of the largest finite value
  bool has_infinity;   // e5m2: as IEEE
  bool negative_zero;  // false: fnuz
  uint8_t nan;         // a NaN pattern (positive); 0 where there is none
};

Format format_of(DType dtype) {
  switch (dtype) {
    case DType::f8e4m3fn:
      return {3, 7, 7, 0x7e, false, true, 0x7f};
    case DType::f8e4m3fnuz:
      return {3, 8, 7, 0x7f, false, false, 0x80};
    case DType::f8e5m2:
      return {2, 15, 7, 0x7b, true, true, 0x7e};
    case DType::f8e5m2fnuz:
      return {2, 16, 7, 0x7f, false, false, 0x80};
    case DType::f4e2m1:
      return {1, 1, 3, 0x7, false, true, 0};
    default:
      fail(ErrorCode::internal, "{} is no small float", tensor::to_string(dtype));
  }
}

double magnitude_of(const Format& format, int bits) {
  const int exponent = bits >> format.mantissa_bits;
  const int mantissa = bits & ((1 << format.mantissa_bits) - 1);
  const int significand = exponent == 0 ? mantissa : mantissa + (1 << format.mantissa_bits);
  return std::ldexp(significand, std::max(exponent, 1) - format.bias - format.mantissa_bits);
}

// e8m0: 2^(bits - 127), and 0xff is NaN.
uint8_t encode_power(double value, Overflow overflow, PowerRounding rounding) {
  constexpr uint8_t kPowerNaN = 0xff;
  if (std::isnan(value)) return kPowerNaN;
  const bool saturate = overflow == Overflow::saturate;
  value = std::fabs(value);
  if (value == 0) return saturate ? 0 : kPowerNaN;
  if (std::isinf(value)) return saturate ? 0xfe : kPowerNaN;
  int exponent = 0;
  const double fraction = std::frexp(value, &exponent) * 2;  // value = fraction * 2^(exponent - 1), in [1, 2)
  exponent -= 1;
  if (rounding == PowerRounding::up && fraction > 1) ++exponent;
  if (rounding == PowerRounding::nearest && fraction >= 1.5) ++exponent;
  if (exponent > 127) return saturate ? 0xfe : kPowerNaN;
  if (exponent < -127) return saturate ? 0 : kPowerNaN;
  return uint8_t(exponent + 127);
}

// The float nearest to value, except that an inexact result has an odd last bit, so that rounding it again to
// a shorter format rounds as if once.
float to_odd_float(double value) {
  const float nearest = float(value);
  if (double(nearest) == value || !std::isfinite(nearest)) return nearest;
  if (std::bit_cast<uint32_t>(nearest) & 1u) return nearest;
  return std::nextafter(nearest, double(nearest) < value ? std::numeric_limits<float>::infinity()
                                                         : -std::numeric_limits<float>::infinity());
}

}  // namespace

bool is_small_float(DType dtype) {
  return tensor::is_float(dtype) && tensor::bits(dtype) <= 8;
}

double decode_small_float(DType dtype, uint8_t bits) {
  if (dtype == DType::f8e8m0) return bits == 0xff ? kNaN : std::ldexp(1.0, int(bits) - 127);
  const Format format = format_of(dtype);
  const bool negative = (bits >> format.sign_shift) & 1;
  const int magnitude = bits & ((1 << format.sign_shift) - 1);
  if (!format.negative_zero && bits == format.nan) return kNaN;
  if (magnitude > format.largest) {
    if (format.has_infinity && magnitude == format.largest + 1) return negative ? -kInfinity : kInfinity;
    return negative ? -kNaN : kNaN;
  }
  const double value = magnitude_of(format, magnitude);
  return negative ? -value : value;
}

uint8_t encode_small_float(DType dtype, double value, Overflow overflow, PowerRounding rounding) {
  if (dtype == DType::f8e8m0) return encode_power(value, overflow, rounding);
  const Format format = format_of(dtype);
  const uint8_t sign = std::signbit(value) ? uint8_t(1u << format.sign_shift) : 0;
  if (std::isnan(value)) {
    if (format.nan == 0) return uint8_t(1u << format.sign_shift);
    return format.negative_zero ? sign | format.nan : format.nan;
  }
  const double magnitude = std::fabs(value);
  const double largest = magnitude_of(format, format.largest);
  const double step_at_top = largest - magnitude_of(format, format.largest - 1);
  // The first number that would round to the one after the largest: ties go to even, and that one is even
  // exactly when the largest is odd.
  const double limit = largest + step_at_top / 2;
  const bool largest_is_odd = format.largest & 1;
  if (magnitude > limit || (magnitude == limit && largest_is_odd)) {
    if (overflow == Overflow::saturate || format.nan == 0) return sign | format.largest;
    if (format.has_infinity) return sign | uint8_t(format.largest + 1);
    return format.negative_zero ? sign | format.nan : format.nan;
  }
  // Units of the last place at this magnitude, then the pattern is exponent and mantissa side by side.
  int exponent = 1 - format.bias;
  if (magnitude > 0) exponent = std::max(exponent, std::ilogb(magnitude));
  const int units = int(std::nearbyint(std::ldexp(magnitude, format.mantissa_bits - exponent)));
  // A subnormal has units below 2^mantissa_bits and exponent field 0; a carry moves into the exponent by
  // itself.
  const int bits = ((exponent + format.bias - 1) << format.mantissa_bits) + units;
  const uint8_t pattern = uint8_t(std::min(bits, int(format.largest)));
  if (pattern == 0 && !format.negative_zero) return 0;
  return sign | pattern;
}

uint16_t double_to_f16(double value) {
  return f32_to_f16(to_odd_float(value));
}
uint16_t double_to_bf16(double value) {
  return f32_to_bf16(to_odd_float(value));
}

}  // namespace lathe::op

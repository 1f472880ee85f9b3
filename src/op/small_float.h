// The float formats of 16 bits and fewer as numbers: any bit pattern to double, double to the nearest
// pattern.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace lathe::op {

// What happens to numbers beyond the largest one, and how e8m0 rounds.
enum class Overflow : uint8_t {
  saturate,  // to the largest finite value (infinities too)
  natural,   // to infinity where the format has one, else NaN
};
enum class PowerRounding : uint8_t { up, down, nearest };

// True for f8*, f4e2m1 and f8e8m0.
bool is_small_float(tensor::DType dtype);
double decode_small_float(tensor::DType dtype, uint8_t bits);
// Rounds to nearest, ties to even (e8m0: as told). f4e2m1 has neither infinity nor NaN: it saturates, and NaN
// becomes its negative zero, as ml_dtypes does.
uint8_t encode_small_float(tensor::DType dtype, double value, Overflow overflow = Overflow::saturate,
                           PowerRounding rounding = PowerRounding::up);

// double to f16 and bf16 bits with one rounding (through float there would be two).
uint16_t double_to_f16(double value);
uint16_t double_to_bf16(double value);

}  // namespace lathe::op

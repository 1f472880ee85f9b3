// Integer arithmetic on untrusted numbers: every overflow is an Error, never a wrap.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace lathe {

// a + b, or invalid_input naming `what`.
template <class T>
T checked_add(T a, T b, std::string_view what) {
  T result;
  if (__builtin_add_overflow(a, b, &result)) {
    fail(ErrorCode::invalid_input, "{}: {} + {} overflows", what, a, b);
  }
  return result;
}

// a * b, or invalid_input naming `what`.
template <class T>
T checked_mul(T a, T b, std::string_view what) {
  T result;
  if (__builtin_mul_overflow(a, b, &result)) {
    fail(ErrorCode::invalid_input, "{}: {} x {} overflows", what, a, b);
  }
  return result;
}

// The same number as another integer type, or invalid_input naming `what`.
template <class To, class From>
To checked_cast(From value, std::string_view what) {
  static_assert(std::is_integral_v<To> && std::is_integral_v<From>);
  To result;
  if (__builtin_add_overflow(value, From{0}, &result)) {
    fail(ErrorCode::invalid_input, "{}: {} is out of range", what, value);
  }
  return result;
}

// Rounds up to a multiple of `alignment` (any positive number).
template <class T>
constexpr T align_up(T value, T alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

template <class T>
constexpr T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

}  // namespace lathe

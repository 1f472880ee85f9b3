// Elementwise functions on numbers of any type, of one tier: plain loops, which the compiler turns into vectors.
#include "backend/cpu/typed.h"

#include <math.h>

#include <type_traits>

#include "backend/cpu/vector_math.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

using tensor::DType;

// Booleans are bytes of 0 and 1, of a type of their own.
enum Boolean : uint8_t {};

// What sums and products of T wrap in.
template <class T>
using Wrapping =
    std::conditional_t<std::is_floating_point_v<T>, T, std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>>;

template <class T, class R, class F>
bool binary(const TypedCall& c, F f) {
  const T* a = static_cast<const T*>(c.a);
  const T* b = static_cast<const T*>(c.b);
  R* y = static_cast<R*>(c.y);
  if (c.a_step && c.b_step) {
    for (int64_t i = 0; i < c.count; ++i) y[i] = f(a[i], b[i]);
  } else if (c.a_step) {
    const T one = *b;
    for (int64_t i = 0; i < c.count; ++i) y[i] = f(a[i], one);
  } else {
    const T one = *a;
    for (int64_t i = 0; i < c.count; ++i) y[i] = f(one, b[i * c.b_step]);
  }
  return true;
}

template <class T, class R, class F>
bool unary(const TypedCall& c, F f) {
  const T* a = static_cast<const T*>(c.a);
  R* y = static_cast<R*>(c.y);
  for (int64_t i = 0; i < c.count; ++i) y[i] = f(a[i * c.a_step]);
  return true;
}

template <class T>
bool add(const TypedCall& c) {
  return binary<T, T>(c, [](T a, T b) { return T(Wrapping<T>(a) + Wrapping<T>(b)); });
}
template <class T>
bool subtract(const TypedCall& c) {
  return binary<T, T>(c, [](T a, T b) { return T(Wrapping<T>(a) - Wrapping<T>(b)); });
}
template <class T>
bool multiply(const TypedCall& c) {
  return binary<T, T>(c, [](T a, T b) { return T(Wrapping<T>(a) * Wrapping<T>(b)); });
}
template <class T>
bool has_zero(const void* values, int64_t step, int64_t count) {
  bool found = false;
  for (int64_t i = 0; i < (step ? count : 1); ++i) found |= static_cast<const T*>(values)[i] == 0;
  return found;
}
template <class T>
bool divide(const TypedCall& c) {
  if constexpr (std::is_floating_point_v<T>) {
    return binary<T, T>(c, [](T a, T b) { return a / b; });
  } else {
    if (has_zero<T>(c.b, c.b_step, c.count)) return false;
    // The most negative number divided by -1 wraps.
    return binary<T, T>(c, [](T a, T b) { return b == T(-1) && T(-1) < 0 ? T(0 - Wrapping<T>(a)) : T(a / b); });
  }
}
template <class T>
bool remainder_of(const TypedCall& c, bool sign_of_a) {
  if constexpr (std::is_same_v<T, float>) {
    return binary<T, T>(c, [](T a, T b) { return fmodf(a, b); });
  } else if constexpr (std::is_same_v<T, double>) {
    return binary<T, T>(c, [](T a, T b) { return fmod(a, b); });
  } else {
    if (has_zero<T>(c.b, c.b_step, c.count)) return false;
    return binary<T, T>(c, [sign_of_a](T a, T b) {
      const T rest = b == T(-1) && T(-1) < 0 ? T(0) : T(a % b);
      return !sign_of_a && rest != 0 && (rest < 0) != (b < 0) ? T(rest + b) : rest;
    });
  }
}
template <class T>
bool modulo(const TypedCall& c) {
  return remainder_of<T>(c, false);
}
template <class T>
bool float_modulo(const TypedCall& c) {
  return remainder_of<T>(c, true);
}
template <class T>
bool smaller(const TypedCall& c) {  // a NaN on either side wins
  return binary<T, T>(c, [](T a, T b) { return a != a || a < b ? a : b; });
}
template <class T>
bool larger(const TypedCall& c) {
  return binary<T, T>(c, [](T a, T b) { return a != a || a > b ? a : b; });
}
template <class T>
bool equal(const TypedCall& c) {
  return binary<T, uint8_t>(c, [](T a, T b) { return uint8_t(a == b); });
}
template <class T>
bool less(const TypedCall& c) {
  return binary<T, uint8_t>(c, [](T a, T b) { return uint8_t(a < b); });
}
template <class T>
bool less_or_equal(const TypedCall& c) {
  return binary<T, uint8_t>(c, [](T a, T b) { return uint8_t(a <= b); });
}
template <class T>
bool greater(const TypedCall& c) {
  return binary<T, uint8_t>(c, [](T a, T b) { return uint8_t(a > b); });
}
template <class T>
bool greater_or_equal(const TypedCall& c) {
  return binary<T, uint8_t>(c, [](T a, T b) { return uint8_t(a >= b); });
}
template <class T>
bool bit_and(const TypedCall& c) {
  return binary<T, T>(c, [](T a, T b) { return T(a & b); });
}
template <class T>
bool bit_or(const TypedCall& c) {
  return binary<T, T>(c, [](T a, T b) { return T(a | b); });
}
template <class T>
bool bit_xor(const TypedCall& c) {
  return binary<T, T>(c, [](T a, T b) { return T(a ^ b); });
}
template <class T>
bool negate(const TypedCall& c) {
  if constexpr (std::is_floating_point_v<T>) {
    return unary<T, T>(c, [](T a) { return -a; });
  } else {
    return unary<T, T>(c, [](T a) { return T(0 - Wrapping<T>(a)); });
  }
}
template <class T>
bool magnitude(const TypedCall& c) {
  if constexpr (std::is_floating_point_v<T>) {
    return unary<T, T>(c, [](T a) { return T(__builtin_fabs(a)); });
  } else {
    return unary<T, T>(c, [](T a) { return a < 0 ? T(0 - Wrapping<T>(a)) : a; });
  }
}
template <class T>
bool sign(const TypedCall& c) {
  return unary<T, T>(c, [](T a) { return a != a ? a : T(T(a > 0) - T(a < 0)); });
}
template <class T>
bool bit_not(const TypedCall& c) {
  return unary<T, T>(c, [](T a) { return T(~a); });
}
bool logical_not(const TypedCall& c) {
  return unary<uint8_t, uint8_t>(c, [](uint8_t a) { return uint8_t(a ^ 1); });
}
template <class T>
bool is_nan(const TypedCall& c) {
  return unary<T, uint8_t>(c, [](T a) { return uint8_t(a != a); });
}
template <class T>
bool is_inf(const TypedCall& c) {
  const uint8_t below = c.flags & 1, above = c.flags >> 1 & 1;
  return unary<T, uint8_t>(c,
                           [=](T a) { return uint8_t((a == T(-HUGE_VAL) && below) || (a == T(HUGE_VAL) && above)); });
}

template <class T>
bool choose(const TypedCall& call) {
  const T* a = static_cast<const T*>(call.a);
  const T* b = static_cast<const T*>(call.b);
  const uint8_t* c = static_cast<const uint8_t*>(call.c);
  T* y = static_cast<T*>(call.y);
  if (call.a_step && call.b_step && call.c_step) {
    for (int64_t i = 0; i < call.count; ++i) y[i] = c[i] ? a[i] : b[i];
  } else if (!call.a_step && !call.b_step) {
    const T yes = *a, no = *b;
    for (int64_t i = 0; i < call.count; ++i) y[i] = c[i * call.c_step] ? yes : no;
  } else {
    for (int64_t i = 0; i < call.count; ++i) y[i] = c[i * call.c_step] ? a[i * call.a_step] : b[i * call.b_step];
  }
  return true;
}

template <class T>
TypedFunction find_number(TypedOp op) {
  switch (op) {
    case TypedOp::add: return add<T>;
    case TypedOp::sub: return subtract<T>;
    case TypedOp::mul: return multiply<T>;
    case TypedOp::div: return divide<T>;
    case TypedOp::mod: return modulo<T>;
    case TypedOp::fmod: return float_modulo<T>;
    case TypedOp::min: return smaller<T>;
    case TypedOp::max: return larger<T>;
    case TypedOp::equal: return equal<T>;
    case TypedOp::less: return less<T>;
    case TypedOp::less_or_equal: return less_or_equal<T>;
    case TypedOp::greater: return greater<T>;
    case TypedOp::greater_or_equal: return greater_or_equal<T>;
    case TypedOp::neg: return negate<T>;
    case TypedOp::abs: return magnitude<T>;
    case TypedOp::sign: return sign<T>;
    default: break;
  }
  if constexpr (std::is_floating_point_v<T>) {
    if (op == TypedOp::is_nan) return is_nan<T>;
    if (op == TypedOp::is_inf) return is_inf<T>;
  } else {
    if (op == TypedOp::bit_and) return bit_and<T>;
    if (op == TypedOp::bit_or) return bit_or<T>;
    if (op == TypedOp::bit_xor) return bit_xor<T>;
    if (op == TypedOp::bit_not) return bit_not<T>;
  }
  return nullptr;
}

TypedFunction find_boolean(TypedOp op) {
  if (op == TypedOp::equal) return equal<uint8_t>;
  if (op == TypedOp::bit_and) return bit_and<uint8_t>;
  if (op == TypedOp::bit_or) return bit_or<uint8_t>;
  if (op == TypedOp::bit_xor) return bit_xor<uint8_t>;
  return op == TypedOp::logical_not ? logical_not : nullptr;
}

TypedFunction find_choice(DType dtype) {
  switch (dtype) {
    case DType::u8: case DType::i8: case DType::boolean: return choose<uint8_t>;
    case DType::u16: case DType::i16: case DType::f16: case DType::bf16: return choose<uint16_t>;
    case DType::u32: case DType::i32: case DType::f32: return choose<uint32_t>;
    case DType::u64: case DType::i64: case DType::f64: return choose<uint64_t>;
    default: return nullptr;
  }
}

TypedFunction find(TypedOp op, DType dtype) {
  if (op == TypedOp::where) return find_choice(dtype);
  switch (dtype) {
    case DType::boolean: return find_boolean(op);
    case DType::f32: return find_number<float>(op);
    case DType::f64: return find_number<double>(op);
    case DType::i8: return find_number<int8_t>(op);
    case DType::i16: return find_number<int16_t>(op);
    case DType::i32: return find_number<int32_t>(op);
    case DType::i64: return find_number<int64_t>(op);
    case DType::u8: return find_number<uint8_t>(op);
    case DType::u16: return find_number<uint16_t>(op);
    case DType::u32: return find_number<uint32_t>(op);
    case DType::u64: return find_number<uint64_t>(op);
    default: return nullptr;
  }
}

// As op/values.cpp converts: towards zero, what does not fit 64 bits to their ends, NaN to 0.
inline int64_t to_int64(double x) {
  if (x != x) return 0;
  if (x >= 0x1p63) return x < 0x1p64 ? int64_t(uint64_t(x)) : INT64_MAX;
  return x >= -0x1p63 ? int64_t(x) : INT64_MIN;
}

template <class From, class To>
bool cast(const TypedCall& c) {
  const From* a = static_cast<const From*>(c.a);
  To* y = static_cast<To*>(c.y);
  if constexpr (std::is_same_v<To, Boolean>) {
    uint8_t* bytes = static_cast<uint8_t*>(c.y);
    for (int64_t i = 0; i < c.count; ++i) bytes[i] = uint8_t(a[i] != 0);
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    constexpr int64_t kChunk = 64;
    for (int64_t at = 0; at < c.count; at += kChunk) {
      const int64_t end = at + kChunk < c.count ? at + kChunk : c.count;
      int far = 0;  // beyond 31 bits, where conversion would not be one instruction
      for (int64_t i = at; i < end; ++i) far |= !(a[i] > From(-0x1p31) && a[i] < From(0x1p31));
      if (far) {
        for (int64_t i = at; i < end; ++i) y[i] = To(to_int64(double(a[i])));
      } else {
        for (int64_t i = at; i < end; ++i) y[i] = To(int32_t(a[i]));
      }
    }
  } else {
    for (int64_t i = 0; i < c.count; ++i) y[i] = To(a[i]);
  }
  return true;
}

template <bool Brain>
inline void widen(const uint16_t* x, int64_t count, float* y) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) store(y + i, Brain ? load_bf16(x + i) : load_f16(x + i));
  if (i == count) return;
  uint16_t rest[kWidth] = {};
  float wide[kWidth];
  __builtin_memcpy(rest, x + i, size_t(count - i) * 2);
  store(wide, Brain ? load_bf16(rest) : load_f16(rest));
  __builtin_memcpy(y + i, wide, size_t(count - i) * 4);
}
template <bool Brain>
inline void narrow(const float* x, int64_t count, uint16_t* y) {
  const auto put = [](uint16_t* p, F32 v) { Brain ? store_bf16(p, v) : store_f16(p, v); };
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) put(y + i, load(x + i));
  if (i == count) return;
  float rest[kWidth] = {};
  uint16_t small[kWidth];
  __builtin_memcpy(rest, x + i, size_t(count - i) * 4);
  put(small, load(rest));
  __builtin_memcpy(y + i, small, size_t(count - i) * 2);
}

// Through f32, a chunk at a time. Exact on the way to it; false for integers that f32 would round.
template <class To, bool Brain>
bool cast_half(const TypedCall& c) {
  float wide[256];
  for (int64_t at = 0; at < c.count; at += 256) {
    const int64_t count = c.count - at < 256 ? c.count - at : 256;
    widen<Brain>(static_cast<const uint16_t*>(c.a) + at, count, wide);
    TypedCall part = c;
    part.a = wide;
    part.y = static_cast<To*>(c.y) + at;
    part.count = count;
    cast<float, To>(part);
  }
  return true;
}
template <class From, bool Brain>
bool cast_to_half(const TypedCall& c) {
  float wide[256];
  const From* a = static_cast<const From*>(c.a);
  for (int64_t at = 0; at < c.count; at += 256) {
    const int64_t count = c.count - at < 256 ? c.count - at : 256;
    bool exact = true;
    for (int64_t i = 0; i < count; ++i) {
      if constexpr (std::is_integral_v<From> && sizeof(From) > 2) {
        exact &= a[at + i] <= From(1 << 24) && (From(-1) > 0 || a[at + i] >= From(-(1 << 24)));
      }
      wide[i] = float(a[at + i]);
    }
    if (!exact) return false;
    narrow<Brain>(wide, count, static_cast<uint16_t*>(c.y) + at);
  }
  return true;
}
template <bool FromBrain, bool ToBrain>
bool cast_between_halves(const TypedCall& c) {
  float wide[256];
  for (int64_t at = 0; at < c.count; at += 256) {
    const int64_t count = c.count - at < 256 ? c.count - at : 256;
    widen<FromBrain>(static_cast<const uint16_t*>(c.a) + at, count, wide);
    narrow<ToBrain>(wide, count, static_cast<uint16_t*>(c.y) + at);
  }
  return true;
}

template <class From>
TypedFunction find_cast_from(DType to) {
  switch (to) {
    case DType::boolean: return cast<From, Boolean>;
    case DType::f32: return cast<From, float>;
    case DType::f64: return cast<From, double>;
    case DType::i8: return cast<From, int8_t>;
    case DType::i16: return cast<From, int16_t>;
    case DType::i32: return cast<From, int32_t>;
    case DType::i64: return cast<From, int64_t>;
    case DType::u8: return cast<From, uint8_t>;
    case DType::u16: return cast<From, uint16_t>;
    case DType::u32: return cast<From, uint32_t>;
    case DType::u64: return cast<From, uint64_t>;
    default: break;
  }
  if constexpr (!std::is_same_v<From, double>) {
    if (to == DType::f16) return cast_to_half<From, false>;
    if (to == DType::bf16) return cast_to_half<From, true>;
  }
  return nullptr;
}

template <bool Brain>
TypedFunction find_cast_half(DType to) {
  switch (to) {
    case DType::boolean: return cast_half<Boolean, Brain>;
    case DType::f16: return cast_between_halves<Brain, false>;
    case DType::bf16: return cast_between_halves<Brain, true>;
    case DType::f32: return cast_half<float, Brain>;
    case DType::f64: return cast_half<double, Brain>;
    case DType::i8: return cast_half<int8_t, Brain>;
    case DType::i32: return cast_half<int32_t, Brain>;
    case DType::i64: return cast_half<int64_t, Brain>;
    case DType::u8: return cast_half<uint8_t, Brain>;
    default: return nullptr;
  }
}

TypedFunction find_cast(DType from, DType to) {
  switch (from) {
    case DType::f32: return find_cast_from<float>(to);
    case DType::f64: return find_cast_from<double>(to);
    case DType::i8: return find_cast_from<int8_t>(to);
    case DType::i16: return find_cast_from<int16_t>(to);
    case DType::i32: return find_cast_from<int32_t>(to);
    case DType::i64: return find_cast_from<int64_t>(to);
    case DType::boolean:
    case DType::u8: return find_cast_from<uint8_t>(to);
    case DType::u16: return find_cast_from<uint16_t>(to);
    case DType::u32: return find_cast_from<uint32_t>(to);
    case DType::u64: return find_cast_from<uint64_t>(to);
    case DType::f16: return find_cast_half<false>(to);
    case DType::bf16: return find_cast_half<true>(to);
    default: return nullptr;
  }
}

}  // namespace

extern const TypedTier kTypedTier;
const TypedTier kTypedTier = {find, find_cast};

}  // namespace lathe::backend::cpu::LATHE_TIER

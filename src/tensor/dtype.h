// Element types of tensors: ONNX's set, with the names used in graph text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace lathe::tensor {

// Values are stable: they are ONNX TensorProto.DataType numbers and are stored in engine files.
enum class DType : uint8_t {
  undefined = 0,
  f32 = 1,
  u8 = 2,
  i8 = 3,
  u16 = 4,
  i16 = 5,
  i32 = 6,
  i64 = 7,
  string = 8,
  boolean = 9,
  f16 = 10,
  f64 = 11,
  u32 = 12,
  u64 = 13,
  c64 = 14,
  c128 = 15,
  bf16 = 16,
  f8e4m3fn = 17,
  f8e4m3fnuz = 18,
  f8e5m2 = 19,
  f8e5m2fnuz = 20,
  u4 = 21,
  i4 = 22,
  f4e2m1 = 23,
  f8e8m0 = 24,
  u2 = 25,
  i2 = 26,
};

std::string_view to_string(DType dtype);              // "f32", "bf16", "i64", ...
std::optional<DType> find_dtype(std::string_view name);  // the inverse
// The same for base/fields.h; false: no such name.
inline bool from_string(std::string_view text, DType& dtype) {
  const auto found = find_dtype(text);
  if (found) dtype = *found;
  return found.has_value();
}

// Bits of one element in memory; 0 for undefined and string. Types below 8 bits are packed, first element in
// the lowest bits, each tensor padded to a whole byte.
int bits(DType dtype);
// Bytes of `count` elements. Throws invalid_input on overflow, internal for string.
size_t byte_size(DType dtype, int64_t count);

bool is_float(DType dtype);    // f64, f32, f16, bf16, the 8-bit and 4-bit floats
bool is_integer(DType dtype);  // signed or unsigned, not boolean

}  // namespace lathe::tensor

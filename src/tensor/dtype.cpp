#include "tensor/dtype.h"

#include <array>

#include "base/checked.h"

namespace lathe::tensor {
namespace {

struct DTypeInfo {
  std::string_view name;
  int bits;
  enum Kind { other, real, integer } kind;
};

// Indexed by the enum's value.
constexpr std::array<DTypeInfo, 27> kInfo = {{
    {"undefined", 0, DTypeInfo::other}, {"f32", 32, DTypeInfo::real},
    {"u8", 8, DTypeInfo::integer},      {"i8", 8, DTypeInfo::integer},
    {"u16", 16, DTypeInfo::integer},    {"i16", 16, DTypeInfo::integer},
    {"i32", 32, DTypeInfo::integer},    {"i64", 64, DTypeInfo::integer},
    {"string", 0, DTypeInfo::other},    {"bool", 8, DTypeInfo::other},
    {"f16", 16, DTypeInfo::real},       {"f64", 64, DTypeInfo::real},
    {"u32", 32, DTypeInfo::integer},    {"u64", 64, DTypeInfo::integer},
    {"c64", 64, DTypeInfo::other},      {"c128", 128, DTypeInfo::other},
    {"bf16", 16, DTypeInfo::real},      {"f8e4m3fn", 8, DTypeInfo::real},
    {"f8e4m3fnuz", 8, DTypeInfo::real}, {"f8e5m2", 8, DTypeInfo::real},
    {"f8e5m2fnuz", 8, DTypeInfo::real}, {"u4", 4, DTypeInfo::integer},
    {"i4", 4, DTypeInfo::integer},      {"f4e2m1", 4, DTypeInfo::real},
    {"f8e8m0", 8, DTypeInfo::real},     {"u2", 2, DTypeInfo::integer},
    {"i2", 2, DTypeInfo::integer},
}};

const DTypeInfo& info(DType dtype) {
  LATHE_CHECK(size_t(dtype) < kInfo.size(), "dtype {}", int(dtype));
  return kInfo[size_t(dtype)];
}

}  // namespace

std::string_view to_string(DType dtype) { return info(dtype).name; }

std::optional<DType> find_dtype(std::string_view name) {
  for (size_t i = 1; i < kInfo.size(); ++i) {
    if (kInfo[i].name == name) return DType(i);
  }
  return std::nullopt;
}

int bits(DType dtype) { return info(dtype).bits; }

size_t byte_size(DType dtype, int64_t count) {
  const int width = bits(dtype);
  LATHE_CHECK(width > 0, "{} has no fixed size", to_string(dtype));
  const size_t total_bits = checked_mul(checked_cast<size_t>(count, "element count"), size_t(width), "tensor bits");
  return total_bits / 8 + (total_bits % 8 != 0);
}

bool is_float(DType dtype) { return info(dtype).kind == DTypeInfo::real; }
bool is_integer(DType dtype) { return info(dtype).kind == DTypeInfo::integer; }

}  // namespace lathe::tensor

#include "plan/precision.h"

#include <array>
#include <optional>

#include "base/error.h"

namespace lathe::plan {
namespace {

struct Name {
  std::string_view precision;
  std::string_view compute;
  std::optional<tensor::DType> dtype;  // of the floats among them
};

constexpr std::array<Name, 5> kNames = {{
    {"fp32", "f32", tensor::DType::f32},
    {"fp16", "f16", tensor::DType::f16},
    {"bf16", "bf16", tensor::DType::bf16},
    {"int16", "i16", {}},
    {"int8", "i8", {}},
}};

const Name* find_name(std::string_view precision) {
  for (const Name& name : kNames) {
    if (name.precision == precision) return &name;
  }
  return nullptr;
}

}  // namespace

std::string_view compute_of(std::string_view precision) {
  const Name* name = find_name(precision);
  if (!name) fail(ErrorCode::usage, "--precision {}: expected fp32, fp16, bf16, int16 or int8", precision);
  return name->compute;
}

std::string_view precision_of(std::string_view compute) {
  for (const Name& name : kNames) {
    if (name.compute == compute) return name.precision;
  }
  return compute;
}

std::string_view cache_type(std::string_view name) {
  const Name* found = find_name(name);
  if (!found) fail(ErrorCode::usage, "--kv {}: expected fp32, fp16 or bf16", name);
  if (!found->dtype) fail(ErrorCode::unsupported, "--kv {}: this program keeps fp32, fp16 and bf16 caches", name);
  return found->compute;
}

tensor::DType float_type(std::string_view precision) {
  const Name* found = find_name(precision);
  if (!found || !found->dtype) fail(ErrorCode::usage, "--precision {}: expected fp32, fp16 or bf16", precision);
  return *found->dtype;
}

}  // namespace lathe::plan

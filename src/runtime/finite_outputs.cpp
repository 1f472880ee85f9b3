#include "runtime/finite_outputs.h"

#include <cmath>
#include <cstring>

#include "base/error.h"

namespace lathe::runtime {
namespace {

using tensor::DType;
using tensor::Tensor;

// All exponent bits set is NaN or infinity. Counts without a branch, so that the loop is vectorised.
template <class T>
int64_t count_not_finite(const Tensor& tensor, T exponent) {
  const auto bytes = tensor.bytes();
  int64_t count = 0;
  for (size_t at = 0; at + sizeof(T) <= bytes.size(); at += sizeof(T)) {
    T bits;
    std::memcpy(&bits, bytes.data() + at, sizeof bits);
    count += (bits & exponent) == exponent;
  }
  return count;
}

int64_t count_not_finite(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case DType::f32:
    case DType::c64: return count_not_finite<uint32_t>(tensor, 0x7f800000u);
    case DType::f64:
    case DType::c128: return count_not_finite<uint64_t>(tensor, uint64_t{0x7ff} << 52);
    case DType::f16: return count_not_finite<uint16_t>(tensor, 0x7c00);
    case DType::bf16: return count_not_finite<uint16_t>(tensor, 0x7f80);
    default: break;
  }
  if (!tensor::is_float(tensor.dtype())) return 0;
  int64_t count = 0;
  for (int64_t i = 0; i < tensor.size(); ++i) count += !std::isfinite(tensor::element_as_double(tensor, i));
  return count;
}

void require_finite(const std::string& name, const Tensor& tensor) {
  const int64_t count = count_not_finite(tensor);
  if (count == 0) return;
  std::string where;
  if (tensor::is_float(tensor.dtype())) {
    int64_t first = 0;
    while (std::isfinite(tensor::element_as_double(tensor, first))) ++first;
    where = fmt::format(", first {} at element {}", tensor::element_as_double(tensor, first), first);
  }
  fail(ErrorCode::verification, "output \"{}\": {} of {} elements are NaN or infinite{}; if that is meant: --allow-nonfinite",
       name, count, tensor.size(), where);
}

}  // namespace

void require_finite(const GraphSession::Data& outputs) {
  for (const auto& [name, datum] : outputs) {
    if (datum.is_tensor()) require_finite(name, datum.tensor());
    if (!datum.is_sequence()) continue;
    for (const Tensor& item : datum.items()) require_finite(name, item);
  }
}

}  // namespace lathe::runtime

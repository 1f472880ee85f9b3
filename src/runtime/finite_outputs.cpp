#include "runtime/finite_outputs.h"

#include <cstring>
#include <optional>

#include "base/error.h"

namespace lathe::runtime {
namespace {

using tensor::DType;
using tensor::Tensor;

// NaN and infinities of a type: numbers of `bytes` bytes where (bits & mask) == pattern.
struct Pattern {
  size_t bytes;
  uint64_t mask, pattern;
};
std::optional<Pattern> pattern_of(DType dtype) {
  const auto exponent = [](size_t bytes, uint64_t bits) { return Pattern{bytes, bits, bits}; };
  switch (dtype) {
    case DType::f32:
    case DType::c64:
      return exponent(4, 0x7f800000u);
    case DType::f64:
    case DType::c128:
      return exponent(8, uint64_t{0x7ff} << 52);
    case DType::f16:
      return exponent(2, 0x7c00);
    case DType::bf16:
      return exponent(2, 0x7f80);
    case DType::f8e5m2:
      return exponent(1, 0x7c);
    case DType::f8e4m3fn:
      return exponent(1, 0x7f);
    case DType::f8e4m3fnuz:
    case DType::f8e5m2fnuz:
      return Pattern{1, 0xff, 0x80};
    case DType::f8e8m0:
      return Pattern{1, 0xff, 0xff};
    default:
      return std::nullopt;  // has neither
  }
}

// Without a branch, so that the loop is vectorised.
template <class T>
int64_t count(std::span<const std::byte> bytes, T mask, T pattern, int64_t& first) {
  int64_t found = 0;
  const size_t size = bytes.size() / sizeof(T);
  const auto matches = [&](size_t i) {
    T bits;
    std::memcpy(&bits, bytes.data() + i * sizeof(T), sizeof bits);
    return (bits & mask) == pattern;
  };
  for (size_t i = 0; i < size; ++i) found += matches(i);
  for (first = 0; found > 0 && !matches(size_t(first));) ++first;
  return found;
}

void require_finite(const std::string& name, const Tensor& tensor) {
  const auto pattern = pattern_of(tensor.dtype());
  if (!pattern) return;
  const auto run = [&]<class T>(T, int64_t& first) {
    return count<T>(tensor.bytes(), T(pattern->mask), T(pattern->pattern), first);
  };
  int64_t first = 0;
  const int64_t found = pattern->bytes == 4   ? run(uint32_t{}, first)
                        : pattern->bytes == 8 ? run(uint64_t{}, first)
                        : pattern->bytes == 2 ? run(uint16_t{}, first)
                                              : run(uint8_t{}, first);
  if (found == 0) return;
  fail(ErrorCode::verification,
       "output \"{}\": {} of {} numbers are NaN or infinite, the first is number {}; if that is meant: "
       "--allow-nonfinite",
       name, found, tensor.bytes().size() / pattern->bytes, first);
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

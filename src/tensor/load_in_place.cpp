#include "tensor/load_in_place.h"

#include <algorithm>

namespace lathe::tensor {

Tensor load_in_place(const SourcePtr& source) {
  const auto bytes = source->contiguous();
  const bool plain = source->encoding() == Encoding::plain;
  // load() checks that booleans are 0 or 1.
  if (!bytes || !plain || source->dtype() == DType::boolean) return load(*source);
  const size_t alignment = std::max(size_t{1}, size_t(bits(source->dtype())) / 8);
  if (reinterpret_cast<uintptr_t>(bytes->data()) % alignment != 0) return load(*source);
  return Tensor::view(source->dtype(), source->dims(), *bytes, source);
}

}  // namespace lathe::tensor

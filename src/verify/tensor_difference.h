// Whether two tensors are the same within a tolerance, and if not, in what.
#pragma once

#include <optional>
#include <string>

#include "tensor/tensor.h"

namespace lathe::verify {

// numpy's rule: |found - expected| <= atol + rtol * |expected|, NaN equals NaN, infinities equal themselves.
struct Tolerance {
  double rtol = 0;
  double atol = 0;
};

// The first way in which `found` differs: dtype, dims, or the worst element ("element 17: expected 1, found 1.5 (and
// 3 more)"). Strings must be equal. nullopt: they are the same.
std::optional<std::string> find_difference(const tensor::Tensor& expected, const tensor::Tensor& found,
                                           const Tolerance& tolerance);

}  // namespace lathe::verify

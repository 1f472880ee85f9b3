// What the convolutions of 8-bit integers share: their types and zero points.
#pragma once

#include <vector>

#include "op/sliding_windows.h"

namespace lathe::op {

// Throws unless input i is i8 or u8.
void require_bytes(const InferContext& context, size_t i);
// Throws unless input i is absent or has one element.
void require_single(const InferContext& context, size_t i);
// Throws unless input i is absent, has one element, or has the shape [length].
void require_single_or_vector(const InferContext& context, size_t i, const tensor::Dim& length);

// The elements less the zero point: none if it is not defined, one for all, or one for each index of axis 0.
std::vector<int64_t> load_less_zero(const tensor::Tensor& values, const tensor::Tensor& zero_point);
// plan_windows with the kernel's lengths from the weights.
Windows quantized_windows(std::string_view op, const Attributes& attributes, const tensor::Tensor& x,
                          const tensor::Tensor& w);

}  // namespace lathe::op

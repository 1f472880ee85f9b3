// Numbers as a narrower float type holds them: what products with 16-bit weights compute with.
#pragma once

#include <string_view>

#include "op/inference.h"
#include "tensor/tensor.h"

namespace lathe::op {

// Throws invalid_input for an attribute that is none of "f32", "bf16" and "f16".
void check_rounding(const InferContext& context, std::string_view attribute);
// An f32 tensor with its numbers rounded to nearest even; itself for "f32".
tensor::Tensor rounded_to(std::string_view type, const tensor::Tensor& tensor);

}  // namespace lathe::op

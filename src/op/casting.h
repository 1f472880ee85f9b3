// Conversion between element types as Cast and CastLike define it.
#pragma once

#include "op/op.h"

namespace lathe::op {

// Every pair of numeric types, booleans and strings. Floats round once, to nearest even; integers wrap;
// floats to integers truncate. `saturate` and `round_mode` ("up", "down", "nearest"; for f8e8m0) are Cast's
// attributes.
tensor::Tensor cast_elements(const tensor::Tensor& source, tensor::DType dtype, bool saturate,
                             std::string_view round_mode);
// cast_elements with the attributes of the node.
tensor::Tensor cast_elements(const tensor::Tensor& source, tensor::DType dtype, const Attributes& attributes);

}  // namespace lathe::op

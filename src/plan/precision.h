// Names of precisions and cache types on the command line, and what plans call them.
#pragma once

#include <string>
#include <string_view>

#include "tensor/dtype.h"

namespace lathe::plan {

// "bf16" -> "bf16", "fp32" -> "f32", "int8" -> "i8": what a plan says it computes in. Throws usage for a name that
// is none.
std::string_view compute_of(std::string_view precision);
// The other way, for people; what has no name stays as it is.
std::string_view precision_of(std::string_view compute);
// The plan's name of a --kv type. Throws usage for a name that is none, unsupported for one that is not there yet.
std::string_view cache_type(std::string_view name);
// What a tensor of that precision is stored in. Throws usage for names that are no float type.
tensor::DType float_type(std::string_view precision);

}  // namespace lathe::plan

// Bulk conversion between f32 and the other float types.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace lathe::tensor {

// `count` elements at `in` (any alignment) as f32. Exact but for f64, which is rounded. 4-bit elements start
// at the low half of a byte. Throws unsupported for types that are not floats.
void widen_to_f32(DType dtype, const std::byte* in, int64_t count, float* out);

// f32 rounded to nearest even into `dtype`: f64, f32, f16 or bf16 (unsupported otherwise). `out` has any
// alignment.
void narrow_from_f32(const float* in, int64_t count, DType dtype, std::byte* out);

}  // namespace lathe::tensor

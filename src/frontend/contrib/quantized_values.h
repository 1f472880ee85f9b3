// 8-bit inputs with a scale and a zero point as floats, and floats as an 8-bit result.
#pragma once

#include "frontend/contrib.h"

namespace lathe::frontend {

// (x - zero) * scale of inputs i, i + 1 and i + 2; an absent zero is 0.
Value dequantized(const ContribNode& n, size_t i);
// round(x / scale) + zero of inputs i and i + 1 in `dtype`, which is that of the zero where there is one.
Value quantized(const ContribNode& n, Value x, size_t i, tensor::DType dtype);

}  // namespace lathe::frontend

// Windows that are sums of cosines: types, shapes and elements of BlackmanWindow, HammingWindow and HannWindow.
#pragma once

#include <array>

#include "op/op.h"

namespace lathe::op {

// Element n is c[0] - c[1] cos(2 pi n / N) + c[2] cos(4 pi n / N), N being the size, or with periodic = 0 the
// size - 1.
using WindowCoefficients = std::array<double, 3>;
OpDef window_def(std::string_view name, void (*evaluate)(EvaluateContext&));
void evaluate_window(EvaluateContext& context, const WindowCoefficients& c);

// The type that attribute output_datatype names (default f32); throws unless it is a number of 8 bits or more.
tensor::DType output_datatype(const Attributes& attributes);

}  // namespace lathe::op

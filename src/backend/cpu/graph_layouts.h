// The orders of weights that the CPU's graph kernels read.
#pragma once

#include <span>

#include "backend/graph_kernel.h"

namespace lathe::backend::cpu {

// "f32_panel": a matrix [rows, columns] of lathe.Linear (linear.h).
// "conv_panel": weights [M, C / group, kernel...] of lathe.Conv: the matrix [M, kernel x C / group] in f32_panel, for
//   each group by itself; columns run over the kernel first, channels innermost.
// "conv_depthwise": weights [C, 1, kernel...]: [kernel][C rounded up to 16].
// "conv_winograd": weights [M, C, 3, 3] of a convolution that winograd.h takes: 36 matrices [M, C] in f32_panel.
inline constexpr std::string_view kConvWinograd = "conv_winograd";
inline constexpr std::string_view kConvPanel = "conv_panel";
inline constexpr std::string_view kConvDepthwise = "conv_depthwise";
std::span<const GraphLayout* const> graph_layouts();

// One group of conv_panel, in floats.
int64_t conv_panel_group(int64_t features_per_group, int64_t columns);

}  // namespace lathe::backend::cpu

// The orders of 8-bit weights that the CPU's graph kernels read.
#pragma once

#include "backend/graph_kernel.h"

namespace lathe::backend::cpu {

// "i8_panel": weights of lathe.QLinear [M, K], or of lathe.QConv [M, C / group, kernel...]: for each group by itself
// the
//   matrix [M / group, kernel x C / group] (columns run over the kernel first, channels innermost) as
//   i32 [M rounded up to 16]             the sum of each row
//   i8 [panel of 16 rows][K / 4][16][4]  rows and columns filled up with zeros; weights of u8 less 128
// "s8_panel": the same of weights of i8, which engines store so.
// "i8_depthwise": weights [C, 1, kernel...], as they are, in pairs of taps:
//   i32 [C rounded up to 16], i16 [kernel / 2 rounded up][C rounded up to 16][2]
inline constexpr std::string_view kBytePanel = "i8_panel";
inline constexpr std::string_view kSignedPanel = "s8_panel";
inline constexpr std::string_view kByteDepthwise = "i8_depthwise";
extern const GraphLayout kBytePanelLayout;
extern const GraphLayout kSignedPanelLayout;
extern const GraphLayout kByteDepthwiseLayout;

inline bool is_byte_panel(std::string_view layout) {
  return layout == kBytePanel || layout == kSignedPanel;
}

// Sizes in bytes: of the sums, of a panel, of a group.
inline int64_t byte_sums_size(int64_t features) {
  return (features + 15) / 16 * 64;
}
inline int64_t byte_panel_size(int64_t columns) {
  return (columns + 3) / 4 * 64;
}
inline int64_t byte_group_size(int64_t features, int64_t columns) {
  return byte_sums_size(features) + (features + 15) / 16 * byte_panel_size(columns);
}

}  // namespace lathe::backend::cpu

// The orders of 16-bit weights that the CPU's graph kernels read. Packing rounds to nearest even; unpacking gives the
// rounded numbers as f32, so that packing them again gives the same bytes.
#pragma once

#include <string_view>

#include "backend/cpu/half_products.h"
#include "backend/graph_kernel.h"

namespace lathe::backend::cpu {

// Panels of 16 features (half_products.h), of a lathe.Linear with `weights` "bf16" or "f16" and of a lathe.Conv, for
// each of its groups by itself. The taps of a convolution of fewer than kGatherChannels channels (conv_windows.h) are
// one long tap. A bf16 panel is also what AMX reads: 16 steps of it are a tile of 32 columns x 16 features.
inline constexpr std::string_view kLinearBf16 = "linear_bf16", kLinearF16 = "linear_f16";
inline constexpr std::string_view kConvBf16 = "conv_bf16", kConvF16 = "conv_f16";
extern const GraphLayout kLinearBf16Layout, kLinearF16Layout, kConvBf16Layout, kConvF16Layout;

// Sizes of a matrix, or of a group of a convolution: taps (1 where they are gathered) of so many columns.
struct HalfPanels {
  int64_t features;
  int64_t taps, columns, steps;
  int64_t step_columns;

  int64_t panels() const { return (features + 15) / 16; }
  int64_t panel_numbers() const { return taps * steps * step_columns * 16; }
  int64_t numbers() const { return panels() * panel_numbers(); }
};
HalfPanels half_panels(int64_t features, int64_t taps, int64_t channels, HalfForm form);

}  // namespace lathe::backend::cpu

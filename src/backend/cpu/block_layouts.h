// The orders of weights with scales by block that cpu.block_linear reads: panels of 16 rows, the last one filled up
// with zeros.
#pragma once

#include "backend/graph_kernel.h"

namespace lathe::backend::cpu {

// "code_panel": codes [N, K] as unsigned numbers (signed ones plus 8 or 128), [panel][K][16] bytes, of 4 bits
//   [panel][K / 2][16] with the even column in the low half of the byte.
// "block_panel": scales or zeros f32 [N, blocks]: [panel][blocks][16].
inline constexpr std::string_view kCodePanel = "code_panel";
inline constexpr std::string_view kBlockPanel = "block_panel";
extern const GraphLayout kCodePanelLayout;
extern const GraphLayout kBlockPanelLayout;

// Whether codes have 4 bits, and what signed ones are moved by.
inline bool is_half_byte(tensor::DType dtype) {
  return dtype == tensor::DType::i4 || dtype == tensor::DType::u4;
}
inline int code_shift(tensor::DType dtype) {
  if (dtype == tensor::DType::i4) return 8;
  return dtype == tensor::DType::i8 ? 128 : 0;
}

}  // namespace lathe::backend::cpu

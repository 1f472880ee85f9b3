// Block-quantised problems for tests of kernels: weights packed as a device gets them, and a type for each encoding.
#pragma once

#include "backend/cpu/linear_definition.h"
#include "backend/cuda/block_shape.h"
#include "backend/cuda/kernel.h"
#include "backend/cuda/layouts.h"

namespace lathe::backend::cuda {

inline emulated::Buffer<uint8_t> packed_weights(const tensor::Source& source, const char* name) {
  for (const PackedLayout* layout : block_layouts()) {
    if (!layout->holds(source.dtype(), source.encoding())) continue;
    std::vector<uint8_t> bytes(layout->size(source.rows(), source.row_elements()));
    layout->pack(source, 0, (source.rows() + kGroupRows - 1) / kGroupRows, std::as_writable_bytes(std::span(bytes)));
    return {name, std::move(bytes)};
  }
  fail(ErrorCode::internal, "no layout holds {}", tensor::to_string(source.encoding()));
}

// Calls body(shape) with the shape of that layout of the CPU's, whose encoding is meant.
template <class Body>
void with_shape(cpu::Layout layout, Body&& body) {
  switch (layout) {
    case cpu::Layout::q4_0_panel:
      return body(Q40Blocks());
    case cpu::Layout::q4_1_panel:
      return body(Q41Blocks());
    case cpu::Layout::q5_0_panel:
      return body(Q50Blocks());
    case cpu::Layout::q5_1_panel:
      return body(Q51Blocks());
    case cpu::Layout::q8_0_panel:
      return body(Q80Blocks());
    case cpu::Layout::q4_k_panel:
      return body(Q4KBlocks());
    case cpu::Layout::q5_k_panel:
      return body(Q5KBlocks());
    case cpu::Layout::q6_k_panel:
      return body(Q6KBlocks());
    default:
      fail(ErrorCode::internal, "{} has no blocks", to_string(layout));
  }
}

inline bool gates(const cpu::LinearProblem& p) {
  return p.activation >= cpu::Activation::silu_gate && p.activation <= cpu::Activation::gelu_tanh_gate;
}
// Whether all parts are of blocks, and both of a gate of the same.
inline bool is_of_blocks(const cpu::LinearProblem& p) {
  for (const cpu::Layout layout : p.layouts) {
    if (layout < cpu::Layout::q4_0_panel || (gates(p) && layout != p.layouts[0])) return false;
  }
  return true;
}

}  // namespace lathe::backend::cuda

// The orders of block-quantised weights that CUDA's kernels read (block_shape.h), as packed layouts: what a GPU is
// given is packed on the host.
#pragma once

#include <span>

#include "backend/packed_layout.h"

namespace lathe::backend::cuda {

// "cuda_q4_0", ...: q4_0, q4_1, q5_0, q5_1, q8_0, q4_k, q5_k, q6_k. Units are groups of eight rows.
std::span<const PackedLayout* const> block_layouts();

}  // namespace lathe::backend::cuda

// Weights as CUDA kernels read them: row by row as the checkpoint has them, or blocks as layouts.h packs them.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "backend/cuda/abi.h"
#include "backend/packed_layout.h"

namespace lathe::backend::cuda {

// "f32_rows", "f16_rows", "bf16_rows".
std::span<const PackedLayout* const> row_layouts();
// These, and those of layouts.h.
std::span<const PackedLayout* const> device_layouts();

// How kernels are told of it; "plain" is told by its dtype. Nothing for what they do not read.
std::optional<LatheCudaFormat> format_of(std::string_view layout, tensor::DType dtype, tensor::Encoding encoding);

}  // namespace lathe::backend::cuda

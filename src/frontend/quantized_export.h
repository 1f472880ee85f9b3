// GGUF blocks taken apart into the integer codes, scales and minima that ONNX's DequantizeLinear takes.
#pragma once

#include <optional>

#include "tensor/source.h"

namespace lathe::frontend {

// value[n, k] = codes[n, k] * scales[n, k / block] + minima[n, k / block], exactly as the block format says.
struct BlockedParts {
  tensor::SourcePtr codes;   // i4, u4 or i8 [rows, columns]
  tensor::SourcePtr scales;  // f32 [rows, columns / block]
  tensor::SourcePtr minima;  // f32 [rows, columns / block], or null
  int64_t block = 32;
};

// Views on `base`, read row by row; nullopt for encodings that have no lossless form of this kind (q4_0, q4_1
// and q8_0 have) and for tensors that are not matrices.
std::optional<BlockedParts> split_blocks(const tensor::SourcePtr& base);

}  // namespace lathe::frontend

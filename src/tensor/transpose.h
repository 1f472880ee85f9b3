// Transposition of a strided matrix in memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lathe::tensor {

// out[c][r] = in[r][c] for r < rows, c < columns. Strides are in bytes; elements have 1, 2, 4, 8 or 16 bytes,
// and any alignment.
void transpose(const std::byte* in, size_t in_stride, int64_t rows, int64_t columns, size_t element_bytes,
               std::byte* out, size_t out_stride);

}  // namespace lathe::tensor

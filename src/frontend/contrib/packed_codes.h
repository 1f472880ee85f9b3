// Codes of 2, 4 or 8 bits that lie packed in u8, lowest bits first, as tensors of their own type.
#pragma once

#include "frontend/contrib.h"

namespace lathe::frontend {

// What a quantised matrix is made of: (codes - zero points) * scales.
struct PackedMatrix {
  int64_t bits;
  int64_t rows;
  int64_t columns;  // codes of a row, blocks * block_size
  int64_t block_size;

  int64_t blocks() const { return columns / block_size; }
};

// u8 [.., columns] of packed bytes [.., as many as that takes], by operators.
Value unpack(const Builder& b, Value bytes, int64_t bits, int64_t columns);

// The matrix [rows, columns] in f32 that `codes` (u8, any shape with that many bytes), `scales` (as many as blocks, by
// row) and `zero_points` make; absent zero points are 2^(bits - 1), u8 ones are packed by row, others are numbers of
// the scales' type. Constants stay as they lie in the file and are read as 2-, 4- or 8-bit integers.
Value dequantize(const Builder& b, const PackedMatrix& matrix, Value codes, Value scales, Value zero_points);

// A constant of u4 or i4 whose rows fill whole bytes as u8 [.., half as many], signed codes with 8 added.
tensor::SourcePtr packed_bytes(const tensor::SourcePtr& codes);

}  // namespace lathe::frontend

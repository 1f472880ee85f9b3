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

// u8 values [rows, columns] of a packed u8 tensor whose rows fill whole bytes, by operators. For what is no constant.
Value unpack(const Builder& b, Value packed, int64_t bits, int64_t rows, int64_t columns);

// The matrix [rows, columns] in f32 that `codes` (u8, any shape with that many bytes), `scales` (as many as blocks, by
// row) and `zero_points` make; absent zero points are 2^(bits - 1), u8 ones are packed by row, others are numbers of
// the scales' type. Constants stay as they lie in the file and are read as 2-, 4- or 8-bit integers.
Value dequantize(const Builder& b, const PackedMatrix& matrix, Value codes, Value scales, Value zero_points);

// A constant u8 tensor as [rows, columns] of `bits` each; with the middle value taken off (signed) or as it is.
tensor::SourcePtr packed_source(const tensor::SourcePtr& bytes, int64_t bits, int64_t rows, int64_t columns,
                                bool centred);

}  // namespace lathe::frontend

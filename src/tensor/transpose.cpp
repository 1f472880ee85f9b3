#include "tensor/transpose.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace lathe::tensor {
namespace {

struct Wide {
  uint64_t part[2];
};

// Walks in tiles of kRows x kColumns: a tile writes whole cache lines, so that output strides of a power of
// two, whose lines fall into the same cache set, cost nothing.
template <class T>
void transpose_elements(const std::byte* in, size_t in_stride, int64_t rows, int64_t columns, std::byte* out,
                        size_t out_stride) {
  constexpr int64_t kRows = std::max<int64_t>(64 / int64_t(sizeof(T)), 8);
  constexpr int64_t kColumns = 8;
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    const std::byte* tile_row = in + size_t(r) * in_stride;
    int64_t c = 0;
    for (; c + kColumns <= columns; c += kColumns) {
      T tile[kColumns][kRows];
      for (int64_t i = 0; i < kRows; ++i) {
        T line[kColumns];
        std::memcpy(line, tile_row + size_t(i) * in_stride + size_t(c) * sizeof(T), sizeof(line));
        for (int64_t j = 0; j < kColumns; ++j) tile[j][i] = line[j];
      }
      for (int64_t j = 0; j < kColumns; ++j) {
        std::memcpy(out + size_t(c + j) * out_stride + size_t(r) * sizeof(T), tile[j], sizeof(tile[j]));
      }
    }
    for (; c < columns; ++c) {
      for (int64_t i = 0; i < kRows; ++i) {
        std::memcpy(out + size_t(c) * out_stride + size_t(r + i) * sizeof(T),
                    tile_row + size_t(i) * in_stride + size_t(c) * sizeof(T), sizeof(T));
      }
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      std::memcpy(out + size_t(c) * out_stride + size_t(r) * sizeof(T),
                  in + size_t(r) * in_stride + size_t(c) * sizeof(T), sizeof(T));
    }
  }
}

}  // namespace

void transpose(const std::byte* in, size_t in_stride, int64_t rows, int64_t columns, size_t element_bytes,
               std::byte* out, size_t out_stride) {
  switch (element_bytes) {
    case 1:
      return transpose_elements<uint8_t>(in, in_stride, rows, columns, out, out_stride);
    case 2:
      return transpose_elements<uint16_t>(in, in_stride, rows, columns, out, out_stride);
    case 4:
      return transpose_elements<uint32_t>(in, in_stride, rows, columns, out, out_stride);
    case 8:
      return transpose_elements<uint64_t>(in, in_stride, rows, columns, out, out_stride);
    case 16:
      return transpose_elements<Wide>(in, in_stride, rows, columns, out, out_stride);
    default:
      LATHE_CHECK(false, "elements of {} bytes", element_bytes);
  }
}

}  // namespace lathe::tensor

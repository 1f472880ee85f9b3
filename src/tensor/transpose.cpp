#include "tensor/transpose.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace lathe::tensor {
namespace {

struct Wide {
  uint64_t part[2];
};

// Walks in blocks of kBlock x kBlock elements, transposed in tiles into a local buffer that fits the
// first-level cache, and copied out in runs of several cache lines: output strides of a power of two, whose
// lines fall into the same cache set, then cost little. Input rows lie on different pages, where the hardware
// does not prefetch.
template <class T>
class Transposer {
 public:
  Transposer(const std::byte* in, size_t in_stride, std::byte* out, size_t out_stride)
      : in_(in), in_stride_(in_stride), out_(out), out_stride_(out_stride) {}

  void run(int64_t rows, int64_t columns) {
    for (int64_t r = 0; r < rows; r += kBlock) {
      const int64_t block_rows = std::min(kBlock, rows - r);
      for (int64_t c = 0; c < columns; c += kBlock) {
        const int64_t block_columns = std::min(kBlock, columns - c);
        const bool last = c + kBlock >= columns;
        prefetch(last ? r + kBlock : r, last ? 0 : c + kBlock, rows, columns);
        if (block_rows == kBlock && block_columns == kBlock)
          whole_block(r, c);
        else
          partial_block(r, block_rows, c, block_columns);
        for (int64_t j = 0; j < block_columns; ++j) {
          std::memcpy(out_ + size_t(c + j) * out_stride_ + size_t(r) * sizeof(T), block_[j],
                      size_t(block_rows) * sizeof(T));
        }
      }
    }
  }

 private:
  static constexpr int64_t kBlock = sizeof(T) == 16 ? 32 : 64;  // a block has at most 32 KiB
  static constexpr int64_t kTile = 8;

  void prefetch(int64_t r, int64_t c, int64_t rows, int64_t columns) const {
    const size_t bytes = size_t(std::min(kBlock, columns - c)) * sizeof(T);
    for (int64_t i = r; i < std::min(r + kBlock, rows); ++i) {
      const std::byte* line = in_ + size_t(i) * in_stride_ + size_t(c) * sizeof(T);
      for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch(line + at);
    }
  }

  void whole_block(int64_t r, int64_t c) {
    for (int64_t tile_r = 0; tile_r < kBlock; tile_r += kTile) {
      for (int64_t tile_c = 0; tile_c < kBlock; tile_c += kTile) {
        for (int64_t i = 0; i < kTile; ++i) {
          T line[kTile];
          std::memcpy(line, in_ + size_t(r + tile_r + i) * in_stride_ + size_t(c + tile_c) * sizeof(T),
                      sizeof(line));
          for (int64_t j = 0; j < kTile; ++j) block_[tile_c + j][tile_r + i] = line[j];
        }
      }
    }
  }

  void partial_block(int64_t r, int64_t rows, int64_t c, int64_t columns) {
    for (int64_t i = 0; i < rows; ++i) {
      const std::byte* line = in_ + size_t(r + i) * in_stride_ + size_t(c) * sizeof(T);
      for (int64_t j = 0; j < columns; ++j)
        std::memcpy(&block_[j][i], line + size_t(j) * sizeof(T), sizeof(T));
    }
  }

  const std::byte* in_;
  size_t in_stride_;
  std::byte* out_;
  size_t out_stride_;
  alignas(64) T block_[kBlock][kBlock];
};

}  // namespace

void transpose(const std::byte* in, size_t in_stride, int64_t rows, int64_t columns, size_t element_bytes,
               std::byte* out, size_t out_stride) {
  switch (element_bytes) {
    case 1:
      return Transposer<uint8_t>(in, in_stride, out, out_stride).run(rows, columns);
    case 2:
      return Transposer<uint16_t>(in, in_stride, out, out_stride).run(rows, columns);
    case 4:
      return Transposer<uint32_t>(in, in_stride, out, out_stride).run(rows, columns);
    case 8:
      return Transposer<uint64_t>(in, in_stride, out, out_stride).run(rows, columns);
    case 16:
      return Transposer<Wide>(in, in_stride, out, out_stride).run(rows, columns);
    default:
      LATHE_CHECK(false, "elements of {} bytes", element_bytes);
  }
}

}  // namespace lathe::tensor

#include "frontend/quantized_export.h"

#include <cstring>

#include "base/error.h"
#include "base/numbers.h"

namespace lathe::frontend {
namespace {

using tensor::Dims;
using tensor::DType;
using tensor::Encoding;

constexpr int64_t kBlock = 32;

float half_at(const std::byte* at) {
  uint16_t bits;
  std::memcpy(&bits, at, 2);
  return f16_to_f32(bits);
}

// A field of every block of another source, one output row per base row.
class BlockFieldSource : public tensor::Source {
 public:
  // Writes what one block contributes: `block` is its bytes, `index` its number within the row.
  using Extract = void (*)(const std::byte* block, int64_t index, std::byte* row);

  BlockFieldSource(tensor::SourcePtr base, DType dtype, Dims dims, Extract extract)
      : Source(dtype, Encoding::plain, std::move(dims), base->origin()), base_(std::move(base)), extract_(extract) {}

  void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
    const size_t base_row = base_->row_size();
    const size_t block_bytes = size_t(tensor::block_format(base_->encoding()).bytes);
    std::vector<std::byte> stored(base_row);
    for (int64_t row = 0; row < count; ++row) {
      base_->read_rows(first + row, 1, stored);
      std::byte* to = out.data() + size_t(row) * row_size();
      for (size_t block = 0; block * block_bytes < base_row; ++block) {
        extract_(stored.data() + block * block_bytes, int64_t(block), to);
      }
    }
  }
  void drop_rows(int64_t first, int64_t count) const override { base_->drop_rows(first, count); }

 private:
  tensor::SourcePtr base_;
  Extract extract_;
};

// GGUF keeps element j in the low and j + 16 in the high nibble of byte j; ONNX wants neighbours together.
template <int kHeader, int kFlip>
void nibbles(const std::byte* block, int64_t index, std::byte* row) {
  const std::byte* codes = block + kHeader;
  std::byte* to = row + index * (kBlock / 2);
  for (int i = 0; i < kBlock / 2; ++i) {
    const auto code = [&](int element) {
      const unsigned byte = unsigned(codes[element % 16]);
      return (element < 16 ? byte & 15u : byte >> 4) ^ unsigned(kFlip);
    };
    to[i] = std::byte(code(2 * i) | code(2 * i + 1) << 4);
  }
}

void bytes_of_q8_0(const std::byte* block, int64_t index, std::byte* row) {
  std::memcpy(row + index * kBlock, block + 2, kBlock);
}

template <int kOffset>
void half_field(const std::byte* block, int64_t index, std::byte* row) {
  const float value = half_at(block + kOffset);
  std::memcpy(row + index * 4, &value, 4);
}

}  // namespace

std::optional<BlockedParts> split_blocks(const tensor::SourcePtr& base) {
  const Dims& dims = base->dims();
  if (dims.size() != 2) return std::nullopt;
  const Dims blocks = {dims[0], dims[1] / kBlock};
  const auto field = [&](DType dtype, const Dims& shape, BlockFieldSource::Extract extract) {
    return std::make_shared<BlockFieldSource>(base, dtype, shape, extract);
  };
  switch (base->encoding()) {
    case Encoding::q4_0:  // code - 8 as a two's complement nibble is the code with its top bit flipped
      return BlockedParts{field(DType::i4, dims, nibbles<2, 8>), field(DType::f32, blocks, half_field<0>), nullptr,
                          kBlock};
    case Encoding::q4_1:
      return BlockedParts{field(DType::u4, dims, nibbles<4, 0>), field(DType::f32, blocks, half_field<0>),
                          field(DType::f32, blocks, half_field<2>), kBlock};
    case Encoding::q8_0:
      return BlockedParts{field(DType::i8, dims, bytes_of_q8_0), field(DType::f32, blocks, half_field<0>), nullptr,
                          kBlock};
    default: return std::nullopt;
  }
}

}  // namespace lathe::frontend

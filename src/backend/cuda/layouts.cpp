#include "backend/cuda/layouts.h"

#include <algorithm>
#include <array>
#include <vector>

#include "backend/cuda/block_shape.h"
#include "base/checked.h"
#include "tensor/encoding.h"

namespace lathe::backend::cuda {
namespace {

using tensor::Encoding;

// Some bits of a byte of a row as stored, and where they lie in a chunk: packing is nothing but these, and its inverse
// the same ones backwards.
struct Move {
  uint16_t from, to;
  uint8_t from_bit, to_bit, mask;
  uint8_t row_stride;  // in the chunk: row r has it r * row_stride further on
};

struct Place {
  int byte, bit;
};

// The lower four bits of column `c` of a block as stored (all eight of q8_0).
Place low_place(Encoding encoding, int c) {
  switch (encoding) {
    case Encoding::q4_0:
      return {2 + c % 16, c / 16 * 4};
    case Encoding::q4_1:
      return {4 + c % 16, c / 16 * 4};
    case Encoding::q5_0:
      return {6 + c % 16, c / 16 * 4};
    case Encoding::q5_1:
      return {8 + c % 16, c / 16 * 4};
    case Encoding::q4_k:
      return {16 + c / 64 * 32 + c % 32, c / 32 % 2 * 4};
    case Encoding::q5_k:
      return {48 + c / 64 * 32 + c % 32, c / 32 % 2 * 4};
    case Encoding::q6_k:
      return {c / 128 * 64 + c % 64, c % 128 / 64 * 4};
    default:
      return {2 + c, 0};
  }
}

// The bits above them.
Place high_place(Encoding encoding, int c) {
  switch (encoding) {
    case Encoding::q5_0:
      return {2 + c / 8, c % 8};
    case Encoding::q5_1:
      return {4 + c / 8, c % 8};
    case Encoding::q5_k:
      return {16 + c % 32, c / 32};
    default:  // q6_k
      return {128 + c / 128 * 32 + c % 32, c % 128 / 32 * 2};
  }
}

// Where a column of a block lies: lane `quarter` of its row's four, byte `byte` of the word for half `half`.
struct Slot {
  int quarter, half, byte;
};
Slot slot_of(int column) {
  return {column % 8 / 2, column / 16, column / 8 % 2 + column % 2 * 2};
}

// All moves of a chunk of `blocks` blocks of 32 columns; fewer than a span's: the last one.
template <class Shape>
class Moves {
 public:
  Moves(Encoding encoding, int blocks) : encoding_(encoding), blocks_(blocks), tail_(blocks < kSpanBlocks) {
    const tensor::BlockFormat& format = tensor::block_format(encoding);
    for (int c = 0; c < blocks * kBlockColumns; ++c) {
      const int block = c / format.elements * format.bytes, within = c % format.elements;
      add_low(c, block, low_place(encoding, within));
      if (Shape::kHighBits > 0) add_high(c, block, high_place(encoding, within));
    }
    for (int b = 0; b < blocks * kBlockColumns / format.elements; ++b) add_scales(b, b * format.bytes);
  }
  std::vector<Move> take() { return std::move(moves_); }

 private:
  void add(int from, int from_bit, int to, int to_bit, int mask, int row_stride) {
    moves_.push_back(
        {uint16_t(from), uint16_t(to), uint8_t(from_bit), uint8_t(to_bit), uint8_t(mask), uint8_t(row_stride)});
  }

  void add_low(int column, int block, Place from) {
    const auto [quarter, half, byte] = slot_of(column % kBlockColumns);
    const int b = column / kBlockColumns % kSpanBlocks, span = column / kSpanColumns * Shape::kSpanBytes;
    const int word = Shape::kBytes ? half * 4 + byte : byte, bit = Shape::kBytes ? 0 : half * 4;
    const int mask = Shape::kBytes ? 255 : 15, lane = 4 * Shape::kWords;  // bytes
    if (tail_)
      add(block + from.byte, from.bit, b * Shape::kCodeBytes + quarter * lane + word, bit, mask, 4 * lane);
    else
      add(block + from.byte, from.bit, span + b * lane / 16 * 512 + quarter * 16 + b * lane % 16 + word, bit, mask, 64);
  }

  void add_high(int column, int block, Place from) {
    const auto [quarter, half, byte] = slot_of(column % kBlockColumns);
    const int b = column / kBlockColumns % kSpanBlocks, span = column / kSpanColumns * Shape::kSpanBytes;
    const int plane = span + (tail_ ? blocks_ : kSpanBlocks) * Shape::kCodeBytes, at = block + from.byte;
    if (Shape::kHighBits == 2)
      add(at, from.bit, plane + quarter * 8 + half * 4 + byte, 2 * b, 3, 32);
    else if (tail_)
      add(at, from.bit, plane + b * 32 + quarter, 4 * half + byte, 1, 4);
    else
      add(at, from.bit, plane + quarter * 4 + byte, 2 * b + half, 1, 16);
  }

  // What is no code of the block that is stored at `block`, the b-th.
  void add_scales(int b, int block) {
    const int spans = tail_ ? blocks_ * (Shape::kCodeBytes + Shape::kHighBytes) : Shape::kSpans * Shape::kSpanBytes;
    if (!Shape::kIsSuper) {
      const int row = blocks_ * Shape::kScaleBytes;
      for (int i = 0; i < Shape::kScaleBytes; ++i) add(block + i, 0, spans + b * Shape::kScaleBytes + i, 0, 255, row);
      return;
    }
    const bool six = encoding_ == Encoding::q6_k;
    for (int i = 0; i < 16; ++i) add(block + (six ? 192 : 0) + i, 0, spans + i, 0, 255, 16);
    for (int i = 0; six && i < 2; ++i) add(block + 208 + i, 0, spans + 16 * kGroupRows + i, 0, 255, 2);
  }

  Encoding encoding_;
  int blocks_;
  bool tail_;
  std::vector<Move> moves_;
};

// One row's part of a chunk; `chunk` is zero where the row goes.
void move_in(const std::vector<Move>& moves, const std::byte* stored, int row, std::byte* chunk) {
  for (const Move& m : moves) {
    std::byte& to = chunk[m.to + row * m.row_stride];
    to = std::byte(unsigned(to) | (unsigned(stored[m.from]) >> m.from_bit & m.mask) << m.to_bit);
  }
}
void move_out(const std::vector<Move>& moves, const std::byte* chunk, int row, std::byte* stored) {
  for (const Move& m : moves) {
    const unsigned bits = unsigned(chunk[m.to + row * m.row_stride]) >> m.to_bit & m.mask;
    stored[m.from] = std::byte(unsigned(stored[m.from]) | bits << m.from_bit);
  }
}

class BlockLayout final : public PackedLayout {
 public:
  template <class Shape>
  BlockLayout(Shape, Encoding encoding, std::string_view name)
      : PackedLayout(name, kGroupRows, tensor::DType::f32, encoding),
        encoding_(encoding),
        chunk_columns_(Shape::kChunkColumns),
        chunk_bytes_(Shape::kChunkBytes) {
    moves_[0] = Moves<Shape>(encoding, Shape::kSpans * kSpanBlocks).take();
    for (int blocks = 1; !Shape::kIsSuper && blocks < kSpanBlocks; ++blocks) {
      moves_[size_t(blocks)] = Moves<Shape>(encoding, blocks).take();
    }
  }

  size_t size(int64_t rows, int64_t columns) const override {
    const auto units = checked_cast<size_t>((rows + kGroupRows - 1) / kGroupRows, "rows");
    return checked_mul(units, unit_size(columns), name());
  }

  size_t unit_size(int64_t columns) const override {
    const int elements = tensor::block_format(encoding_).elements;
    if (columns <= 0 || columns % elements != 0)
      fail(ErrorCode::unsupported, "{}: {} columns, expected a multiple of {}", name(), columns, elements);
    return checked_mul(tensor::row_bytes(encoding_, columns), size_t(kGroupRows), name());
  }

  void pack(const tensor::Source& source, int64_t first, int64_t count, std::span<std::byte> out) const override {
    const int64_t columns = source.row_elements();
    const size_t unit = unit_size(columns), row_size = source.row_size();
    LATHE_CHECK(source.encoding() == encoding_ && out.size() == size_t(count) * unit, "{} units of {} bytes in {}",
                count, unit, out.size());
    std::fill(out.begin(), out.end(), std::byte{0});
    std::vector<std::byte> stored(size_t(kGroupRows) * row_size);
    for (int64_t u = 0; u < count; ++u) {
      const int64_t row = (first + u) * kGroupRows, rows = std::min<int64_t>(kGroupRows, source.rows() - row);
      source.read_rows(row, rows, std::span(stored).first(size_t(rows) * row_size));
      for_each_chunk(columns, [&](const std::vector<Move>& moves, size_t from, size_t to) {
        for (int r = 0; r < rows; ++r) {
          move_in(moves, stored.data() + size_t(r) * row_size + from, r, out.data() + size_t(u) * unit + to);
        }
      });
    }
  }

  void unpack(std::span<const std::byte> packed, int64_t rows, int64_t columns, int64_t first, int64_t count,
              std::span<std::byte> out) const override {
    const size_t row_size = tensor::row_bytes(encoding_, columns), unit = unit_size(columns);
    LATHE_CHECK(packed.size() >= size(rows, columns) && first + count <= rows && out.size() == size_t(count) * row_size,
                "rows {} to {} of {} in {} bytes", first, first + count, rows, packed.size());
    std::fill(out.begin(), out.end(), std::byte{0});
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = first + i;
      for_each_chunk(columns, [&](const std::vector<Move>& moves, size_t from, size_t to) {
        move_out(moves, packed.data() + size_t(row / kGroupRows) * unit + to, int(row % kGroupRows),
                 out.data() + size_t(i) * row_size + from);
      });
    }
  }

  void unpack_row(std::span<const std::byte> packed, int64_t columns, int64_t row,
                  std::span<float> out) const override {
    const tensor::BlockFormat& format = tensor::block_format(encoding_);
    LATHE_CHECK(int64_t(out.size()) == columns, "{} floats for {} columns", out.size(), columns);
    std::vector<std::byte> stored(tensor::row_bytes(encoding_, columns));
    unpack(packed, row + 1, columns, row, 1, stored);
    format.dequantise(stored.data(), columns / format.elements, out.data());
  }

 private:
  // Calls body(moves, bytes into a stored row, bytes into the group) for every chunk.
  template <class Body>
  void for_each_chunk(int64_t columns, Body&& body) const {
    const tensor::BlockFormat& format = tensor::block_format(encoding_);
    size_t from = 0, to = 0;
    for (int64_t c = 0; c < columns; c += chunk_columns_) {
      const int64_t left = std::min<int64_t>(columns - c, chunk_columns_);
      body(moves_[left < chunk_columns_ ? size_t(left / kBlockColumns) : 0], from, to);
      from += size_t(left / format.elements * format.bytes);
      to += size_t(chunk_bytes_);
    }
  }

  Encoding encoding_;
  int chunk_columns_, chunk_bytes_;
  std::array<std::vector<Move>, kSpanBlocks> moves_;  // [0]: of a whole chunk; [n]: of a last one of n blocks
};

}  // namespace

std::span<const PackedLayout* const> block_layouts() {
  static const std::array<BlockLayout, 8> kLayouts = {{
      {Q40Blocks(), Encoding::q4_0, "cuda_q4_0"},
      {Q41Blocks(), Encoding::q4_1, "cuda_q4_1"},
      {Q50Blocks(), Encoding::q5_0, "cuda_q5_0"},
      {Q51Blocks(), Encoding::q5_1, "cuda_q5_1"},
      {Q80Blocks(), Encoding::q8_0, "cuda_q8_0"},
      {Q4KBlocks(), Encoding::q4_k, "cuda_q4_k"},
      {Q5KBlocks(), Encoding::q5_k, "cuda_q5_k"},
      {Q6KBlocks(), Encoding::q6_k, "cuda_q6_k"},
  }};
  static const auto kPointers = [] {
    std::array<const PackedLayout*, kLayouts.size()> pointers;
    for (size_t i = 0; i < pointers.size(); ++i) pointers[i] = &kLayouts[i];
    return pointers;
  }();
  return kPointers;
}

}  // namespace lathe::backend::cuda

#include "backend/cuda/layouts.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <set>

#include "backend/cuda/block_shape.h"
#include "base/error.h"

namespace lathe::backend::cuda {
namespace {

std::vector<std::byte> random_bytes(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = std::byte(random());
  return bytes;
}

tensor::Encoding encoding_of(const PackedLayout& layout) {
  for (int e = 1; e <= int(tensor::Encoding::q2_0); ++e) {
    if (layout.holds(tensor::DType::f32, tensor::Encoding(e))) return tensor::Encoding(e);
  }
  return tensor::Encoding::plain;
}

// A matrix of any bytes, packed in two calls.
struct Packed {
  Packed(const PackedLayout& layout, int64_t rows, int64_t columns, uint32_t seed)
      : stored(random_bytes(size_t(rows) * tensor::row_bytes(encoding_of(layout), columns), seed)),
        bytes(layout.size(rows, columns), std::byte{0xee}) {
    const auto source =
        tensor::mapped_source(tensor::DType::f32, encoding_of(layout), {rows, columns}, stored, nullptr, "test");
    const int64_t units = (rows + kGroupRows - 1) / kGroupRows, some = units / 2;
    const size_t split = size_t(some) * layout.unit_size(columns);
    layout.pack(*source, 0, some, std::span(bytes).first(split));
    layout.pack(*source, some, units - some, std::span(bytes).subspan(split));
  }
  std::vector<std::byte> stored, bytes;
};

// Random bytes hold every pattern that a file may hold.
TEST(BlockLayouts, UnpackIsTheInverse) {
  EXPECT_EQ(block_layouts().size(), 8u);
  for (const PackedLayout* layout : block_layouts()) {
    const auto& format = tensor::block_format(encoding_of(*layout));
    for (const int64_t columns : {32, 64, 96, 128, 160, 256, 512, 576, 1536}) {
      if (columns % format.elements != 0) continue;
      for (const int64_t rows : {1, 7, 8, 9, 40}) {
        SCOPED_TRACE(testing::Message() << layout->name() << " " << rows << "x" << columns);
        const Packed packed(*layout, rows, columns, uint32_t(rows * columns));
        const size_t row_size = tensor::row_bytes(encoding_of(*layout), columns);
        std::vector<std::byte> out(size_t(rows) * row_size);
        layout->unpack(packed.bytes, rows, columns, 0, rows, out);
        ASSERT_EQ(out, packed.stored);
        out.resize(row_size);
        layout->unpack(packed.bytes, rows, columns, rows - 1, 1, out);
        ASSERT_EQ(std::memcmp(out.data(), packed.stored.data() + size_t(rows - 1) * row_size, row_size), 0);
        std::vector<float> expected(size_t(columns), 0.0f), found(size_t(columns), 1.0f);
        format.dequantise(out.data(), columns / format.elements, expected.data());
        layout->unpack_row(packed.bytes, columns, rows - 1, found);
        EXPECT_EQ(std::memcmp(expected.data(), found.data(), expected.size() * sizeof(float)), 0);
      }
    }
  }
}

// No more bytes than in a file, but for the rows that fill up the last group.
TEST(BlockLayouts, TakeNoMoreThanTheFile) {
  std::set<std::string_view> names;
  for (const PackedLayout* layout : block_layouts()) {
    names.insert(layout->name());
    EXPECT_EQ(layout->size(1001, 1536), 1008 * tensor::row_bytes(encoding_of(*layout), 1536));
    EXPECT_EQ(layout->unit_size(256) % 16, 0u);
    EXPECT_FALSE(layout->holds(tensor::DType::f32, tensor::Encoding::plain));
    try {
      layout->size(8, 48);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
    }
  }
  EXPECT_EQ(names.size(), 8u);
}

}  // namespace
}  // namespace lathe::backend::cuda

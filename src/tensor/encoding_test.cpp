#include "tensor/encoding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"

namespace lathe::tensor {
namespace {

uint64_t split_mix(uint64_t seed, uint64_t index) {
  uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

std::vector<std::byte> random_bytes(uint64_t seed, size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = std::byte(split_mix(seed, i / 8) >> (i % 8 * 8));
  return bytes;
}

std::vector<std::byte> from_hex(const std::string& text) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < text.size(); i += 2)
    bytes.push_back(std::byte(std::stoi(text.substr(i, 2), nullptr, 16)));
  return bytes;
}

// Every NaN as the same bits: which payload an operation passes on is not part of a format.
void unify_nans(std::span<float> values) {
  for (float& value : values) {
    if (std::isnan(value)) value = std::bit_cast<float>(0x7fc00000u);
  }
}

TEST(Encoding, DecodesEveryTypeBitForBit) {
  const Json goldens = read_json_file(LATHE_TESTS_DIR "/tensor/blocks.json");
  size_t types = 0;
  for (const auto& [name, golden] : goldens.items()) {
    SCOPED_TRACE(name);
    const std::optional<Encoding> encoding = find_encoding(name);
    ASSERT_TRUE(encoding);
    const BlockFormat& format = block_format(*encoding);
    ASSERT_EQ(format.elements, get_int(golden, "elements"));
    ASSERT_EQ(format.bytes, get_int(golden, "bytes"));

    const std::vector<std::byte> block = from_hex(get_string(golden, "block"));
    const std::vector<std::byte> expected = from_hex(get_string(golden, "floats"));
    std::vector<float> one(static_cast<size_t>(format.elements));
    format.dequantise(block.data(), 1, one.data());
    for (size_t i = 0; i < one.size(); ++i) {
      float value;
      std::memcpy(&value, expected.data() + i * 4, 4);
      ASSERT_EQ(std::bit_cast<uint32_t>(one[i]), std::bit_cast<uint32_t>(value)) << "element " << i;
    }

    const int64_t blocks = get_int(golden, "blocks");
    const auto bytes = random_bytes(uint64_t(get_int(golden, "seed")), size_t(blocks) * size_t(format.bytes));
    std::vector<float> many(size_t(blocks) * size_t(format.elements));
    format.dequantise(bytes.data(), blocks, many.data());
    unify_nans(many);
    EXPECT_EQ(sha256_hex(std::as_bytes(std::span(many))), get_string(golden, "sha256"));
    ++types;
  }
  EXPECT_EQ(types, 27u);
}

TEST(Encoding, NamesAreInverse) {
  for (int i = 0; i <= int(Encoding::q2_0); ++i) {
    EXPECT_EQ(find_encoding(to_string(Encoding(i))), Encoding(i));
  }
  EXPECT_EQ(find_encoding("q4"), std::nullopt);
  EXPECT_THROW(block_format(Encoding::plain), Error);
  EXPECT_THROW(block_format(Encoding(28)), Error);
}

TEST(Encoding, RowBytesNeedsWholeBlocks) {
  EXPECT_EQ(row_bytes(Encoding::q4_k, 512), 288u);
  EXPECT_EQ(row_bytes(Encoding::q8_0, 0), 0u);
  EXPECT_THROW(row_bytes(Encoding::q4_0, 33), Error);
  EXPECT_THROW(row_bytes(Encoding::q4_0, -32), Error);
}

}  // namespace
}  // namespace lathe::tensor

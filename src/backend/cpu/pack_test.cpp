#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "backend/cpu/linear.h"
#include "base/error.h"
#include "tensor/source.h"

namespace lathe::backend::cpu {
namespace {

constexpr Layout kAllLayouts[] = {Layout::f32_panel,  Layout::f16_panel,  Layout::bf16_panel,
                                  Layout::q4_0_panel, Layout::q4_1_panel, Layout::q5_0_panel,
                                  Layout::q5_1_panel, Layout::q8_0_panel, Layout::q4_k_panel,
                                  Layout::q5_k_panel, Layout::q6_k_panel};

bool is_k(Layout layout) {
  return layout == Layout::q4_k_panel || layout == Layout::q5_k_panel || layout == Layout::q6_k_panel;
}
bool is_plain(Layout layout) {
  return stored_encoding(layout) == tensor::Encoding::plain;
}

size_t row_size(Layout layout, int64_t columns) {
  return is_plain(layout) ? tensor::byte_size(stored_dtype(layout), columns)
                          : tensor::row_bytes(stored_encoding(layout), columns);
}

// Bytes in memory without the copy-free path, so that both ways of reading are tested.
class CopyingSource : public tensor::Source {
 public:
  CopyingSource(Layout layout, int64_t rows, int64_t columns, std::vector<std::byte> bytes)
      : Source(stored_dtype(layout), stored_encoding(layout), {rows, columns}, "test"),
        bytes_(std::move(bytes)) {}
  void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
    ASSERT_EQ(out.size(), size_t(count) * row_size());
    std::memcpy(out.data(), bytes_.data() + size_t(first) * row_size(), out.size());
  }

 private:
  std::vector<std::byte> bytes_;
};

class MemorySource : public CopyingSource {
 public:
  MemorySource(Layout layout, int64_t rows, int64_t columns, const std::vector<std::byte>& bytes)
      : CopyingSource(layout, rows, columns, bytes), view_(bytes) {}
  std::optional<std::span<const std::byte>> contiguous() const override { return view_; }

 private:
  std::span<const std::byte> view_;
};

std::vector<std::byte> random_bytes(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = std::byte(random());
  return bytes;
}

std::vector<std::byte> pack(Layout layout, const tensor::Source& source) {
  std::vector<std::byte> packed(packed_size(layout, source.rows(), source.row_elements()), std::byte{0xee});
  const int64_t panels = (source.rows() + 15) / 16;
  const size_t size = panel_size(layout, source.row_elements());
  for (int64_t p = 0; p < panels; p += 3) {  // in several calls, as threads do
    const int64_t count = std::min<int64_t>(3, panels - p);
    pack_panels(layout, source, p, count, std::span(packed).subspan(size_t(p) * size, size_t(count) * size));
  }
  return packed;
}

// Random bytes hold every pattern a file may hold: NaN, infinite, negative and subnormal scales included.
TEST(Pack, UnpackIsTheExactInverse) {
  for (const Layout layout : kAllLayouts) {
    for (const int64_t columns : {32, 96, 256, 512, 576, 1536, 2}) {
      if (columns == 2 ? !is_plain(layout) : is_k(layout) && columns % 256 != 0) continue;
      for (const int64_t rows : {1, 15, 16, 17, 48, 100}) {
        SCOPED_TRACE(fmt::format("{} {}x{}", to_string(layout), rows, columns));
        const auto bytes = random_bytes(size_t(rows) * row_size(layout, columns), uint32_t(rows * columns));
        const auto packed = pack(layout, MemorySource(layout, rows, columns, bytes));
        ASSERT_EQ(packed.size() % 64, 0u);
        EXPECT_EQ(packed, pack(layout, CopyingSource(layout, rows, columns, bytes)));
        std::vector<std::byte> back(bytes.size());
        unpack_rows(layout, packed, rows, columns, 0, rows, back);
        EXPECT_EQ(back, bytes);
        std::vector<std::byte> last(row_size(layout, columns));
        unpack_rows(layout, packed, rows, columns, rows - 1, 1, last);
        EXPECT_EQ(std::memcmp(last.data(), bytes.data() + bytes.size() - last.size(), last.size()), 0);
      }
    }
  }
}

TEST(Pack, RowAsFloatsIsTheDecodedSource) {
  for (const Layout layout : kAllLayouts) {
    const int64_t rows = 19, columns = is_k(layout) ? 768 : 608;
    SCOPED_TRACE(to_string(layout));
    const auto bytes = random_bytes(size_t(rows) * row_size(layout, columns), 7);
    const MemorySource source(layout, rows, columns, bytes);
    const auto packed = pack(layout, source);
    std::vector<float> expected(static_cast<size_t>(columns)), found(static_cast<size_t>(columns));
    for (int64_t row = 0; row < rows; ++row) {
      source.read_rows_f32(row, 1, expected);
      unpack_row_f32(layout, packed.data(), columns, row, found.data());
      for (size_t c = 0; c < expected.size(); ++c) {
        if (std::isnan(expected[c])) {
          EXPECT_TRUE(std::isnan(found[c]));
        } else {
          EXPECT_EQ(std::bit_cast<uint32_t>(expected[c]), std::bit_cast<uint32_t>(found[c]))
              << row << ' ' << c;
        }
      }
    }
  }
}

TEST(Pack, AbsentRowsAndPaddingAreZero) {
  for (const Layout layout : kAllLayouts) {
    const int64_t columns = is_k(layout) ? 256 : 32;
    const std::vector<std::byte> ones(row_size(layout, columns), std::byte{0xff});
    const auto packed = pack(layout, MemorySource(layout, 1, columns, ones));
    size_t set = 0;
    for (const std::byte byte : packed) set += byte != std::byte{0};
    EXPECT_EQ(set, ones.size()) << to_string(layout);
  }
}

TEST(Pack, SizesStayNearTheStoredOnes) {
  for (const Layout layout : kAllLayouts) {
    const size_t stored = 4096 * row_size(layout, 4096);
    const size_t packed = packed_size(layout, 4096, 4096);
    EXPECT_GE(packed, stored) << to_string(layout);
    EXPECT_LE(double(packed), 1.01 * double(stored)) << to_string(layout);
    EXPECT_EQ(layout_for(stored_dtype(layout), stored_encoding(layout)), layout);
  }
  EXPECT_EQ(layout_for(tensor::DType::f32, tensor::Encoding::iq4_nl), std::nullopt);
  EXPECT_EQ(layout_for(tensor::DType::f64, tensor::Encoding::plain), std::nullopt);
}

template <class Body>
ErrorCode code_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorCode::internal;
}

TEST(Pack, RefusesWhatDoesNotFit) {
  EXPECT_EQ(code_of([] { packed_size(Layout::q4_0_panel, 16, 40); }), ErrorCode::unsupported);
  EXPECT_EQ(code_of([] { packed_size(Layout::q4_k_panel, 16, 288); }), ErrorCode::unsupported);
  EXPECT_EQ(code_of([] { packed_size(Layout::bf16_panel, 16, 3); }), ErrorCode::unsupported);
  EXPECT_EQ(code_of([] { packed_size(Layout::f32_panel, 0, 4); }), ErrorCode::unsupported);
  EXPECT_EQ(code_of([] { packed_size(Layout::f32_panel, 4, INT64_MAX); }), ErrorCode::unsupported);
  EXPECT_EQ(code_of([] { packed_size(Layout::f32_panel, INT64_MAX, 1 << 20); }), ErrorCode::invalid_input);
}

}  // namespace
}  // namespace lathe::backend::cpu

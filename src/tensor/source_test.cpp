#include "tensor/source.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "base/numbers.h"
#include "tensor/convert.h"
#include "tensor/transpose.h"

namespace lathe::tensor {
namespace {

// 0, 1, 2, ... as f32.
Tensor counting(Dims dims) {
  Tensor tensor(DType::f32, std::move(dims));
  const auto values = tensor.data<float>();
  std::iota(values.begin(), values.end(), 0.0f);
  return tensor;
}

// Hides contiguous() and read_part() of another source, so that the general paths are taken.
class PlainReader final : public Source {
 public:
  explicit PlainReader(SourcePtr base)
      : Source(base->dtype(), base->encoding(), base->dims(), base->origin()), base_(std::move(base)) {}
  void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
    longest_read = std::max(longest_read, count);
    base_->read_rows(first, count, out);
  }
  void drop_rows(int64_t first, int64_t count) const override { dropped.emplace_back(first, count); }

  mutable int64_t longest_read = 0;
  mutable std::vector<std::pair<int64_t, int64_t>> dropped;

 private:
  SourcePtr base_;
};

std::vector<float> floats_of(const Source& source) {
  std::vector<float> values(size_t(source.rows() * source.row_elements()));
  source.read_rows_f32(0, source.rows(), values);
  return values;
}

std::vector<float> part_of(const Source& source, int64_t first, int64_t count, int64_t begin,
                           int64_t elements) {
  std::vector<float> values(size_t(count * elements));
  source.read_part(first, count, begin, elements, std::as_writable_bytes(std::span(values)));
  return values;
}

TEST(Source, MemoryRowsAndParts) {
  const SourcePtr source = memory_source(counting({2, 3, 4}), "t");
  EXPECT_EQ(source->rows(), 6);
  EXPECT_EQ(source->row_size(), 16u);
  EXPECT_EQ(source->byte_size(), 96u);
  std::vector<float> rows(8);
  source->read_rows(4, 2, std::as_writable_bytes(std::span(rows)));
  EXPECT_EQ(rows, (std::vector<float>{16, 17, 18, 19, 20, 21, 22, 23}));
  EXPECT_EQ(part_of(*source, 1, 2, 1, 2), (std::vector<float>{5, 6, 9, 10}));
  EXPECT_EQ(part_of(PlainReader(source), 1, 2, 1, 2), (std::vector<float>{5, 6, 9, 10}));
  EXPECT_THROW(source->read_rows(5, 2, std::as_writable_bytes(std::span(rows))), Error);
  EXPECT_THROW(source->read_rows(0, 1, std::as_writable_bytes(std::span(rows))), Error);
}

TEST(Source, ScalarAndEmpty) {
  const SourcePtr scalar = memory_source(Tensor::scalar(3.5f), "s");
  EXPECT_EQ(scalar->rows(), 1);
  EXPECT_EQ(floats_of(*scalar), std::vector<float>{3.5f});
  for (const Dims& dims : {Dims{0}, Dims{3, 0}, Dims{0, 3}}) {
    const SourcePtr empty = memory_source(Tensor(DType::f32, dims), "e");
    EXPECT_EQ(empty->byte_size(), 0u);
    EXPECT_TRUE(floats_of(*empty).empty());
    EXPECT_TRUE(floats_of(*converted_source(empty, DType::f16)).empty());
    if (dims.size() == 2) {
      EXPECT_TRUE(floats_of(*transposed_source(empty)).empty());
    }
  }
}

TEST(Source, MappedChecksItsSize) {
  const std::vector<std::byte> bytes(24);
  EXPECT_THROW(mapped_source(DType::f32, Encoding::plain, {5}, bytes, nullptr, "t"), Error);
  EXPECT_THROW(mapped_source(DType::f32, Encoding::q8_0, {30}, bytes, nullptr, "t"), Error);
  EXPECT_THROW(mapped_source(DType::f32, Encoding::plain, {-1}, bytes, nullptr, "t"), Error);
  EXPECT_THROW(mapped_source(DType::f32, Encoding::plain, {INT64_MAX, 3}, bytes, nullptr, "t"), Error);
  EXPECT_THROW(mapped_source(DType::i4, Encoding::plain, {16, 3}, bytes, nullptr, "t"), Error);
  EXPECT_EQ(mapped_source(DType::i4, Encoding::plain, {47}, bytes, nullptr, "t")->row_size(), 24u);
}

TEST(Source, DroppedRowsCanBeReadAgain) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / fmt::format("lathe_source_{}", ::getpid());
  const Tensor tensor = counting({64, 1024});  // 256 KiB: whole pages to drop
  write_text_file(
      path, {reinterpret_cast<const char*>(std::as_const(tensor).bytes().data()), tensor.bytes().size()});
  const auto file = MappedFile::open(path);
  std::filesystem::remove(path);
  const SourcePtr mapped = mapped_source(DType::f32, Encoding::plain, {64, 1024}, file->bytes(), file, "t");
  const SourcePtr transposed = transposed_source(mapped);
  for (const SourcePtr& source : {mapped, transposed, reshaped_source(mapped, {128, 512})}) {
    const std::vector<float> before = floats_of(*source);
    source->drop_rows(0, source->rows());
    EXPECT_EQ(floats_of(*source), before);
  }
  EXPECT_EQ(floats_of(*mapped), to_floats(tensor));
}

TEST(Source, RowMappedFollowsItsMap) {
  const auto base = std::make_shared<PlainReader>(memory_source(counting({4, 2}), "t"));
  const SourcePtr mapped =
      row_mapped_source(base, {3, 2}, [](int64_t row) { return row == 0 ? 3 : row - 1; });
  EXPECT_EQ(floats_of(*mapped), (std::vector<float>{6, 7, 0, 1, 2, 3}));
  EXPECT_EQ(part_of(*mapped, 0, 3, 1, 1), (std::vector<float>{7, 1, 3}));
  EXPECT_EQ(base->longest_read, 2) << "rows that follow each other are read together, and no others";
  mapped->drop_rows(0, 3);
  EXPECT_EQ(base->dropped, (std::vector<std::pair<int64_t, int64_t>>{{3, 1}, {0, 2}}));
  const SourcePtr wrong = row_mapped_source(base, {1, 2}, [](int64_t) { return 4; });
  EXPECT_THROW(floats_of(*wrong), Error);
}

TEST(Source, ReshapedKeepsOrder) {
  for (const bool contiguous : {true, false}) {
    const SourcePtr memory = memory_source(counting({3, 4}), "t");
    const SourcePtr base = contiguous ? memory : std::make_shared<PlainReader>(memory);
    for (const Dims& dims : {Dims{12}, Dims{2, 6}, Dims{4, 3}, Dims{2, 3, 2}, Dims{12, 1}}) {
      const SourcePtr reshaped = reshaped_source(base, dims);
      EXPECT_EQ(reshaped->contiguous().has_value(), contiguous);
      EXPECT_EQ(floats_of(*reshaped), floats_of(*memory));
      // Row by row, in two parts.
      std::vector<float> values;
      const int64_t length = dims.back();
      for (int64_t row = 0; row < reshaped->rows(); ++row) {
        for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, length / 2}, {length / 2, length}}) {
          const std::vector<float> part = part_of(*reshaped, row, 1, begin, end - begin);
          values.insert(values.end(), part.begin(), part.end());
        }
      }
      EXPECT_EQ(values, floats_of(*memory));
    }
    EXPECT_THROW(reshaped_source(base, {5}), Error);
  }
}

// What is widened, turned and picked from can be had back as it was stored.
TEST(Source, ConversionsThatCancelAreGone) {
  const SourcePtr stored = memory_source(cast(counting({6, 5}), DType::bf16), "t");
  EXPECT_EQ(converted_source(converted_source(stored, DType::f32), DType::bf16), stored);
  const SourcePtr widened = converted_source(stored, DType::f32);
  const auto back = [](int64_t row) { return 3 - row; };
  const SourcePtr turned = transposed_source(row_mapped_source(transposed_source(widened), {4, 6}, back));
  const SourcePtr expected = transposed_source(row_mapped_source(transposed_source(stored), {4, 6}, back));
  ASSERT_EQ(turned->dtype(), DType::f32);
  EXPECT_EQ(floats_of(*turned), floats_of(*expected));
  EXPECT_EQ(floats_of(*converted_source(turned, DType::bf16)), floats_of(*expected));
  // Not where bits are lost on the way.
  const SourcePtr exact = memory_source(counting({2, 600}), "t");
  EXPECT_NE(converted_source(converted_source(exact, DType::bf16), DType::f32), exact);
}

// Every panel of a transposition, over contiguous, mapped and converted bases, against the definition.
TEST(Source, TransposedReadsColumns) {
  for (const auto& [rows, columns] :
       std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {5, 3}, {70, 37}, {33, 130}}) {
    const Tensor tensor = counting({rows, columns});
    const SourcePtr memory = memory_source(tensor, "t");
    const auto reversed =
        row_mapped_source(memory, {rows, columns}, [n = rows](int64_t row) { return n - 1 - row; });
    const SourcePtr half = memory_source(cast(tensor, DType::bf16), "half");
    for (const SourcePtr& base : {memory, reversed, converted_source(half, DType::f32)}) {
      const std::vector<float> values = floats_of(*base);
      const SourcePtr transposed = transposed_source(base);
      ASSERT_EQ(transposed->dims(), (Dims{columns, rows}));
      for (const int64_t panel : {int64_t{1}, int64_t{10}, columns}) {
        for (int64_t first = 0; first < columns; first += panel) {
          const int64_t count = std::min(panel, columns - first);
          std::vector<float> out(size_t(count * rows));
          transposed->read_rows(first, count, std::as_writable_bytes(std::span(out)));
          for (int64_t c = 0; c < count; ++c) {
            for (int64_t r = 0; r < rows; ++r) {
              ASSERT_EQ(out[size_t(c * rows + r)], values[size_t(r * columns + first + c)]);
            }
          }
        }
      }
      if (base->origin() != "half") {
        EXPECT_EQ(transposed_source(transposed), base);
      }
      const SourcePtr rows_of_transposed =
          row_mapped_source(transposed, transposed->dims(), [](int64_t row) { return row; });
      EXPECT_EQ(floats_of(*transposed_source(rows_of_transposed)), values);
    }
  }
  EXPECT_THROW(transposed_source(memory_source(counting({2, 3, 4}), "t")), Error);
}

TEST(Source, TransposesElementsOfEverySize) {
  const int64_t rows = 67;
  const int64_t columns = 19;
  for (const size_t width : {1, 2, 4, 8, 16}) {
    std::vector<std::byte> in(size_t(rows * columns) * width + 1);
    for (size_t i = 0; i < in.size(); ++i) in[i] = std::byte(i * 37 >> 3);
    std::vector<std::byte> out(in.size());
    // One byte further, so that nothing is aligned.
    transpose(in.data() + 1, size_t(columns) * width, rows, columns, width, out.data() + 1,
              size_t(rows) * width);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        ASSERT_EQ(0, std::memcmp(in.data() + 1 + size_t(r * columns + c) * width,
                                 out.data() + 1 + size_t(c * rows + r) * width, width));
      }
    }
  }
}

TEST(Source, ConvertedEqualsScalarConversion) {
  Tensor tensor(DType::f32, {7, 33});
  const auto values = tensor.data<float>();
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = std::sin(float(i)) * std::exp2(float(i % 48) - 24.0f);
  values[3] = INFINITY;
  values[4] = -NAN;
  const SourcePtr source = memory_source(tensor, "t");
  const SourcePtr half = converted_source(source, DType::f16);
  const SourcePtr brain = converted_source(source, DType::bf16);
  EXPECT_EQ(converted_source(source, DType::f32), source);
  const Tensor half_values = load(*half);
  const Tensor brain_values = load(*brain);
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(half_values.data<uint16_t>()[i], f32_to_f16(values[i])) << values[i];
    EXPECT_EQ(brain_values.data<uint16_t>()[i], f32_to_bf16(values[i])) << values[i];
  }
  // A part in the middle of the rows, through two conversions.
  const std::vector<float> part = part_of(*converted_source(half, DType::f32), 2, 3, 5, 17);
  for (size_t row = 0; row < 3; ++row) {
    for (size_t i = 0; i < 17; ++i) {
      EXPECT_EQ(part[row * 17 + i], f16_to_f32(f32_to_f16(values[(row + 2) * 33 + 5 + i])));
    }
  }
  EXPECT_THROW(converted_source(memory_source(Tensor(DType::i32, {2}), "t"), DType::f32), Error);
  EXPECT_THROW(converted_source(source, DType::i8), Error);
}

TEST(Source, ConvertsEveryHalf) {
  std::vector<uint16_t> bits(1 << 16);
  std::iota(bits.begin(), bits.end(), uint16_t{0});
  std::vector<float> wide(bits.size());
  std::vector<uint16_t> back(bits.size());
  widen_to_f32(DType::f16, reinterpret_cast<const std::byte*>(bits.data()), int64_t(bits.size()),
               wide.data());
  narrow_from_f32(wide.data(), int64_t(bits.size()), DType::f16, reinterpret_cast<std::byte*>(back.data()));
  for (size_t i = 0; i < bits.size(); ++i) {
    const bool nan = (bits[i] & 0x7fffu) > 0x7c00u;
    EXPECT_EQ(nan, std::isnan(wide[i]));
    if (!nan) {
      EXPECT_EQ(std::bit_cast<uint32_t>(wide[i]), std::bit_cast<uint32_t>(f16_to_f32(bits[i])));
      EXPECT_EQ(back[i], bits[i]);
    }
  }
}

TEST(Source, SmallFloatsHaveTheirPublishedValues) {
  const auto value = [](DType dtype, unsigned bits) {
    const std::byte byte{uint8_t(bits)};
    float out;
    widen_to_f32(dtype, &byte, 1, &out);
    return out;
  };
  // Largest, smallest subnormal and special values of the OCP and ONNX definitions.
  EXPECT_EQ(value(DType::f8e4m3fn, 0x7e), 448.0f);
  EXPECT_EQ(value(DType::f8e4m3fn, 0x01), 0x1p-9f);
  EXPECT_TRUE(std::isnan(value(DType::f8e4m3fn, 0xff)));
  EXPECT_EQ(value(DType::f8e4m3fnuz, 0x7f), 240.0f);
  EXPECT_EQ(value(DType::f8e4m3fnuz, 0x01), 0x1p-10f);
  EXPECT_TRUE(std::isnan(value(DType::f8e4m3fnuz, 0x80)));
  EXPECT_EQ(value(DType::f8e5m2, 0x7b), 57344.0f);
  EXPECT_EQ(value(DType::f8e5m2, 0xfc), -INFINITY);
  EXPECT_TRUE(std::isnan(value(DType::f8e5m2, 0x7d)));
  EXPECT_EQ(value(DType::f8e5m2fnuz, 0xff), -57344.0f);
  EXPECT_EQ(value(DType::f8e5m2fnuz, 0x01), 0x1p-17f);
  EXPECT_EQ(value(DType::f8e8m0, 0), 0x1p-127f);
  EXPECT_EQ(value(DType::f8e8m0, 254), 0x1p127f);
  EXPECT_TRUE(std::isnan(value(DType::f8e8m0, 255)));
  const std::vector<float> e2m1 = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  for (unsigned i = 0; i < 16; ++i) EXPECT_EQ(value(DType::f4e2m1, i), i < 8 ? e2m1[i] : -e2m1[i - 8]);
}

TEST(Source, EncodedRowsAreDequantised) {
  // Two rows of two q8_0 blocks each: d = 0.5 (0x3800), then the values themselves.
  std::vector<std::byte> bytes;
  for (int i = 0; i < 4 * 32; ++i) {
    if (i % 32 == 0) bytes.insert(bytes.end(), {std::byte{0x00}, std::byte{0x38}});
    bytes.push_back(std::byte(i - 64));
  }
  const SourcePtr source = mapped_source(DType::f32, Encoding::q8_0, {2, 64}, bytes, nullptr, "t");
  EXPECT_EQ(source->row_size(), 68u);
  std::vector<float> expected(128);
  for (int i = 0; i < 128; ++i) expected[size_t(i)] = float(i - 64) / 2;
  EXPECT_EQ(floats_of(*source), expected);
  EXPECT_EQ(to_floats(load(*source)), expected);
  const auto hidden = std::make_shared<PlainReader>(source);
  EXPECT_EQ(floats_of(*hidden), expected);
  // Elements 40..49 of row 1 lie inside one block.
  const SourcePtr wide = converted_source(hidden, DType::f32);
  EXPECT_EQ(part_of(*wide, 1, 1, 40, 10), std::vector<float>(expected.begin() + 104, expected.begin() + 114));
  EXPECT_EQ(part_of(*wide, 0, 2, 30, 4), (std::vector<float>{-17, -16.5, -16, -15.5, 15, 15.5, 16, 16.5}));
  EXPECT_THROW(transposed_source(source), Error);
}

TEST(Source, LoadRefusesWhatIsNoBool) {
  const std::vector<std::byte> good = {std::byte{0}, std::byte{1}};
  const std::vector<std::byte> bad = {std::byte{0}, std::byte{2}};
  EXPECT_TRUE(load(*mapped_source(DType::boolean, Encoding::plain, {2}, good, nullptr, "t")).data<bool>()[1]);
  EXPECT_THROW(load(*mapped_source(DType::boolean, Encoding::plain, {2}, bad, nullptr, "t")), Error);
}

}  // namespace
}  // namespace lathe::tensor

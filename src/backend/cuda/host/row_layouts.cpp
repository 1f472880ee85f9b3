#include "backend/cuda/host/row_layouts.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "backend/cuda/layouts.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/numbers.h"

namespace lathe::backend::cuda {
namespace {

using tensor::DType;
using tensor::Encoding;

class RowLayout final : public PackedLayout {
 public:
  RowLayout(std::string_view name, DType dtype)
      : PackedLayout(name, 1, dtype, Encoding::plain), dtype_(dtype), element_(size_t(tensor::bits(dtype) / 8)) {}

  size_t size(int64_t rows, int64_t columns) const override {
    return checked_mul(size_t(rows), unit_size(columns), "weights");
  }
  size_t unit_size(int64_t columns) const override { return checked_mul(size_t(columns), element_, "row of weights"); }

  void pack(const tensor::Source& source, int64_t first, int64_t count, std::span<std::byte> out) const override {
    source.read_rows(first, count, out);
  }
  void unpack(std::span<const std::byte> packed, int64_t rows, int64_t columns, int64_t first, int64_t count,
              std::span<std::byte> out) const override {
    LATHE_CHECK(first >= 0 && count >= 0 && first + count <= rows, "rows {} to {} of {}", first, first + count, rows);
    const auto part = packed.subspan(size_t(first) * unit_size(columns), size_t(count) * unit_size(columns));
    std::copy(part.begin(), part.end(), out.begin());
  }
  void unpack_row(std::span<const std::byte> packed, int64_t columns, int64_t row,
                  std::span<float> out) const override {
    const size_t bytes = unit_size(columns);
    if (row < 0 || size_t(row) >= packed.size() / bytes) {
      fail(ErrorCode::invalid_input, "row {} of {}", row, packed.size() / bytes);
    }
    const std::byte* from = packed.data() + size_t(row) * bytes;
    for (size_t i = 0; i < size_t(columns); ++i) out[i] = element(from + i * element_);
  }

 private:
  float element(const std::byte* at) const {
    if (dtype_ == DType::f32) return read_as<float>(at);
    return dtype_ == DType::f16 ? f16_to_f32(read_as<uint16_t>(at)) : bf16_to_f32(read_as<uint16_t>(at));
  }
  template <class T>
  static T read_as(const std::byte* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }

  DType dtype_;
  size_t element_;
};

}  // namespace

std::span<const PackedLayout* const> row_layouts() {
  static const RowLayout f32("f32_rows", DType::f32), f16("f16_rows", DType::f16), bf16("bf16_rows", DType::bf16);
  static const std::array<const PackedLayout*, 3> kAll = {&f32, &f16, &bf16};
  return kAll;
}

std::span<const PackedLayout* const> device_layouts() {
  static const auto kAll = [] {
    std::vector<const PackedLayout*> all(row_layouts().begin(), row_layouts().end());
    all.insert(all.end(), block_layouts().begin(), block_layouts().end());
    return all;
  }();
  return kAll;
}

namespace {

std::optional<LatheCudaFormat> format_of_blocks(std::string_view layout, DType dtype, Encoding encoding) {
  bool known = false;
  for (const PackedLayout* mine : block_layouts()) known |= mine->name() == layout && mine->holds(dtype, encoding);
  if (!known) return std::nullopt;
  switch (encoding) {
    case Encoding::q4_0:
      return LATHE_CUDA_Q4_0;
    case Encoding::q4_1:
      return LATHE_CUDA_Q4_1;
    case Encoding::q5_0:
      return LATHE_CUDA_Q5_0;
    case Encoding::q5_1:
      return LATHE_CUDA_Q5_1;
    case Encoding::q8_0:
      return LATHE_CUDA_Q8_0;
    case Encoding::q4_k:
      return LATHE_CUDA_Q4_K;
    case Encoding::q5_k:
      return LATHE_CUDA_Q5_K;
    case Encoding::q6_k:
      return LATHE_CUDA_Q6_K;
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<LatheCudaFormat> format_of(std::string_view layout, DType dtype, Encoding encoding) {
  if (encoding != Encoding::plain) return format_of_blocks(layout, dtype, encoding);
  if (layout != "plain") {
    bool known = false;
    for (const PackedLayout* mine : row_layouts()) known |= mine->name() == layout;
    if (!known) return std::nullopt;
  }
  switch (dtype) {
    case DType::f32:
      return LATHE_CUDA_F32;
    case DType::f16:
      return LATHE_CUDA_F16;
    case DType::bf16:
      return LATHE_CUDA_BF16;
    default:
      return std::nullopt;
  }
}

}  // namespace lathe::backend::cuda

#include "backend/cpu/byte_layouts.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "backend/cpu/conv_windows.h"
#include "base/checked.h"

namespace lathe::backend::cpu {
namespace {

using plan::Instruction;
using tensor::Dims;
using tensor::DType;
using tensor::Tensor;

constexpr int64_t kPanel = 16;

bool is_byte(DType dtype) {
  return dtype == DType::u8 || dtype == DType::i8;
}

int64_t group_of(const Instruction& instruction) {
  return instruction.attributes.get_int("group", 1);
}

bool is_weight(const Instruction& instruction, size_t input, DType dtype, const Dims& dims) {
  if (input != 1 || !is_byte(dtype)) return false;
  if (instruction.op == "lathe.QLinear") return dims.size() == 2;
  return instruction.op == "lathe.QConv" && dims.size() >= 3 && dims.size() <= 2 + kWindowAxes &&
         tensor::element_count(std::span(dims).subspan(2)) <= kMaxTaps;
}

bool is_signed_weight(const Instruction& instruction, size_t input, DType dtype, const Dims& dims) {
  return dtype == DType::i8 && is_weight(instruction, input, dtype, dims);
}

bool is_depthwise(const Instruction& instruction, size_t input, DType dtype, const Dims& dims) {
  return is_weight(instruction, input, dtype, dims) && dims.size() >= 3 && dims[1] == 1 && dims[0] > 1 &&
         group_of(instruction) == dims[0];
}

// Row `feature` of the weights with its columns in the order of the panels; returns its sum.
int32_t take_row(const Tensor& plain, int64_t feature, int64_t taps, int64_t channels, int8_t* row) {
  const auto* from = reinterpret_cast<const uint8_t*>(plain.bytes().data()) + feature * taps * channels;
  const uint8_t flip = plain.dtype() == DType::u8 ? 0x80 : 0;  // the top bit flipped: less 128
  for (int64_t t = 0; t < taps; ++t) {
    int8_t* out = row + t * channels;
    for (int64_t c = 0; c < channels; ++c) out[c] = int8_t(from[c * taps + t] ^ flip);
  }
  int32_t sum = 0;
  for (int64_t i = 0; i < taps * channels; ++i) sum += row[i];
  return sum;
}

// Features [first, first + features) of the weights, to one group of i8_panel, which is zero so far.
void pack_group(const Tensor& plain, int64_t first, int64_t features, int64_t taps, int64_t channels, std::byte* out) {
  const int64_t words = (taps * channels + 3) / 4;
  std::vector<int8_t> rows(size_t(kPanel * words * 4), 0);  // behind a row's columns: zeros
  auto* sums = reinterpret_cast<int32_t*>(out);
  std::byte* panel = out + byte_sums_size(features);
  for (int64_t begin = 0; begin < features; begin += kPanel) {
    const int64_t count = std::min(kPanel, features - begin);
    for (int64_t r = 0; r < count; ++r) {
      sums[begin + r] = take_row(plain, first + begin + r, taps, channels, rows.data() + r * words * 4);
    }
    for (int64_t word = 0; word < words; ++word) {
      for (int64_t r = 0; r < count; ++r) std::memcpy(panel + r * 4, rows.data() + (r * words + word) * 4, 4);
      panel += kPanel * 4;
    }
  }
}

Tensor pack_panels(const Instruction& instruction, const Tensor& plain) {
  const Dims& dims = plain.dims();
  const int64_t group = group_of(instruction);
  const int64_t features = dims[0] / group, channels = dims[1];
  const int64_t taps = tensor::element_count(std::span(dims).subspan(2));
  const int64_t group_size = byte_group_size(features, taps * channels);
  Tensor packed(DType::u8, {checked_mul(group, group_size, "packed weights")});
  const std::span<std::byte> out = packed.mutable_bytes();
  for (int64_t g = 0; g < group; ++g) {
    pack_group(plain, g * features, features, taps, channels, out.data() + g * group_size);
  }
  return packed;
}

Tensor pack_depthwise(const Instruction&, const Tensor& plain) {
  const int64_t channels = plain.dims()[0];
  const int64_t taps = tensor::element_count(std::span(plain.dims()).subspan(2));
  const int64_t pitch = (channels + 15) / 16 * 16;
  const int64_t pairs = (taps + 1) / 2;
  Tensor packed(DType::u8, {pitch * 4 + pairs * pitch * 4});
  const std::span<std::byte> out = packed.mutable_bytes();
  auto* sums = reinterpret_cast<int32_t*>(out.data());
  auto* weights = reinterpret_cast<int16_t*>(out.data() + pitch * 4);
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < taps; ++t) {
      const auto i = size_t(c * taps + t);
      const int w = plain.dtype() == DType::i8 ? int(plain.data<int8_t>()[i]) : int(plain.data<uint8_t>()[i]);
      weights[(t / 2 * pitch + c) * 2 + t % 2] = int16_t(w);
      sums[c] += w;
    }
  }
  return packed;
}

// [features of a group, channels, taps] of constants of any file.
struct PanelDims {
  int64_t group, features, channels, taps;
  int64_t group_size() const { return byte_group_size(features, channels * taps); }
};

PanelDims panel_dims(const Dims& dims, int64_t group) {
  constexpr int64_t kMaxElements = int64_t{1} << 55;  // sizes do not overflow
  const bool matrix = dims.size() == 2 || (dims.size() > 2 && dims.size() <= 2 + kWindowAxes);
  if (!matrix || group < 1 || dims[0] % group != 0 || tensor::element_count(std::span(dims)) > kMaxElements ||
      dims[0] > kMaxElements) {
    fail(ErrorCode::invalid_input, "weights {} in {} groups", tensor::to_string(std::span(dims)), group);
  }
  return {group, dims[0] / group, dims[1], tensor::element_count(std::span(dims).subspan(2))};
}

size_t signed_size(const Dims& dims, int64_t group) {
  const PanelDims panels = panel_dims(dims, group);
  return size_t(checked_mul(group, panels.group_size(), "packed weights"));
}

// Elements [first, first + out.size()) of one row; its sum is held against the stored one where it is whole.
void unpack_row(const PanelDims& dims, int64_t feature, int64_t first, std::span<const std::byte> packed,
                std::span<std::byte> out) {
  const std::byte* group = packed.data() + feature / dims.features * dims.group_size();
  const int64_t m = feature % dims.features, columns = dims.channels * dims.taps;
  const std::byte* panel =
      group + byte_sums_size(dims.features) + m / kPanel * byte_panel_size(columns) + m % kPanel * 4;
  int32_t sum = 0;
  for (int64_t i = 0; i < int64_t(out.size()); ++i) {
    const int64_t column = (first + i) % dims.taps * dims.channels + (first + i) / dims.taps;
    out[size_t(i)] = panel[column / 4 * kPanel * 4 + column % 4];
    sum += int8_t(out[size_t(i)]);
  }
  int32_t stored = 0;
  std::memcpy(&stored, group + m * 4, 4);
  if (int64_t(out.size()) == columns && sum != stored) {
    fail(ErrorCode::invalid_input, "row {} of packed weights has the sum {}, stored is {}", feature, sum, stored);
  }
}

void unpack_signed(const Dims& dims, int64_t group, std::span<const std::byte> packed, int64_t first, int64_t count,
                   std::span<std::byte> out) {
  const PanelDims panels = panel_dims(dims, group);
  const int64_t columns = panels.channels * panels.taps;
  LATHE_CHECK(int64_t(out.size()) == count, "{} bytes for {} elements", out.size(), count);
  for (int64_t done = 0; done < count;) {
    const int64_t at = (first + done) % columns;
    const int64_t length = std::min(columns - at, count - done);
    unpack_row(panels, (first + done) / columns, at, packed, out.subspan(size_t(done), size_t(length)));
    done += length;
  }
}

}  // namespace

const GraphLayout kBytePanelLayout = {kBytePanel, is_weight, pack_panels, group_of};
const GraphLayout kSignedPanelLayout = {.name = kSignedPanel,
                                        .wanted = is_signed_weight,
                                        .pack = pack_panels,
                                        .variant = group_of,
                                        .size = signed_size,
                                        .unpack = unpack_signed,
                                        .plain = DType::i8};
const GraphLayout kByteDepthwiseLayout = {kByteDepthwise, is_depthwise, pack_depthwise};

}  // namespace lathe::backend::cpu

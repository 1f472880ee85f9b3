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

bool is_depthwise(const Instruction& instruction, size_t input, DType dtype, const Dims& dims) {
  return is_weight(instruction, input, dtype, dims) && dims.size() >= 3 && dims[1] == 1 && dims[0] > 1 &&
         group_of(instruction) == dims[0];
}

// Row `feature` of the weights with its columns in the order of the panels, filled up to whole words; returns its sum.
int32_t take_row(const Tensor& plain, int64_t feature, int64_t taps, int64_t channels, std::vector<int8_t>& row) {
  const auto* from = reinterpret_cast<const uint8_t*>(plain.bytes().data()) + feature * taps * channels;
  const uint8_t flip = plain.dtype() == DType::u8 ? 0x80 : 0;  // the top bit flipped: less 128
  int32_t sum = 0;
  for (int64_t t = 0; t < taps; ++t) {
    int8_t* out = row.data() + t * channels;
    for (int64_t c = 0; c < channels; ++c) {
      out[c] = int8_t(from[c * taps + t] ^ flip);
      sum += out[c];
    }
  }
  return sum;
}

// Features [first, first + features) of the weights, to one group of i8_panel.
void pack_group(const Tensor& plain, int64_t first, int64_t features, int64_t taps, int64_t channels, std::byte* out) {
  const int64_t words = (taps * channels + 3) / 4;
  std::vector<int8_t> row(size_t(words * 4), 0);
  auto* sums = reinterpret_cast<int32_t*>(out);
  std::byte* panels = out + byte_sums_size(features);
  const int64_t panel_size = byte_panel_size(taps * channels);
  for (int64_t m = 0; m < features; ++m) {
    sums[m] = take_row(plain, first + m, taps, channels, row);
    std::byte* panel = panels + m / kPanel * panel_size + m % kPanel * 4;
    for (int64_t word = 0; word < words; ++word) std::memcpy(panel + word * 64, row.data() + word * 4, 4);
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
  std::fill(out.begin(), out.end(), std::byte{0});
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
  std::fill(out.begin(), out.end(), std::byte{0});
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

}  // namespace

const GraphLayout kBytePanelLayout = {kBytePanel, is_weight, pack_panels, group_of};
const GraphLayout kByteDepthwiseLayout = {kByteDepthwise, is_depthwise, pack_depthwise};

}  // namespace lathe::backend::cpu

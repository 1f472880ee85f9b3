#include "backend/cpu/graph_layouts.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "backend/cpu/block_layouts.h"
#include "backend/cpu/byte_layouts.h"
#include "backend/cpu/graph_unpack.h"
#include "backend/cpu/half_layouts.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/linear.h"
#include "backend/cpu/winograd.h"
#include "tensor/source.h"

namespace lathe::backend::cpu {
namespace {

using plan::Instruction;
using tensor::Dims;
using tensor::DType;
using tensor::Tensor;

Tensor pack_matrix(const Tensor& plain) {
  const int64_t rows = plain.dims()[0];
  const int64_t columns = plain.dims()[1];
  Tensor packed(DType::u8, {int64_t(packed_size(Layout::f32_panel, rows, columns))});
  const auto source = tensor::memory_source(plain, "weights");
  pack_panels(Layout::f32_panel, *source, 0, (rows + kPanelRows - 1) / kPanelRows, packed.mutable_bytes());
  return packed;
}

// Of products that round: half_layouts.h has layouts for those that kernels compute.
bool is_rounded(const Instruction& instruction) {
  return instruction.attributes.get_string("weights", "f32") != "f32" ||
         instruction.attributes.get_string("compute", "f32") != "f32";
}

bool is_linear_weight(const Instruction& instruction, size_t input, DType dtype, const Dims& dims) {
  const auto parts = size_t(instruction.attributes.get_int("parts", 1));
  return instruction.op == "lathe.Linear" && input >= 4 && input < 4 + parts && dtype == DType::f32 &&
         dims.size() == 2 && !is_rounded(instruction);
}

Tensor pack_linear(const Instruction&, const Tensor& plain) {
  return pack_matrix(plain);
}

bool is_conv_weight(const Instruction& instruction, size_t input, DType dtype, const Dims& dims) {
  return instruction.op == "lathe.Conv" && input == 1 && dtype == DType::f32 && dims.size() >= 3 && dims.size() <= 5 &&
         !is_rounded(instruction);
}

bool is_depthwise(const Instruction& instruction, size_t input, DType dtype, const Dims& dims) {
  return is_conv_weight(instruction, input, dtype, dims) && dims[1] == 1 && dims[0] > 1 &&
         instruction.attributes.get_int("group", 1) == dims[0];
}

Tensor pack_depthwise(const Instruction&, const Tensor& plain) {
  const int64_t channels = plain.dims()[0];
  const int64_t taps = channels == 0 ? 0 : plain.size() / channels;
  const int64_t stride = (channels + 15) / 16 * 16;
  Tensor packed(DType::u8, {taps * stride * 4});
  float* out = reinterpret_cast<float*>(packed.mutable_bytes().data());
  const float* in = plain.data<float>().data();
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < taps; ++t) out[t * stride + c] = in[c * taps + t];
  }
  return packed;
}

int64_t group_of(const Instruction& instruction) {
  return instruction.attributes.get_int("group", 1);
}

Tensor pack_conv(const Instruction& instruction, const Tensor& plain) {
  const int64_t group = group_of(instruction);
  const int64_t features = plain.dims()[0] / group;
  const int64_t channels = plain.dims()[1];
  const int64_t columns = features == 0 ? 0 : plain.size() / plain.dims()[0];
  const int64_t taps = channels == 0 ? 0 : columns / channels;
  const int64_t group_floats = conv_panel_group(features, columns);
  Tensor packed(DType::u8, {group_floats * group * 4});
  float* out = reinterpret_cast<float*>(packed.mutable_bytes().data());
  for (int64_t g = 0; g < group; ++g, out += group_floats) {
    const float* in = plain.data<float>().data() + g * features * columns;
    for (int64_t first = 0; first < features; first += kPanelRows) {
      const int64_t rows = std::min(kPanelRows, features - first);
      float* panel = out + first * columns;
      for (int64_t t = 0; t < taps; ++t) {
        for (int64_t c = 0; c < channels; ++c, panel += kPanelRows) {
          for (int64_t m = 0; m < rows; ++m) panel[m] = in[(first + m) * columns + c * taps + t];
        }
      }
    }
  }
  return packed;
}

// Fewer channels are not worth the transforms; more, and four times the bytes of weights are.
constexpr int64_t kMinChannels = 16;
constexpr int64_t kMaxPairs = 65536;

bool all_ones(const std::vector<int64_t>& values) {
  return std::all_of(values.begin(), values.end(), [](int64_t value) { return value == 1; });
}

bool is_winograd(const Instruction& instruction, size_t input, DType dtype, const Dims& dims) {
  const op::Attributes& attributes = instruction.attributes;
  return is_conv_weight(instruction, input, dtype, dims) && dims.size() == 4 && dims[2] == 3 && dims[3] == 3 &&
         attributes.get_int("group", 1) == 1 && all_ones(attributes.find_ints("strides").value_or(Dims{1})) &&
         all_ones(attributes.find_ints("dilations").value_or(Dims{1})) && dims[0] >= kMinChannels &&
         dims[1] >= kMinChannels && dims[0] * dims[1] <= kMaxPairs;
}

Tensor pack_winograd(const Instruction&, const Tensor& plain) {
  const int64_t features = plain.dims()[0], channels = plain.dims()[1];
  const int64_t plane_floats = conv_panel_group(features, channels);
  Tensor packed(DType::u8, {kWinogradPlanes * plane_floats * 4});
  float* out = reinterpret_cast<float*>(packed.mutable_bytes().data());
  const float* in = plain.data<float>().data();
  const WinogradTier& tier = best_isa() == Isa::avx2 ? avx2::kWinogradTier : avx512::kWinogradTier;
  for (int64_t first = 0; first < features; first += kPanelRows) {
    for (int64_t c = 0; c < channels; ++c) {
      tier.weights(in + (first * channels + c) * 9, channels * 9, std::min(kPanelRows, features - first),
                   out + (first * channels) + c * kPanelRows, plane_floats);
    }
  }
  return packed;
}

}  // namespace

int64_t conv_panel_group(int64_t features_per_group, int64_t columns) {
  return int64_t(packed_size(Layout::f32_panel, features_per_group, columns)) / 4;
}

std::span<const GraphLayout* const> graph_layouts() {
  static constexpr GraphLayout kLinear = {.name = "f32_panel",
                                    .wanted = is_linear_weight,
                                    .pack = pack_linear,
                                    .size = linear_size,
                                    .unpack = unpack_linear};
  static constexpr GraphLayout kDepthwise = {.name = kConvDepthwise,
                                       .wanted = is_depthwise,
                                       .pack = pack_depthwise,
                                       .size = depthwise_size,
                                       .unpack = unpack_depthwise};
  static constexpr GraphLayout kWinograd = {.name = kConvWinograd, .wanted = is_winograd, .pack = pack_winograd};
  static constexpr GraphLayout kConv = {.name = kConvPanel,
                                  .wanted = is_conv_weight,
                                  .pack = pack_conv,
                                  .variant = group_of,
                                  .size = conv_size,
                                  .unpack = unpack_conv};
  static constexpr std::array<const GraphLayout*, 13> kAll = {
      &kLinear,           &kDepthwise,         &kWinograd,         &kConv,
      &kLinearBf16Layout, &kLinearF16Layout,   &kConvBf16Layout,   &kConvF16Layout,
      &kByteDepthwiseLayout, &kSignedPanelLayout, &kBytePanelLayout, &kCodePanelLayout, &kBlockPanelLayout};
  return kAll;
}

}  // namespace lathe::backend::cpu

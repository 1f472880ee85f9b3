#include "backend/cpu/half_layouts.h"

#include <algorithm>
#include <vector>

#include "backend/cpu/conv_windows.h"
#include "backend/cpu/isa.h"
#include "base/checked.h"
#include "base/numbers.h"

namespace lathe::backend::cpu {
namespace {

using plan::Instruction;
using tensor::Dims;
using tensor::DType;
using tensor::Tensor;

constexpr int64_t kPanel = 16;
constexpr int64_t kMaxElements = int64_t{1} << 55;  // sizes below do not overflow

// Weights as groups of matrices: element (feature, channel, tap) of the constant.
struct Weights {
  int64_t groups, features, channels, taps;  // features and channels of one group
};

Weights weights_of(const Dims& dims, int64_t groups, size_t min_rank, size_t max_rank) {
  const int64_t count = tensor::element_count(std::span<const int64_t>(dims));
  const bool good = dims.size() >= min_rank && dims.size() <= max_rank && count <= kMaxElements && groups >= 1;
  if (!good || dims[0] > kMaxElements || dims[1] > kMaxElements || dims[0] % groups != 0) {
    fail(ErrorCode::invalid_input, "weights {} in {} groups", tensor::to_string(std::span<const int64_t>(dims)),
         groups);
  }
  const int64_t pairs = dims[0] * (count == 0 ? 0 : dims[1]);
  return {groups, dims[0] / groups, dims[1], pairs == 0 ? 0 : count / pairs};
}
Weights linear_weights(const Dims& dims) {
  return weights_of(dims, 1, 2, 2);
}
Weights conv_weights(const Dims& dims, int64_t groups) {
  return weights_of(dims, groups, 3, 2 + kWindowAxes);
}

int64_t group_of(const Instruction& instruction) {
  return instruction.attributes.get_int("group", 1);
}

// Whether kernels multiply weights of this type by rows that are rounded as the instruction says.
bool is_rounded_to(const Instruction& instruction, std::string_view type) {
  const std::string compute = instruction.attributes.get_string("compute", "f32");
  return instruction.attributes.get_string("weights", "f32") == type &&
         (compute == "f32" || (compute == "bf16" && type == "bf16"));
}

bool is_linear(const Instruction& instruction, size_t input, DType dtype, const Dims& dims, std::string_view type) {
  const auto parts = instruction.attributes.get_int("parts", 1);
  return instruction.op == "lathe.Linear" && input == 4 && parts == 1 && dtype == DType::f32 && dims.size() == 2 &&
         instruction.attributes.get_string("norm", "none") == "none" && is_rounded_to(instruction, type);
}
bool is_conv(const Instruction& instruction, size_t input, DType dtype, const Dims& dims, std::string_view type) {
  return instruction.op == "lathe.Conv" && input == 1 && dtype == DType::f32 && dims.size() >= 3 &&
         dims.size() <= 2 + kWindowAxes && tensor::element_count(std::span(dims).subspan(2)) <= kMaxTaps &&
         is_rounded_to(instruction, type);
}

// A panel as f32 [taps][columns of a step x steps][16]: features that there are not, and what fills the last step up,
// stay zero.
void take_panel(const float* group, const Weights& w, const HalfPanels& sizes, int64_t first, std::vector<float>& out) {
  std::fill(out.begin(), out.end(), 0.0f);
  const int64_t count = std::min(kPanel, w.features - first);
  const int64_t tap_floats = sizes.steps * sizes.step_columns * kPanel;
  const bool gathered = sizes.taps != w.taps;
  for (int64_t m = 0; m < count; ++m) {
    const float* from = group + (first + m) * w.channels * w.taps;
    for (int64_t c = 0; c < w.channels; ++c) {
      for (int64_t t = 0; t < w.taps; ++t) {
        const int64_t at = gathered ? (t * w.channels + c) * kPanel : t * tap_floats + c * kPanel;
        out[size_t(at + m)] = from[c * w.taps + t];
      }
    }
  }
}

Tensor pack(const Weights& w, const Tensor& plain, HalfForm form) {
  const HalfTier& tier = best_isa() == Isa::avx2 ? avx2::kHalfTier : avx512::kHalfTier;
  const HalfPanels sizes = half_panels(w.features, w.taps, w.channels, form);
  Tensor packed(DType::u8, {w.groups * sizes.numbers() * 2});
  auto* out = reinterpret_cast<uint16_t*>(packed.mutable_bytes().data());
  std::vector<float> panel(size_t(sizes.panel_numbers()));
  std::vector<uint16_t> bits(panel.size());
  for (int64_t g = 0; g < w.groups; ++g) {
    const float* group = plain.data<float>().data() + g * w.features * w.channels * w.taps;
    for (int64_t first = 0; first < w.features; first += kPanel, out += sizes.panel_numbers()) {
      take_panel(group, w, sizes, first, panel);
      if (form == HalfForm::f16) {
        tier.to_f16(panel.data(), int64_t(panel.size()), out);
        continue;
      }
      tier.to_bf16(panel.data(), int64_t(panel.size()), bits.data());
      for (size_t at = 0; at < bits.size(); at += 2 * kPanel) {  // two columns, to pairs
        for (size_t m = 0; m < size_t(kPanel); ++m) {
          out[at + 2 * m] = bits[at + m];
          out[at + 2 * m + 1] = bits[at + kPanel + m];
        }
      }
    }
  }
  return packed;
}

void unpack(const Weights& w, HalfForm form, std::span<const std::byte> packed, int64_t first, int64_t count,
            std::span<std::byte> out) {
  LATHE_CHECK(out.size() == size_t(count) * sizeof(float), "{} bytes for {} elements", out.size(), count);
  const HalfPanels sizes = half_panels(w.features, w.taps, w.channels, form);
  const auto* from = reinterpret_cast<const uint16_t*>(packed.data());
  auto* to = reinterpret_cast<float*>(out.data());
  const int64_t row_elements = w.channels * w.taps, step = sizes.step_columns;
  const int64_t tap_numbers = sizes.steps * step * kPanel;
  const bool gathered = sizes.taps != w.taps;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t feature = (first + i) / row_elements, rest = (first + i) % row_elements;
    const int64_t channel = rest / w.taps, tap = rest % w.taps, m = feature % w.features;
    const int64_t column = gathered ? tap * w.channels + channel : channel;
    const int64_t panel = feature / w.features * sizes.numbers() + m / kPanel * sizes.panel_numbers();
    const int64_t at =
        panel + (gathered ? 0 : tap * tap_numbers) + column / step * step * kPanel + m % kPanel * step + column % step;
    to[i] = form == HalfForm::f16 ? f16_to_f32(from[at]) : bf16_to_f32(from[at]);
  }
}

size_t size_of(const Weights& w, HalfForm form) {
  return size_t(w.groups * half_panels(w.features, w.taps, w.channels, form).numbers()) * sizeof(uint16_t);
}

constexpr std::string_view type_of(HalfForm form) {
  return form == HalfForm::f16 ? "f16" : "bf16";
}

template <HalfForm F>
constexpr GraphLayout linear_layout(std::string_view name) {
  return {.name = name,
          .wanted = [](const Instruction& instruction, size_t input, DType dtype,
                       const Dims& dims) { return is_linear(instruction, input, dtype, dims, type_of(F)); },
          .pack = [](const Instruction&, const Tensor& plain) { return pack(linear_weights(plain.dims()), plain, F); },
          .size = [](const Dims& dims, int64_t) { return size_of(linear_weights(dims), F); },
          .unpack = [](const Dims& dims, int64_t, std::span<const std::byte> packed, int64_t first, int64_t count,
                       std::span<std::byte> out) { unpack(linear_weights(dims), F, packed, first, count, out); }};
}

template <HalfForm F>
constexpr GraphLayout conv_layout(std::string_view name) {
  return {
      .name = name,
      .wanted = [](const Instruction& instruction, size_t input, DType dtype,
                   const Dims& dims) { return is_conv(instruction, input, dtype, dims, type_of(F)); },
      .pack = [](const Instruction& instruction,
                 const Tensor& plain) { return pack(conv_weights(plain.dims(), group_of(instruction)), plain, F); },
      .variant = group_of,
      .size = [](const Dims& dims, int64_t groups) { return size_of(conv_weights(dims, groups), F); },
      .unpack = [](const Dims& dims, int64_t groups, std::span<const std::byte> packed, int64_t first, int64_t count,
                   std::span<std::byte> out) { unpack(conv_weights(dims, groups), F, packed, first, count, out); }};
}

}  // namespace

HalfPanels half_panels(int64_t features, int64_t taps, int64_t channels, HalfForm form) {
  const int64_t step = columns_of_step(form);
  const bool gathered = taps > 1 && channels < kGatherChannels;
  HalfPanels sizes{};
  sizes.features = features;
  sizes.taps = gathered ? 1 : taps;
  sizes.columns = gathered ? taps * channels : channels;
  sizes.steps = (sizes.columns + step - 1) / step;
  sizes.step_columns = step;
  return sizes;
}

const GraphLayout kLinearBf16Layout = linear_layout<HalfForm::bf16_dot>(kLinearBf16);
const GraphLayout kLinearF16Layout = linear_layout<HalfForm::f16>(kLinearF16);
const GraphLayout kConvBf16Layout = conv_layout<HalfForm::bf16_dot>(kConvBf16);
const GraphLayout kConvF16Layout = conv_layout<HalfForm::f16>(kConvF16);

}  // namespace lathe::backend::cpu

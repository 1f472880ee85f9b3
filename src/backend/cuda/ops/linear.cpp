// lathe.Linear: few tokens by linear_decode, many by tensor cores where weights and activations are of 16 bits.
#include <algorithm>
#include <array>
#include <utility>

#include "backend/bound.h"
#include "backend/cuda/host/accelerator.h"
#include "backend/cuda/host/row_layouts.h"
#include "backend/refusals.h"
#include "base/checked.h"

namespace lathe::backend::cuda {
namespace {

using plan::Instruction;
using plan::Plan;

// So many tokens go by tensor cores. Not measured: linear_decode reads all weights once for each four tokens.
constexpr int64_t kFewestForTensorCores = 16;
constexpr int64_t kDepth = 32;  // of kernels/linear_prefill.h: columns are a multiple of it
// linear_decode keeps a token's columns in the shared memory of a block, of which every card has 99 KiB.
constexpr int64_t kMostColumns = ((99 << 10) - 1024) / int64_t(sizeof(float));
constexpr int64_t kAlign = 256;

std::optional<LatheCudaFunction> find_function(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, LatheCudaFunction>, 8> kNames = {
      {{"none", LATHE_CUDA_IDENTITY},
       {"silu_gate", LATHE_CUDA_SILU_GATE},
       {"gelu_gate", LATHE_CUDA_GELU_GATE},
       {"gelu_tanh_gate", LATHE_CUDA_GELU_TANH_GATE},
       {"gelu", LATHE_CUDA_GELU},
       {"gelu_tanh", LATHE_CUDA_GELU_TANH},
       {"silu", LATHE_CUDA_SILU},
       {"relu", LATHE_CUDA_RELU}}};
  for (const auto& [known, function] : kNames) {
    if (known == name) return function;
  }
  return std::nullopt;
}

// What a function that gates does to its first part.
LatheCudaFunction ungated(LatheCudaFunction function) {
  switch (function) {
    case LATHE_CUDA_SILU_GATE:
      return LATHE_CUDA_SILU;
    case LATHE_CUDA_GELU_GATE:
      return LATHE_CUDA_GELU;
    case LATHE_CUDA_GELU_TANH_GATE:
      return LATHE_CUDA_GELU_TANH;
    default:
      return function;
  }
}
bool gates(LatheCudaFunction function) {
  return ungated(function) != function;
}

std::optional<LatheCudaRounding> find_rounding(std::string_view compute) {
  if (compute == "f32") return LATHE_CUDA_ROUND_NONE;
  if (compute == "f16") return LATHE_CUDA_ROUND_F16;
  if (compute == "bf16") return LATHE_CUDA_ROUND_BF16;
  return std::nullopt;
}

LatheCudaNorm norm_of(std::string_view name) {
  return name == "rms" ? LATHE_CUDA_NORM_RMS : name == "layer" ? LATHE_CUDA_NORM_LAYER : LATHE_CUDA_NORM_NONE;
}

std::optional<LatheCudaFormat> format_of(const plan::Constant& weight) {
  return cuda::format_of(weight.layout, weight.dtype, weight.encoding);
}

std::optional<std::string> refusal(const Plan& plan, const Instruction& instruction) {
  if (auto reason = refuse_linear_operands(plan, instruction)) return reason;
  const op::Attributes& attributes = instruction.attributes;
  const auto function = find_function(attributes.get_string("activation", "none"));
  if (!function) return "activation not known";
  const std::string compute = attributes.get_string("compute", "f32");
  if (!find_rounding(compute)) return fmt::format("compute {}", compute);
  const auto parts = size_t(attributes.get_int("parts", 1));
  const plan::Constant& first = *constant_of(plan, instruction, kLinearWeights);
  for (size_t part = 0; part < parts; ++part) {
    const plan::Constant& weight = *constant_of(plan, instruction, kLinearWeights + part);
    if (!format_of(weight)) return fmt::format("weights in layout {}", weight.layout);
    if (gates(*function) && (weight.layout != first.layout || weight.dims != first.dims)) {
      return "a gate of another kind than what it gates";
    }
    if (weight.dims[1] > kMostColumns) {
      return fmt::format("{} columns, expected {} at the most", weight.dims[1], kMostColumns);
    }
    if (weight.dims[0] > INT32_MAX) return fmt::format("{} rows", weight.dims[0]);
  }
  return std::nullopt;
}

// Scratch of tensor cores: activations in 16 bits, and both parts of a gate.
struct Places {
  int64_t rounded;  // bytes
  int64_t gate;     // of each part
  Places(int64_t tokens, int64_t columns, int64_t gate_rows)
      : rounded(align_up(checked_mul(checked_mul(tokens, columns, "scratch"), int64_t{2}, "scratch"), kAlign)),
        gate(align_up(checked_mul(checked_mul(tokens, gate_rows, "scratch"), int64_t{4}, "scratch"), kAlign)) {}
};

Places places_of(const Plan& plan, const Instruction& instruction, const Capacity& capacity) {
  const plan::Constant& weight = *constant_of(plan, instruction, kLinearWeights);
  const bool gated = gates(*find_function(instruction.attributes.get_string("activation", "none")));
  return {capacity.rows(output_buffer(plan, instruction).rows), weight.dims[1], gated ? weight.dims[0] : 0};
}

struct Part {
  const void* weights;
  const float* bias;
  int32_t rows;
  LatheCudaFormat format;
};

struct Prepared {
  LatheCudaLinearDecode decode;  // all but the part's own, and how many tokens
  std::vector<Part> parts;
  bool gated;
  bool tensor_cores;
  plan::Rows rows;
  std::byte* rounded;
  float* gate[2];
};

// Weights of the type that activations are rounded to, by instructions that mma takes. A row's bits differ from
// linear_decode's, so not where they may not depend on how many rows there are.
bool has_tensor_cores(const Settings& settings, const std::vector<Part>& parts, int32_t rounding, int64_t columns) {
  static_assert(int(LATHE_CUDA_F16) == int(LATHE_CUDA_ROUND_F16) && int(LATHE_CUDA_BF16) == int(LATHE_CUDA_ROUND_BF16));
  if (settings.same_bits || rounding == LATHE_CUDA_ROUND_NONE || columns % kDepth != 0) return false;
  return std::all_of(parts.begin(), parts.end(), [&](const Part& part) { return int32_t(part.format) == rounding; });
}

size_t scratch_size(const Plan& plan, const Instruction& instruction, const Settings& settings,
                    const Capacity& capacity) {
  if (settings.exact || settings.same_bits) return 0;
  const Places places = places_of(plan, instruction, capacity);
  return size_t(checked_add(places.rounded, checked_mul(places.gate, int64_t{2}, "scratch"), "scratch"));
}

void prepare(Bound& bound) {
  const Plan& plan = *bound.plan;
  const Instruction& instruction = *bound.instruction;
  const op::Attributes& attributes = instruction.attributes;
  auto prepared = std::make_shared<Prepared>();
  const auto parts = size_t(attributes.get_int("parts", 1));
  for (size_t part = 0; part < parts; ++part) {
    const plan::Constant& weight = *constant_of(plan, instruction, kLinearWeights + part);
    prepared->parts.push_back({bound.inputs[kLinearWeights + part],
                               input_data<float>(bound, kLinearWeights + parts + part), int32_t(weight.dims[0]),
                               *format_of(weight)});
  }
  const plan::Buffer& out = output_buffer(plan, instruction);
  LatheCudaLinearDecode& call = prepared->decode;
  call = {};
  call.x = input_data<float>(bound, kLinearX);
  call.norm_scale = input_data<float>(bound, kLinearNormScale);
  call.norm_bias = input_data<float>(bound, kLinearNormBias);
  call.residual = input_data<float>(bound, kLinearResidual);
  call.y = output_data<float>(bound);
  call.columns = int32_t(constant_of(plan, instruction, kLinearWeights)->dims[1]);
  call.y_stride = int32_t(out.columns);
  call.norm = norm_of(attributes.get_string("norm", "none"));
  call.rounding =
      bound.settings.exact ? LATHE_CUDA_ROUND_NONE : *find_rounding(attributes.get_string("compute", "f32"));
  const LatheCudaFunction function = *find_function(attributes.get_string("activation", "none"));
  call.function = function;
  call.epsilon = float(attributes.get_float("epsilon", 0));
  prepared->gated = gates(function);
  prepared->tensor_cores = has_tensor_cores(bound.settings, prepared->parts, call.rounding, call.columns);
  prepared->rows = out.rows;
  const Places places = places_of(plan, instruction, bound.capacity);
  prepared->rounded = bound.scratch;
  prepared->gate[0] = reinterpret_cast<float*>(bound.scratch + places.rounded);
  prepared->gate[1] = reinterpret_cast<float*>(bound.scratch + places.rounded + places.gate);
  bound.prepared = std::move(prepared);
}

void run_decode(const Bound& bound, const Prepared& prepared, int32_t tokens) noexcept {
  LatheCudaLinearDecode call = prepared.decode;
  call.tokens = tokens;
  for (size_t part = 0; part < (prepared.gated ? 1 : prepared.parts.size()); ++part) {
    call.weights = prepared.parts[part].weights;
    call.bias = prepared.parts[part].bias;
    call.rows = prepared.parts[part].rows;
    call.format = prepared.parts[part].format;
    if (prepared.gated) call.gate = prepared.parts[1].weights;
    if (prepared.gated) call.gate_bias = prepared.parts[1].bias;
    launch(bound, &LatheCudaApi::linear_decode, call);
    call.y_first += call.rows;
  }
}

// x normalised and rounded once for all parts.
void round_x(const Bound& bound, const Prepared& prepared, int32_t tokens) noexcept {
  LatheCudaNormalise call = {};
  call.x = prepared.decode.x;
  call.scale = prepared.decode.norm_scale;
  call.bias = prepared.decode.norm_bias;
  call.y = prepared.rounded;
  call.tokens = tokens;
  call.columns = prepared.decode.columns;
  call.norm = prepared.decode.norm;
  call.rounding = prepared.decode.rounding;
  call.epsilon = prepared.decode.epsilon;
  launch(bound, &LatheCudaApi::normalise, call);
}

void run_prefill(const Bound& bound, const Prepared& prepared, int32_t tokens) noexcept {
  round_x(bound, prepared, tokens);
  LatheCudaLinearPrefill call = {};
  call.x = prepared.rounded;
  call.tokens = tokens;
  call.columns = prepared.decode.columns;
  call.format = prepared.parts[0].format;
  const auto function = LatheCudaFunction(prepared.decode.function);
  for (size_t part = 0; part < prepared.parts.size(); ++part) {
    call.weights = prepared.parts[part].weights;
    call.bias = prepared.parts[part].bias;
    call.rows = prepared.parts[part].rows;
    call.y = prepared.gated ? prepared.gate[part] : prepared.decode.y;
    call.y_stride = prepared.gated ? call.rows : prepared.decode.y_stride;
    call.residual = prepared.gated ? nullptr : prepared.decode.residual;
    call.function = !prepared.gated ? function : part == 0 ? ungated(function) : LATHE_CUDA_IDENTITY;
    launch(bound, &LatheCudaApi::linear_prefill, call);
    if (!prepared.gated) call.y_first += call.rows;
  }
  if (!prepared.gated) return;
  LatheCudaCombine gate = {};
  gate.a = prepared.gate[0];
  gate.b = prepared.gate[1];
  gate.residual = prepared.decode.residual;
  gate.y = prepared.decode.y;
  gate.count = int64_t(tokens) * prepared.parts[0].rows;
  gate.operation = LATHE_CUDA_MULTIPLY;
  launch(bound, &LatheCudaApi::combine, gate);
}

void run(const Bound& bound, const Step& step, TeamMember&) noexcept {
  const auto& prepared = *static_cast<const Prepared*>(bound.prepared.get());
  const int64_t tokens = step.rows(prepared.rows);
  if (tokens == 0) return;
  if (prepared.tensor_cores && tokens >= kFewestForTensorCores)
    run_prefill(bound, prepared, int32_t(tokens));
  else
    run_decode(bound, prepared, int32_t(tokens));
}

}  // namespace

const Kernel& linear_kernel() {
  static constexpr Kernel kKernel = {.name = "cuda.linear",
                                     .op = "lathe.Linear",
                                     .refusal = refusal,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kKernel;
}

}  // namespace lathe::backend::cuda

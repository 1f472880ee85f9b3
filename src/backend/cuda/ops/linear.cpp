// lathe.Linear: few tokens by linear_decode, many by tensor cores where activations are rounded: to the 16 bits of
// plain weights, or as they may be in front of weights in blocks.
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
// linear_decode keeps a token's columns in the shared memory of a block, of which every card has 99 KiB; with weights
// in blocks eight bytes for each 32 of them, too.
constexpr int64_t kMostColumns = ((99 << 10) - 1024) / int64_t(sizeof(float));
constexpr int64_t kMostBlockColumns = ((99 << 10) - 2048) / (32 * int64_t(sizeof(float)) + 8) * 32;
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
  if (compute == "i8") return LATHE_CUDA_ROUND_I8;
  if (compute == "i16") return LATHE_CUDA_ROUND_I16;
  return std::nullopt;
}

LatheCudaNorm norm_of(std::string_view name) {
  return name == "rms" ? LATHE_CUDA_NORM_RMS : name == "layer" ? LATHE_CUDA_NORM_LAYER : LATHE_CUDA_NORM_NONE;
}

bool is_of_blocks(LatheCudaFormat format) {
  return format >= LATHE_CUDA_Q4_0;
}
bool is_integer(int32_t rounding) {
  return rounding == LATHE_CUDA_ROUND_I8 || rounding == LATHE_CUDA_ROUND_I16;
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
  const auto rounding = find_rounding(compute);
  if (!rounding) return fmt::format("compute {}", compute);
  const auto parts = size_t(attributes.get_int("parts", 1));
  const plan::Constant& first = *constant_of(plan, instruction, kLinearWeights);
  for (size_t part = 0; part < parts; ++part) {
    const plan::Constant& weight = *constant_of(plan, instruction, kLinearWeights + part);
    const auto format = format_of(weight);
    if (!format) return fmt::format("weights in layout {}", weight.layout);
    if (gates(*function) && weight.dims != first.dims) return "a gate of another size than what it gates";
    if (is_integer(*rounding) && !is_of_blocks(*format)) {
      return fmt::format("compute {} with weights in layout {}", compute, weight.layout);
    }
    const int64_t most = is_of_blocks(*format) ? kMostBlockColumns : kMostColumns;
    if (weight.dims[1] > most) return fmt::format("{} columns, expected {} at the most", weight.dims[1], most);
    if (weight.dims[0] > INT32_MAX) return fmt::format("{} rows", weight.dims[0]);
  }
  return std::nullopt;
}

// Scratch: both parts of a gate; of tensor cores activations in 16 bits, and numbers of their blocks of 32.
struct Places {
  int64_t gate;  // bytes of each part
  int64_t rounded;
  int64_t blocks;
  Places(int64_t tokens, int64_t columns, int64_t gate_rows)
      : gate(align_up(checked_mul(checked_mul(tokens, gate_rows, "scratch"), int64_t{4}, "scratch"), kAlign)),
        rounded(align_up(checked_mul(checked_mul(tokens, columns, "scratch"), int64_t{2}, "scratch"), kAlign)),
        blocks(align_up(checked_mul(checked_mul(tokens, columns, "scratch") / 32, int64_t{8}, "scratch"), kAlign)) {}
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
  bool one_gate;  // both parts of a gate are of one format, which linear_decode takes at once
  bool tensor_cores;
  plan::Rows rows;
  float* gate[2];
  std::byte* rounded;
  float* blocks;
};

// Weights in blocks with any rounding, or of the type that activations are rounded to, by instructions that mma takes.
// A row's bits differ from linear_decode's, so not where they may not depend on how many rows there are.
bool has_tensor_cores(const Settings& settings, const std::vector<Part>& parts, int32_t rounding, int64_t columns) {
  static_assert(int(LATHE_CUDA_F16) == int(LATHE_CUDA_ROUND_F16) && int(LATHE_CUDA_BF16) == int(LATHE_CUDA_ROUND_BF16));
  if (settings.same_bits || rounding == LATHE_CUDA_ROUND_NONE || columns % kDepth != 0) return false;
  const auto all = [&](auto&& holds) { return std::all_of(parts.begin(), parts.end(), holds); };
  return all([](const Part& part) { return is_of_blocks(part.format); }) ||
         all([&](const Part& part) { return int32_t(part.format) == rounding; });
}

size_t scratch_size(const Plan& plan, const Instruction& instruction, const Settings& settings,
                    const Capacity& capacity) {
  const Places places = places_of(plan, instruction, capacity);
  const int64_t gates = checked_mul(places.gate, int64_t{2}, "scratch");
  if (settings.exact || settings.same_bits) return size_t(gates);
  return size_t(checked_add(gates, checked_add(places.rounded, places.blocks, "scratch"), "scratch"));
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
  prepared->one_gate = prepared->gated && prepared->parts[0].format == prepared->parts[1].format;
  prepared->tensor_cores = has_tensor_cores(bound.settings, prepared->parts, call.rounding, call.columns);
  prepared->rows = out.rows;
  const Places places = places_of(plan, instruction, bound.capacity);
  prepared->gate[0] = reinterpret_cast<float*>(bound.scratch);
  prepared->gate[1] = reinterpret_cast<float*>(bound.scratch + places.gate);
  prepared->rounded = bound.scratch + 2 * places.gate;
  prepared->blocks = reinterpret_cast<float*>(bound.scratch + 2 * places.gate + places.rounded);
  bound.prepared = std::move(prepared);
}

// The function of the first part of a gate that is computed by parts.
LatheCudaFunction function_of(const Prepared& prepared, size_t part) {
  const auto function = LatheCudaFunction(prepared.decode.function);
  return !prepared.gated ? function : part == 0 ? ungated(function) : LATHE_CUDA_IDENTITY;
}

// Both parts of a gate that was computed by parts.
void multiply_gate(const Bound& bound, const Prepared& prepared, int32_t tokens) noexcept {
  LatheCudaCombine gate = {};
  gate.a = prepared.gate[0];
  gate.b = prepared.gate[1];
  gate.residual = prepared.decode.residual;
  gate.y = prepared.decode.y;
  gate.count = int64_t(tokens) * prepared.parts[0].rows;
  gate.operation = LATHE_CUDA_MULTIPLY;
  launch(bound, &LatheCudaApi::combine, gate);
}

// Where a part goes, and what it is: of both calls for products.
template <class Call>
void set_part(Call& call, const Prepared& prepared, size_t part, bool by_parts) noexcept {
  call.weights = prepared.parts[part].weights;
  call.bias = prepared.parts[part].bias;
  call.rows = prepared.parts[part].rows;
  if (!by_parts) return;
  call.y = prepared.gate[part];
  call.y_stride = call.rows;
  call.residual = nullptr;
  call.function = function_of(prepared, part);
}

void run_decode(const Bound& bound, const Prepared& prepared, int32_t tokens) noexcept {
  const bool by_parts = prepared.gated && !prepared.one_gate;
  LatheCudaLinearDecode call = prepared.decode;
  call.tokens = tokens;
  for (size_t part = 0; part < (prepared.one_gate ? 1 : prepared.parts.size()); ++part) {
    set_part(call, prepared, part, by_parts);
    call.format = prepared.parts[part].format;
    if (prepared.one_gate) call.gate = prepared.parts[1].weights;
    if (prepared.one_gate) call.gate_bias = prepared.parts[1].bias;
    if (is_of_blocks(prepared.parts[part].format))
      launch(bound, &LatheCudaApi::linear_decode_blocks, call);
    else
      launch(bound, &LatheCudaApi::linear_decode, call);
    if (!by_parts) call.y_first += call.rows;
  }
  if (by_parts) multiply_gate(bound, prepared, tokens);
}

// x normalised and rounded once for all parts.
void round_x(const Bound& bound, const Prepared& prepared, int32_t tokens) noexcept {
  LatheCudaRoundActivations call = {};
  call.x = prepared.decode.x;
  call.norm_scale = prepared.decode.norm_scale;
  call.norm_bias = prepared.decode.norm_bias;
  call.out = prepared.rounded;
  if (is_integer(prepared.decode.rounding)) call.blocks = prepared.blocks;
  call.tokens = tokens;
  call.columns = prepared.decode.columns;
  call.norm = prepared.decode.norm;
  call.rounding = prepared.decode.rounding;
  call.epsilon = prepared.decode.epsilon;
  launch(bound, &LatheCudaApi::round_activations, call);
}

// What both calls of tensor cores have.
template <class Call>
Call prefill_call(const Prepared& prepared, int32_t tokens) noexcept {
  Call call = {};
  call.x = prepared.rounded;
  call.residual = prepared.decode.residual;
  call.y = prepared.decode.y;
  call.tokens = tokens;
  call.columns = prepared.decode.columns;
  call.y_stride = prepared.decode.y_stride;
  call.function = prepared.decode.function;
  return call;
}

void run_prefill(const Bound& bound, const Prepared& prepared, int32_t tokens) noexcept {
  round_x(bound, prepared, tokens);
  auto plain = prefill_call<LatheCudaLinearPrefill>(prepared, tokens);
  auto blocks = prefill_call<LatheCudaLinearPrefillBlocks>(prepared, tokens);
  blocks.rounding = prepared.decode.rounding;
  if (is_integer(blocks.rounding)) blocks.x_blocks = prepared.blocks;
  for (size_t part = 0; part < prepared.parts.size(); ++part) {
    const Part& own = prepared.parts[part];
    set_part(plain, prepared, part, prepared.gated);
    set_part(blocks, prepared, part, prepared.gated);
    plain.format = blocks.format = own.format;
    if (is_of_blocks(own.format))
      launch(bound, &LatheCudaApi::linear_prefill_blocks, blocks);
    else
      launch(bound, &LatheCudaApi::linear_prefill, plain);
    if (prepared.gated) continue;
    plain.y_first += own.rows;
    blocks.y_first += own.rows;
  }
  if (prepared.gated) multiply_gate(bound, prepared, tokens);
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

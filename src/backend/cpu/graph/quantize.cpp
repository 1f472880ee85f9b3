// QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear between f32 and 8-bit integers (i32 as well for biases).
#include <algorithm>
#include <cmath>

#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/quantize.h"
#include "backend/cpu/tiers.h"

namespace lathe::backend {
namespace {

using tensor::DType;

enum Input : size_t { kX, kScale, kZero };
constexpr int64_t kGrain = 1024;

// x as [outer][length][inner]: a scale for each index of the middle, or one for all (length 1).
struct Prepared {
  int64_t outer = 1, length = 1, inner = 1;
};

bool is_byte(DType dtype) {
  return dtype == DType::u8 || dtype == DType::i8;
}

std::optional<std::string> fit(Problem& problem) {
  const std::string& op = problem.instruction->op;
  const DType from = problem.inputs[kX].dtype, to = problem.outputs[0].dtype;
  if (op == "DynamicQuantizeLinear") {
    if (from != DType::f32) return "x that is not f32";
  } else {
    const DType whole = op == "QuantizeLinear" ? to : from;
    const DType real = op == "QuantizeLinear" ? from : to;
    if (real != DType::f32 || problem.inputs[kScale].dtype != DType::f32) return "numbers other than f32";
    if (!is_byte(whole) && !(whole == DType::i32 && op == "DequantizeLinear")) return "integers of another size";
    if (problem.attributes().get_int("block_size", 0) != 0) return "scales of blocks";
    if (problem.attributes().has("precision")) return "a precision";
  }
  // One scale for all does not ask how they lie.
  if (op != "DynamicQuantizeLinear" && problem.inputs[kScale].size() != 1) problem.inputs[kX].order = Order::plain;
  problem.outputs[0].order = problem.inputs[kX].order;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>();
  const tensor::Dims& dims = problem.inputs[kX].dims;
  p->inner = problem.inputs[kX].size();
  if (problem.instruction->op == "DynamicQuantizeLinear" || problem.inputs[kScale].size() == 1) return p;
  const size_t axis = axis_at(problem.attributes().get_int("axis", 1), dims.size());
  p->outer = tensor::element_count(std::span(dims).first(axis));
  p->length = dims[axis];
  p->inner = tensor::element_count(std::span(dims).subspan(axis + 1));
  return p;
}

int32_t zero_at(const GraphCall& call, int64_t i) noexcept {
  if (!call.problem->has_input(kZero)) return 0;
  switch (call.problem->inputs[kZero].dtype) {
    case DType::u8:
      return call.input<uint8_t>(kZero)[i];
    case DType::i8:
      return call.input<int8_t>(kZero)[i];
    default:
      return call.input<int32_t>(kZero)[i];
  }
}

// The difference may need more than the 24 bits of f32.
void dequantize_i32(const int32_t* x, float scale, int32_t zero, int64_t count, float* y) noexcept {
  for (int64_t i = 0; i < count; ++i) y[i] = float(double(int64_t(x[i]) - zero) * double(scale));
}

void convert(const GraphCall& call, int64_t channel, int64_t at, int64_t count) noexcept {
  const Problem& problem = *call.problem;
  const float scale = call.input(kScale)[channel];
  const int32_t zero = zero_at(call, channel);
  const cpu::QuantizeTier& tier = cpu::quantize_tier(problem);
  if (problem.instruction->op == "QuantizeLinear") {
    const float* x = call.input(kX) + at;
    if (problem.outputs[0].dtype == DType::u8) return tier.to_u8(x, scale, zero, count, call.output<uint8_t>() + at);
    return tier.to_i8(x, scale, zero, count, call.output<int8_t>() + at);
  }
  float* y = call.output() + at;
  switch (problem.inputs[kX].dtype) {
    case DType::u8:
      return tier.from_u8(call.input<uint8_t>(kX) + at, scale, zero, count, y);
    case DType::i8:
      return tier.from_i8(call.input<int8_t>(kX) + at, scale, zero, count, y);
    default:
      return dequantize_i32(call.input<int32_t>(kX) + at, scale, zero, count, y);
  }
}

// The range of all elements, by each member anew: it costs less than to meet twice where x is in the cache.
void dynamic(const GraphCall& call, const Prepared& p, const TeamMember& member) noexcept {
  const float* x = call.input(kX);
  float lowest = 0, highest = 0;
  cpu::quantize_tier(*call.problem).range(x, p.inner, &lowest, &highest);
  const float scale = highest == lowest ? 1.0f : (highest - lowest) / 255.0f;
  const float zero = std::nearbyint(std::clamp(-lowest / scale, 0.0f, 255.0f));
  const auto [begin, end] = member.share(p.inner, 64);
  cpu::quantize_tier(*call.problem).to_u8(x + begin, scale, int32_t(zero), end - begin, call.output<uint8_t>() + begin);
  if (member.index() != 0) return;
  *call.output(1) = scale;
  *call.output<uint8_t>(2) = uint8_t(zero);
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  if (call.problem->instruction->op == "DynamicQuantizeLinear") return dynamic(call, p, member);
  if (p.inner == 0) return;
  const int64_t chunks = (p.inner + kGrain - 1) / kGrain;
  const auto [begin, end] = member.share(p.outer * p.length * chunks);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t row = item / chunks, first = item % chunks * kGrain;
    convert(call, row % p.length, row * p.inner + first, std::min(kGrain, p.inner - first));
  }
}

}  // namespace

const GraphKernel& quantize_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.quantize",
                                     .ops = {"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"},
                                     .fit = fit,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend

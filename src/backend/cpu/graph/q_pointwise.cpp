// lathe.QPointwise: cpu.pointwise with tiles that are widened from bytes before the program and rounded behind it.
#include <algorithm>

#include "backend/cpu/broadcast.h"
#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/pointwise_program.h"
#include "backend/cpu/tiers.h"

namespace lathe::backend {
namespace {

using tensor::DType;

constexpr int64_t kTile = cpu::kPointwiseTile;

struct Prepared {
  std::vector<cpu::PointwiseInstruction> steps;
  cpu::Broadcast walk;
  std::vector<float> x_scales;
  std::vector<int32_t> x_zeros;
  float y_scale;
  int32_t y_zero;
};

std::vector<op::PointwiseStep> steps_of(const Problem& problem) {
  return op::parse_steps(*problem.attributes().find_strings("steps"), int64_t(problem.inputs.size()));
}

std::optional<std::string> fit(Problem& problem) {
  if (problem.inputs.size() > cpu::kMaxPointwiseInputs) return "more than 16 inputs";
  if (problem.inputs.size() + steps_of(problem).size() > cpu::kMaxPointwiseValues) return "a long program";
  return cpu::fit_broadcast(problem);
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>();
  for (const op::PointwiseStep& step : steps_of(problem)) {
    p->steps.push_back(cpu::compile_step(step, cpu::isa_of(problem)));
  }
  p->walk = cpu::make_broadcast(problem);
  const auto scales = problem.attributes().find_floats("x_scales").value();
  const auto zeros = problem.attributes().find_ints("x_zeros").value();
  p->x_scales.assign(scales.begin(), scales.end());
  p->x_zeros.assign(zeros.begin(), zeros.end());
  p->y_scale = float(problem.attributes().get_float("y_scale", 1));
  p->y_zero = int32_t(problem.attributes().get_int("y_zero", 0));
  return p;
}

// Scratch of a member: a tile for each value, and one of elements as they are stored.
size_t member_floats(const Problem& problem) {
  return (problem.inputs.size() + steps_of(problem).size() + 1) * size_t(kTile);
}

size_t scratch_size(const Problem& problem) {
  return member_floats(problem) * sizeof(float) * size_t(problem.threads);
}

// Input `i` as floats.
const float* read_input(const GraphCall& call, const Prepared& p, size_t i, float* tile, std::byte* stored,
                        int64_t begin, int64_t count) noexcept {
  const cpu::BroadcastOperand& operand = p.walk.operands[i];
  const DType dtype = call.problem->inputs[i].dtype;
  const size_t element = dtype == DType::f32 ? sizeof(float) : 1;
  const std::byte* from = call.inputs[i];
  if (operand.reading == cpu::Reading::in_place) from += size_t(begin) * element;
  if (operand.reading == cpu::Reading::copied) {
    std::byte* to = dtype == DType::f32 ? reinterpret_cast<std::byte*>(tile) : stored;
    cpu::copy_operand(p.walk, operand, element, call.inputs[i], begin, count, to);
    from = to;
  }
  if (dtype == DType::f32) return reinterpret_cast<const float*>(from);
  const int64_t elements = operand.reading == cpu::Reading::number ? 1 : count;
  const cpu::QuantizeTier& tier = cpu::quantize_tier(*call.problem);
  if (dtype == DType::u8) {
    tier.from_u8(reinterpret_cast<const uint8_t*>(from), p.x_scales[i], p.x_zeros[i], elements, tile);
  } else {
    tier.from_i8(reinterpret_cast<const int8_t*>(from), p.x_scales[i], p.x_zeros[i], elements, tile);
  }
  return tile;
}

void run_tile(const GraphCall& call, const Prepared& p, float* tiles, int64_t begin, int64_t count) noexcept {
  cpu::PointwiseValues values;
  const size_t inputs = p.walk.operands.size();
  float* results = tiles + int64_t(inputs) * kTile;
  auto* stored = reinterpret_cast<std::byte*>(results + int64_t(p.steps.size()) * kTile);
  for (size_t i = 0; i < inputs; ++i) {
    values.values[i] = read_input(call, p, i, tiles + int64_t(i) * kTile, stored, begin, count);
    values.steps[i] = p.walk.operands[i].reading == cpu::Reading::number ? 0 : 1;
  }
  const DType dtype = call.problem->outputs[0].dtype;
  float* y = dtype == DType::f32 ? call.output() + begin : results + int64_t(p.steps.size() - 1) * kTile;
  cpu::run_program(p.steps, inputs, values, results, count, y);
  const cpu::QuantizeTier& tier = cpu::quantize_tier(*call.problem);
  if (dtype == DType::u8) tier.to_u8(y, p.y_scale, p.y_zero, count, call.output<uint8_t>() + begin);
  if (dtype == DType::i8) tier.to_i8(y, p.y_scale, p.y_zero, count, call.output<int8_t>() + begin);
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  float* tiles = reinterpret_cast<float*>(call.scratch) +
                 int64_t(p.walk.operands.size() + p.steps.size() + 1) * kTile * member.index();
  const auto [begin, end] = member.share(p.walk.count, 64);
  for (int64_t at = begin; at < end; at += kTile) run_tile(call, p, tiles, at, std::min(kTile, end - at));
}

}  // namespace

const GraphKernel& q_pointwise_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.q_pointwise",
                                     .ops = {"lathe.QPointwise"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend

// lathe.Pointwise, and single elementwise operators on f32: the program runs over tiles of the result that the first
// cache holds, one function call a step. Inputs that lie as the result does are read in place, numbers stay numbers,
// the others are copied to the tile.
#include <algorithm>
#include <limits>

#include "backend/cpu/broadcast.h"
#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/pointwise_program.h"

namespace lathe::backend {
namespace {

constexpr int64_t kTile = cpu::kPointwiseTile;
constexpr size_t kMaxInputs = cpu::kMaxPointwiseInputs;
constexpr size_t kMaxValues = cpu::kMaxPointwiseValues;

struct Prepared {
  std::vector<cpu::PointwiseInstruction> steps;
  cpu::Broadcast walk;
};

// The steps of a program, or the one step that an operator is that nothing was fused with.
std::optional<std::vector<op::PointwiseStep>> steps_of(const Problem& problem) {
  const auto inputs = int64_t(problem.inputs.size());
  if (problem.instruction->op == "lathe.Pointwise") {
    return op::parse_steps(*problem.attributes().find_strings("steps"), inputs);
  }
  auto step = op::pointwise_of(problem.instruction->op, problem.attributes(), size_t(inputs));
  if (!step) return std::nullopt;
  if (step->op == "Clip") {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    for (size_t i = 1; i < 3; ++i) {
      const tensor::Tensor* known = problem.has_input(i) ? problem.inputs[i].known : nullptr;
      if (problem.has_input(i) && (!known || known->size() != 1)) return std::nullopt;  // only the run knows it
      step->arguments[i] = {-1, known ? tensor::element_as_double(*known, 0) : i == 1 ? -kInfinity : kInfinity};
    }
  }
  return std::vector{*step};
}

std::optional<std::string> fit(Problem& problem) {
  if (problem.inputs.size() > kMaxInputs) return "more than 16 inputs";
  for (const ProblemValue& input : problem.inputs) {
    if (input.present() && !is_f32(input)) return "types other than f32";
  }
  const auto steps = steps_of(problem);
  if (!steps) return "what is no step";
  if (problem.inputs.size() + steps->size() > kMaxValues) return "a long program";
  return cpu::fit_broadcast(problem);
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto prepared = std::make_shared<Prepared>();
  const auto steps = steps_of(problem);
  for (const op::PointwiseStep& step : *steps) {
    prepared->steps.push_back(cpu::compile_step(step, cpu::Isa(problem.isa)));
  }
  prepared->walk = cpu::make_broadcast(problem);
  return prepared;
}

// Scratch of a member: a tile for each value.
size_t member_floats(const Problem& problem) {
  const auto steps = problem.attributes().find_strings("steps");
  return (problem.inputs.size() + (steps ? steps->size() : 1)) * size_t(kTile);
}

size_t scratch_size(const Problem& problem) {
  return member_floats(problem) * sizeof(float) * size_t(problem.threads);
}

void run_tile(const GraphCall& call, const Prepared& prepared, float* tiles, int64_t begin, int64_t count) noexcept {
  cpu::PointwiseValues values;
  const size_t inputs = prepared.walk.operands.size();
  for (size_t i = 0; i < inputs; ++i) {
    const cpu::BroadcastOperand& operand = prepared.walk.operands[i];
    values.steps[i] = operand.reading == cpu::Reading::number ? 0 : 1;
    values.values[i] = call.input(i);
    if (operand.reading == cpu::Reading::in_place) values.values[i] += begin;
    if (operand.reading != cpu::Reading::copied) continue;
    float* tile = tiles + int64_t(i) * kTile;
    cpu::copy_operand(prepared.walk, operand, sizeof(float), call.inputs[i], begin, count,
                      reinterpret_cast<std::byte*>(tile));
    values.values[i] = tile;
  }
  cpu::run_program(prepared.steps, inputs, values, tiles + int64_t(inputs) * kTile, count, call.output() + begin);
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& prepared = *static_cast<const Prepared*>(call.prepared);
  float* tiles = reinterpret_cast<float*>(call.scratch) + int64_t(member_floats(*call.problem)) * member.index();
  const auto [begin, end] = member.share(prepared.walk.count, 64);
  for (int64_t at = begin; at < end; at += kTile) {
    run_tile(call, prepared, tiles, at, std::min(kTile, end - at));
  }
}

}  // namespace

const GraphKernel& pointwise_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.pointwise",
                                     .ops = {"lathe.Pointwise",
                                             "Abs",
                                             "Add",
                                             "Ceil",
                                             "Clip",
                                             "Cos",
                                             "Div",
                                             "Elu",
                                             "Erf",
                                             "Exp",
                                             "Floor",
                                             "Gelu",
                                             "HardSigmoid",
                                             "HardSwish",
                                             "LeakyRelu",
                                             "Log",
                                             "Max",
                                             "Min",
                                             "Mish",
                                             "Mul",
                                             "Neg",
                                             "PRelu",
                                             "Pow",
                                             "Reciprocal",
                                             "Relu",
                                             "Round",
                                             "Sigmoid",
                                             "Sign",
                                             "Sin",
                                             "Softplus",
                                             "Softsign",
                                             "Sqrt",
                                             "Sub",
                                             "Swish",
                                             "Tanh"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run,
                                     .in_place = true};
  return kernel;
}

}  // namespace lathe::backend

#include "backend/cpu/pointwise_program.h"

#include <utility>

#include "base/error.h"

namespace lathe::backend::cpu {
namespace {

constexpr std::pair<std::string_view, Pointwise> kNames[] = {
    {"Abs", Pointwise::abs},
    {"Add", Pointwise::add},
    {"Ceil", Pointwise::ceil},
    {"Clip", Pointwise::clip},
    {"Cos", Pointwise::cos},
    {"Div", Pointwise::div},
    {"Elu", Pointwise::elu},
    {"Erf", Pointwise::erf},
    {"Exp", Pointwise::exp},
    {"Floor", Pointwise::floor},
    {"Gelu", Pointwise::gelu},
    {"GeluTanh", Pointwise::gelu_tanh},
    {"HardSigmoid", Pointwise::hard_sigmoid},
    {"HardSwish", Pointwise::hard_swish},
    {"LeakyRelu", Pointwise::leaky_relu},
    {"Log", Pointwise::log},
    {"Max", Pointwise::max},
    {"Min", Pointwise::min},
    {"Mish", Pointwise::mish},
    {"Mul", Pointwise::mul},
    {"Neg", Pointwise::neg},
    {"PRelu", Pointwise::prelu},
    {"Pow", Pointwise::pow},
    {"Reciprocal", Pointwise::reciprocal},
    {"Relu", Pointwise::relu},
    {"Round", Pointwise::round},
    {"Sigmoid", Pointwise::sigmoid},
    {"Sign", Pointwise::sign},
    {"Sin", Pointwise::sin},
    {"Softplus", Pointwise::softplus},
    {"Softsign", Pointwise::softsign},
    {"Sqrt", Pointwise::sqrt},
    {"Sub", Pointwise::sub},
    {"Swish", Pointwise::swish},
    {"Tanh", Pointwise::tanh},
};

Pointwise function_of(const op::PointwiseStep& step) {
  if (step.op == "Pow" && step.arguments[1].value < 0) {
    if (step.arguments[1].number == 2) return Pointwise::square;
    if (step.arguments[1].number == 0.5) return Pointwise::sqrt;
    if (step.arguments[1].number == -1) return Pointwise::reciprocal;
  }
  for (const auto& [name, function] : kNames) {
    if (name == step.op) return function;
  }
  LATHE_CHECK(false, "no function for {}", step.op);
  return {};
}

}  // namespace

PointwiseInstruction compile_step(const op::PointwiseStep& step, Isa isa) {
  const Pointwise function = function_of(step);
  const PointwiseTier& tier = isa == Isa::avx2 ? avx2::kPointwiseTier : avx512::kPointwiseTier;
  PointwiseInstruction result;
  result.function = tier.functions[size_t(function)];
  result.a = step.arguments[0].value;
  result.a_number = float(step.arguments[0].number);
  result.two_operands = function <= Pointwise::prelu;
  size_t parameter = 1;
  if (result.two_operands) {
    result.b = step.arguments[1].value;
    result.b_number = float(step.arguments[1].number);
    parameter = 2;
  }
  if (parameter < step.arguments.size()) result.p = float(step.arguments[parameter].number);
  if (parameter + 1 < step.arguments.size()) result.q = float(step.arguments[parameter + 1].number);
  return result;
}

void run_program(const std::vector<PointwiseInstruction>& program, size_t inputs, PointwiseValues& values, float* tiles,
                 int64_t count, float* y) noexcept {
  for (size_t s = 0; s < program.size(); ++s) {
    const PointwiseInstruction& step = program[s];
    const bool last = s + 1 == program.size();
    PointwiseCall c{};
    c.a = step.a < 0 ? &step.a_number : values.values[step.a];
    c.a_step = step.a < 0 ? 0 : values.steps[step.a];
    if (step.two_operands) {
      c.b = step.b < 0 ? &step.b_number : values.values[step.b];
      c.b_step = step.b < 0 ? 0 : values.steps[step.b];
    }
    c.p = step.p;
    c.q = step.q;
    c.count = count;
    c.y = last ? y : tiles + int64_t(s) * kPointwiseTile;
    step.function(c);
    values.values[inputs + s] = c.y;
    values.steps[inputs + s] = 1;
  }
}

}  // namespace lathe::backend::cpu

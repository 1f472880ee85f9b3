// lathe.Linear on weights in f32_panel by the kernel of the packed form: for few rows, norms and gates.
#include "backend/cpu/linear.h"
#include "backend/cpu/linear_activation.h"
#include "backend/graph_kernel.h"

namespace lathe::backend {
namespace {

// Inputs of lathe.Linear, see op/lathe_linear.cpp.
constexpr size_t kX = 0, kResidual = 1, kNormScale = 2, kNormBias = 3, kWeights = 4;

size_t parts_of(const Problem& problem) {
  return size_t(problem.attributes().get_int("parts", 1));
}

int64_t rows_of(const Problem& problem) {
  const ProblemValue& y = problem.outputs[0];
  return y.dims.back() == 0 ? 0 : y.size() / y.dims.back();
}

std::optional<std::string> fit(Problem& problem) {
  if (problem.inputs[kX].dtype != tensor::DType::f32) return "x that is not f32";
  for (size_t part = 0; part < parts_of(problem); ++part) {
    if (problem.inputs[kWeights + part].layout != "f32_panel") return "weights that are not in f32_panel";
  }
  if (!cpu::find_activation(problem.attributes().get_string("activation", "none"))) return "activation not known";
  for (ProblemValue& input : problem.inputs) input.order = Order::plain;
  return std::nullopt;
}

size_t scratch_size(const Problem& problem) {
  return cpu::linear_scratch_size(rows_of(problem), problem.inputs[kX].dims.back(), problem.threads);
}

struct Prepared {
  cpu::LinearCall call;
  cpu::LinearKernel kernel;
};

std::shared_ptr<const void> prepare(const Problem& problem) {
  const op::Attributes& attributes = problem.attributes();
  auto prepared = std::make_shared<Prepared>();
  cpu::LinearCall& call = prepared->call;
  call.tokens = rows_of(problem);
  call.columns = problem.inputs[kX].dims.back();
  call.norm = cpu::norm_of(attributes.get_string("norm", "none"));
  call.epsilon = float(attributes.get_float("epsilon", 0));
  call.activation = *cpu::find_activation(attributes.get_string("activation", "none"));
  prepared->kernel = cpu::linear_kernel(cpu::Isa(problem.isa));
  return prepared;
}

constexpr size_t kMaxParts = 64;  // of the operator

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& prepared = *static_cast<const Prepared*>(call.prepared);
  const size_t parts = parts_of(*call.problem);
  cpu::LinearPart list[kMaxParts];
  for (size_t part = 0; part < parts; ++part) {
    list[part] = {.weights = call.inputs[kWeights + part],
                  .layout = cpu::Layout::f32_panel,
                  .rows = call.problem->inputs[kWeights + part].dims[0],
                  .bias = call.input(kWeights + parts + part)};
  }
  cpu::LinearCall linear = prepared.call;
  linear.x = call.input(kX);
  linear.residual = call.input(kResidual);
  linear.norm_scale = call.input(kNormScale);
  linear.norm_bias = call.input(kNormBias);
  linear.parts = {list, parts};
  linear.y = call.output();
  linear.scratch = call.scratch;
  if (linear.tokens > 0) prepared.kernel(linear, member);
}

}  // namespace

const GraphKernel& rows_linear_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.linear",
                                     .ops = {"lathe.Linear"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend

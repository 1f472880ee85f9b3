// Softmax, LogSoftmax, LayerNormalization and RMSNormalization over rows: the innermost axes as they lie.
#include <cmath>
#include <limits>

#include "backend/cpu/elementwise.h"
#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/isa.h"
#include "backend/graph_order.h"

namespace lathe::backend {
namespace {

struct Prepared {
  int64_t rows, columns;
  float epsilon;
};

bool is_softmax(const Problem& problem) {
  return problem.instruction->op == "Softmax" || problem.instruction->op == "LogSoftmax";
}

void log_softmax(const cpu::ElementwiseKernels& kernels, const float* x, int64_t rows, int64_t columns,
                 float* y) noexcept {
  for (int64_t row = 0; row < rows; ++row) {
    const auto log_sum = float(kernels.log_sum_exp(x + row * columns, columns));
    // Of infinities the difference is no number, whichever they are taken from.
    const float shift = std::isfinite(log_sum) ? log_sum : std::numeric_limits<float>::quiet_NaN();
    for (int64_t i = 0; i < columns; ++i) y[row * columns + i] = x[row * columns + i] - shift;
  }
}

std::optional<std::string> fit(Problem& problem) {
  ProblemValue& x = problem.inputs[0];
  if (!is_f32(x)) return "x that is not f32";
  if (problem.outputs.size() > 1) return "statistics as outputs";
  const size_t rank = x.dims.size();
  const size_t axis = axis_at(problem.attributes().get_int("axis", -1), rank);
  if (is_softmax(problem)) {
    // Any axis that lies innermost.
    if (axes_in_order(rank, x.order).back() != axis) {
      const Order other = x.order == Order::plain && rank >= 3 ? Order::channels_last : Order::plain;
      if (axes_in_order(rank, other).back() != axis) return "an axis that is not innermost";
      x.order = other;
    }
    problem.outputs[0].order = x.order;
    return std::nullopt;
  }
  if (problem.attributes().get_int("stash_type", 1) != 1) return "another stash_type";
  const int64_t columns = tensor::element_count(std::span(x.dims).subspan(axis));
  for (size_t i = 1; i < problem.inputs.size(); ++i) {
    if (problem.has_input(i) && problem.inputs[i].size() != columns) return "a scale that is broadcast";
    problem.inputs[i].order = Order::plain;
  }
  x.order = Order::plain;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  const ProblemValue& x = problem.inputs[0];
  const size_t axis = axis_at(problem.attributes().get_int("axis", -1), x.dims.size());
  auto p = std::make_shared<Prepared>();
  p->columns = is_softmax(problem) ? x.dims[axis] : tensor::element_count(std::span(x.dims).subspan(axis));
  p->rows = p->columns == 0 ? 0 : x.size() / p->columns;
  p->epsilon = float(problem.attributes().get_float("epsilon", 1e-5));
  return p;
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  const cpu::ElementwiseKernels& kernels = cpu::elementwise_kernels(cpu::Isa(call.problem->isa));
  const auto [begin, end] = member.share(p.rows);
  const float* x = call.input(0) + begin * p.columns;
  float* y = call.output() + begin * p.columns;
  if (call.problem->instruction->op == "LogSoftmax") {
    log_softmax(kernels, x, end - begin, p.columns, y);
  } else if (is_softmax(*call.problem)) {
    kernels.softmax(x, end - begin, p.columns, y);
  } else if (call.problem->instruction->op == "LayerNormalization") {
    kernels.layer_norm(x, end - begin, p.columns, call.input(1), call.input(2), p.epsilon, y);
  } else {
    kernels.rms_norm(x, end - begin, p.columns, call.input(1), p.epsilon, y);
  }
}

}  // namespace

const GraphKernel& rows_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.rows",
                                     .ops = {"LayerNormalization", "LogSoftmax", "RMSNormalization", "Softmax"},
                                     .fit = fit,
                                     .prepare = prepare,
                                     .run = run,
                                     .in_place = true};
  return kernel;
}

}  // namespace lathe::backend

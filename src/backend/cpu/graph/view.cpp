// Operators that give the same elements in the same order under other dimensions: nothing moves.
#include "backend/cpu/graph_attributes.h"
#include "backend/graph_order.h"

namespace lathe::backend {
namespace {

// Whether axis 1 and what is before it stay, so that channels-last elements keep their place.
bool keeps_channels(const tensor::Dims& from, const tensor::Dims& to) {
  return from.size() >= 3 && to.size() >= 3 && from[0] == to[0] && from[1] == to[1];
}

// Whether the axes of x, taken in the order of `perm`, lie as y's do in `order`.
bool lies_so(const Problem& problem, Order order) {
  const ProblemValue& x = problem.inputs[0];
  const ProblemValue& y = problem.outputs[0];
  const std::vector<int64_t> perm = permutation_of(problem);
  const std::vector<int64_t> from = strides_of(x.dims, x.order);
  const std::vector<int64_t> to = strides_of(y.dims, order);
  for (size_t i = 0; i < perm.size(); ++i) {
    if (to[i] != from[size_t(perm[i])]) return false;
  }
  return true;
}

std::optional<std::string> fit_transpose(Problem& problem) {
  for (const Order order : {Order::plain, Order::channels_last}) {
    if (order == Order::channels_last && problem.outputs[0].dims.size() < 3) continue;
    if (!lies_so(problem, order)) continue;
    problem.outputs[0].order = order;
    return std::nullopt;
  }
  return "elements that have to move";
}

std::optional<std::string> fit(Problem& problem) {
  if (problem.instruction->op == "Transpose") return fit_transpose(problem);
  ProblemValue& x = problem.inputs[0];
  ProblemValue& y = problem.outputs[0];
  if (problem.outputs.size() != 1 || x.dtype != y.dtype) return "more than a view";
  y.order = x.order == Order::channels_last && keeps_channels(x.dims, y.dims) ? x.order : Order::plain;
  x.order = y.order;
  return std::nullopt;
}

}  // namespace

const GraphKernel& view_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.view",
                                     .ops = {"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"},
                                     .fit = fit,
                                     .run = nullptr};
  return kernel;
}

}  // namespace lathe::backend

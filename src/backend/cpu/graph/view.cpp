// Operators that give the same elements in the same order under other dimensions: nothing moves.
#include "backend/graph_kernel.h"

namespace lathe::backend {
namespace {

// Whether axis 1 and what is before it stay, so that channels-last elements keep their place.
bool keeps_channels(const tensor::Dims& from, const tensor::Dims& to) {
  return from.size() >= 3 && to.size() >= 3 && from[0] == to[0] && from[1] == to[1];
}

std::optional<std::string> fit(Problem& problem) {
  ProblemValue& x = problem.inputs[0];
  ProblemValue& y = problem.outputs[0];
  if (problem.outputs.size() != 1 || x.dtype != y.dtype) return "more than a view";
  y.order = x.order == Order::channels_last && keeps_channels(x.dims, y.dims) ? x.order : Order::plain;
  x.order = y.order;
  return std::nullopt;
}

}  // namespace

const GraphKernel& view_graph_kernel() {
  static const GraphKernel kernel = {
      .name = "cpu.view", .ops = {"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}, .fit = fit, .run = nullptr};
  return kernel;
}

}  // namespace lathe::backend

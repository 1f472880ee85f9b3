#include "opt/pointwise.h"

#include <limits>

#include "opt/formula.h"

namespace lathe::opt {

std::optional<op::PointwiseStep> find_step(const ir::Graph& graph, const ir::Node& node) {
  const auto is_f32 = [&](ir::Value value) { return !value || graph.type(value).dtype == tensor::DType::f32; };
  if (!std::all_of(node.inputs.begin(), node.inputs.end(), is_f32) || !is_f32(node.outputs[0])) return std::nullopt;
  auto step = op::pointwise_of(node.op, node.attributes, node.inputs.size());
  if (!step) return std::nullopt;
  const tensor::Shape& shape = graph.type(node.outputs[0]).shape;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ir::Value input = node.inputs[i];
    if (!input) continue;
    const auto number = find_number(graph, input);
    // A number of rank 4 may be what gives the result its rank.
    if (number && i > 0 && graph.type(node.inputs[0]).shape == shape) step->arguments[i] = {-1, *number};
    if (number && i == 0 && node.inputs.size() > 1 && graph.type(node.inputs[1]).shape == shape) {
      step->arguments[i] = {-1, *number};
    }
  }
  if (step->op != "Clip") return step;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (size_t i = 1; i < 3; ++i) {
    const bool given = i < node.inputs.size() && node.inputs[i];
    if (given && step->arguments[i].value >= 0) return std::nullopt;  // a bound that only the run knows
    if (!given) step->arguments[i] = {-1, i == 1 ? -kInfinity : kInfinity};
  }
  return step;
}

}  // namespace lathe::opt

// BatchNormalization(Conv(x, w, b)) = Conv(x, w s, (b - mean) s + bias) with s = scale / sqrt(variance + epsilon), for
// constants
#include <cmath>

#include "opt/channels.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext& context) {
  const ir::Node node = graph.node(id);
  if (node.outputs.size() != 1 || node.attributes.get_int("training_mode", 0) != 0) return false;
  const auto conv = find_constant_conv(graph, node.inputs[0]);
  if (!conv) return miss_of_conv(graph, node.inputs[0], context);
  std::vector<std::vector<double>> numbers;  // scale, bias, mean, variance
  for (size_t i = 1; i < 5; ++i) {
    auto values = constant_numbers(graph, node.inputs[i]);
    if (!values || int64_t(values->size()) != conv->features) {
      return context.miss("\"{}\" is not {} constant numbers of f32", graph.name(node.inputs[i]), conv->features);
    }
    numbers.push_back(std::move(*values));
  }
  const double epsilon = node.attributes.get_float("epsilon", 1e-5);
  std::vector<double> scale, shift;
  for (size_t f = 0; f < numbers[0].size(); ++f) {
    scale.push_back(numbers[0][f] / std::sqrt(numbers[3][f] + epsilon));
    shift.push_back(numbers[1][f] - numbers[2][f] * scale.back());
  }
  return replace_with_scaled(graph, id, *conv, scale, shift);
}

}  // namespace

const Rule& conv_batch_normalization_rule() {
  static const Rule rule{.name = "conv_batch_normalization",
                         .roots = {"BatchNormalization"},
                         .apply = apply,
                         .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt

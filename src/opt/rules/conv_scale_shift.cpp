// Conv(x, w, b) * s = Conv(x, w s, b s), Conv(x, w, b) + t = Conv(x, w, b + t), for constants of one number a feature
#include "opt/channels.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext& context) {
  const ir::Node node = graph.node(id);
  for (size_t i = 0; i < 2; ++i) {
    const auto conv = find_constant_conv(graph, node.inputs[i]);
    if (!conv && graph.is_constant(node.inputs[1 - i])) miss_of_conv(graph, node.inputs[i], context);
    if (!conv || !same_type(graph, node.inputs[i], node.outputs[0])) continue;
    const size_t rank = graph.type(node.outputs[0]).shape.size();
    const auto numbers = channel_numbers(graph, node.inputs[1 - i], rank, conv->features);
    if (!numbers && graph.is_constant(node.inputs[1 - i])) {
      context.miss("{} is not one number for each of {} channels", op::to_string(graph.type(node.inputs[1 - i])),
                   conv->features);
    }
    if (!numbers) continue;
    const bool is_product = node.op == "Mul";
    const std::vector<double> ones(numbers->size(), 1), zeros(numbers->size(), 0);
    return replace_with_scaled(graph, id, *conv, is_product ? *numbers : ones, is_product ? zeros : *numbers);
  }
  return false;
}

}  // namespace

const Rule& conv_scale_shift_rule() {
  static const Rule rule{.name = "conv_scale_shift", .roots = {"Add", "Mul"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt

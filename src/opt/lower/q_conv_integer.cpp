// ConvInteger(x, w, x_zero, w_zero) = lathe.QConv(x, w, x_zero, w_zero), for constant w
#include "opt/linear.h"
#include "opt/quantized.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  if (!graph.is_constant(node.inputs[1]) || graph.type(node.inputs[0]).shape.size() > 5) return false;
  return replace_with(graph, id, "lathe.QConv", node.inputs, node.attributes);
}

}  // namespace

const Rule& q_conv_integer_lowering() {
  static const Rule rule{.name = "q_conv_integer", .roots = {"ConvInteger"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt

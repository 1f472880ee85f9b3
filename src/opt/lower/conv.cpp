// Conv(x, w, b) = lathe.Conv(x, w, b), for constant w and b of f32
#include "opt/linear.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (node.inputs[i] && !graph.is_constant(node.inputs[i])) return false;
  }
  if (graph.type(node.inputs[0]).dtype != tensor::DType::f32) return false;
  return replace_with(graph, id, "lathe.Conv", node.inputs, node.attributes);
}

}  // namespace

const Rule& conv_lowering() {
  static const Rule rule{.name = "conv", .roots = {"Conv"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt

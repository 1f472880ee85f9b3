// Linear(norm(x, scale, bias), W) = Linear(x, W, norm, scale, bias), for RMS and layer normalisation of rows
#include "opt/linear.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  if (node.attributes.get_string("norm", "none") != "none" || !node.inputs[0] || !used_once(graph, node.inputs[0])) {
    return false;
  }
  for (const auto& [op, name] : {std::pair{"RMSNormalization", "rms"}, {"LayerNormalization", "layer"}}) {
    const ir::Node* norm = find_producer(graph, node.inputs[0], op);
    if (!norm || norm->outputs.size() != 1) continue;
    const int64_t rank = int64_t(graph.type(norm->inputs[0]).shape.size());
    const int64_t axis = norm->attributes.get_int("axis", -1);
    if (axis != -1 && axis != rank - 1) continue;
    if (norm->attributes.get_int("stash_type", 1) != 1) continue;
    if (graph.type(norm->inputs[0]).dtype != tensor::DType::f32 || graph.type(norm->inputs[1]).shape.size() != 1)
      continue;
    std::vector<ir::Value> inputs = node.inputs;
    inputs[0] = norm->inputs[0];
    inputs[2] = norm->inputs[1];
    inputs[3] = norm->inputs.size() > 2 ? norm->inputs[2] : ir::Value{};
    op::Attributes attributes = node.attributes;
    attributes.set("norm", std::string(name));
    attributes.set("epsilon", norm->attributes.get_float("epsilon", 1e-5));
    return replace_with(graph, id, "lathe.Linear", std::move(inputs), std::move(attributes));
  }
  return false;
}

}  // namespace

const Rule& linear_norm_rule() {
  static const Rule rule{.name = "linear_norm", .roots = {"lathe.Linear"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt

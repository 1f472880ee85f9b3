// Gelu(x + b) = BiasGelu(x, b), and with the approximation FastGelu(x, b), for a vector b along the last axis
#include "opt/contrib.h"
#include "opt/match.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const auto sum = find_biased(graph, node.inputs[0]);
  if (!sum || !used_once(graph, node.inputs[0]) || !all_f32(graph, node.inputs)) return false;
  const bool fast = node.attributes.get_string("approximate", "none") == "tanh";
  const ContribCall call{.op = fast ? "FastGelu" : "BiasGelu",
                         .inputs = {sum->x, sum->bias},
                         .attributes = {},
                         .results = node.outputs};
  return replace_by_call(graph, call, id);
}

}  // namespace

const ContribRule& bias_gelu_contrib() {
  static const ContribRule rule{.rule = {.name = "contrib_bias_gelu", .roots = {"Gelu"}, .apply = apply}};
  return rule;
}

}  // namespace lathe::opt

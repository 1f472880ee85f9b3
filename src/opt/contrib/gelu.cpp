// Gelu(x) and its approximation, for opsets that have no Gelu: com.microsoft's Gelu and FastGelu
#include "opt/contrib.h"
#include "opt/match.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  if (!all_f32(graph, node.inputs)) return false;
  if (used_once(graph, node.inputs[0]) && find_biased(graph, node.inputs[0])) return false;  // bias_gelu takes that
  const bool fast = node.attributes.get_string("approximate", "none") == "tanh";
  return replace_by_call(
      graph, {.op = fast ? "FastGelu" : "Gelu", .inputs = node.inputs, .attributes = {}, .results = node.outputs}, id);
}

}  // namespace

const ContribRule& gelu_contrib() {
  static const ContribRule rule{.rule = {.name = "contrib_gelu", .roots = {"Gelu"}, .apply = apply}, .until = 20};
  return rule;
}

}  // namespace lathe::opt

// Swish(x, alpha) = QuickGelu(x, alpha), for opsets that have no Swish
#include "opt/contrib.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  if (!all_f32(graph, node.inputs)) return false;
  const ContribCall call{.op = "QuickGelu",
                         .inputs = node.inputs,
                         .attributes = {{"alpha", node.attributes.get_float("alpha", 1)}},
                         .results = node.outputs};
  return replace_by_call(graph, call, id);
}

}  // namespace

const ContribRule& quick_gelu_contrib() {
  static const ContribRule rule{.rule = {.name = "contrib_quick_gelu", .roots = {"Swish"}, .apply = apply},
                                .until = 24};
  return rule;
}

}  // namespace lathe::opt

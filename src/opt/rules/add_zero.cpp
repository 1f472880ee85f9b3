// x + 0 = 0 + x = x - 0 = x, where the 0 does not make x larger
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node& node = graph.node(id);
  for (size_t i = 0; i < (node.op == "Add" ? 2u : 1u); ++i) {
    const ir::Value x = node.inputs[i];
    if (!all_equal(graph, node.inputs[1 - i], 0) || !same_type(graph, x, node.outputs[0])) continue;
    return replace(graph, id, x);
  }
  return false;
}

}  // namespace

const Rule& add_zero_rule() {
  static const Rule rule{.name = "add_zero", .roots = {"Add", "Sub"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt

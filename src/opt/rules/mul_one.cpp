// x * 1 = 1 * x = x / 1 = x, where the 1 does not make x larger
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node& node = graph.node(id);
  for (size_t i = 0; i < (node.op == "Mul" ? 2u : 1u); ++i) {
    const ir::Value x = node.inputs[i];
    if (!all_equal(graph, node.inputs[1 - i], 1) || !same_type(graph, x, node.outputs[0])) continue;
    return replace(graph, id, x);
  }
  return false;
}

}  // namespace

const Rule& mul_one_rule() {
  static const Rule rule{.name = "mul_one", .roots = {"Mul", "Div"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt

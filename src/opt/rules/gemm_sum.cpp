// Gemm(a, b) + c = Gemm(a, b, c), where c broadcasts to the product
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext& context) {
  const ir::Node node = graph.node(id);
  for (size_t i = 0; i < 2; ++i) {
    const ir::Node* gemm = find_producer(graph, node.inputs[i], "Gemm");
    if (!gemm || (gemm->inputs.size() > 2 && gemm->inputs[2])) continue;
    if (!used_once(graph, node.inputs[i])) {
      context.miss("the product is read by others, too");
      continue;
    }
    if (!broadcasts_to(graph, node.inputs[1 - i], node.inputs[i])) {
      context.miss("{} may be larger than the product", op::to_string(graph.type(node.inputs[1 - i])));
      continue;
    }
    op::Attributes attributes = gemm->attributes;
    attributes.set("beta", 1.0);
    const std::vector<ir::Value> inputs = {gemm->inputs[0], gemm->inputs[1], node.inputs[1 - i]};
    return replace_same_type(graph, id, graph.add_node("Gemm", inputs, std::move(attributes), gemm->name, 1, id));
  }
  return false;
}

}  // namespace

const Rule& gemm_sum_rule() {
  static const Rule rule{.name = "gemm_sum", .roots = {"Add"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt

// x sigmoid(a x) = Swish(x, a)
#include "opt/formula.h"
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext& context) {
  const ir::Node node = graph.node(id);
  for (size_t i = 0; i < 2; ++i) {
    const ir::Value x = node.inputs[i];
    const ir::Node* sigmoid = find_producer(graph, node.inputs[1 - i], "Sigmoid");
    const auto inner = sigmoid ? find_polynomial(graph, sigmoid->inputs[0], x) : std::nullopt;
    if (!inner || (*inner)[1] == 0) continue;
    if (*inner != Polynomial{0, (*inner)[1], 0, 0}) {
      return context.miss("the argument of Sigmoid is not a multiple of x but {}", to_string(*inner));
    }
    op::Attributes attributes;
    if ((*inner)[1] != 1) attributes.set("alpha", (*inner)[1]);
    return replace_same_type(graph, id, graph.add_node("Swish", {x}, std::move(attributes), node.name, 1, id));
  }
  return false;
}

}  // namespace

const Rule& swish_rule() {
  static const Rule rule{.name = "swish", .roots = {"Mul"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt

// RotaryEmbedding(split(x)) = split(RotaryEmbedding(x)), where split takes rows apart into heads
#include "opt/heads.h"
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const auto split = find_split(graph, node.inputs[0]);
  if (!split) return false;
  std::vector<ir::Value> inputs = node.inputs;
  inputs[0] = split->rows;
  op::Attributes attributes = node.attributes;
  attributes.set("num_heads", split->heads);
  const ir::Value turned =
      graph.node(graph.add_node(node.op, std::move(inputs), std::move(attributes), node.name, 1, id)).outputs[0];
  return replace(graph, id, split_heads(graph, turned, split->shape, id));
}

}  // namespace

const Rule& rotary_rows_rule() {
  static const Rule rule{.name = "rotary_rows", .roots = {"RotaryEmbedding"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt

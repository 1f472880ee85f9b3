// Attention(split(q), split(k), split(v), ...) = split(Attention(q, k, v, ...)), where split takes rows apart into
// heads
#include "opt/heads.h"
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const auto q = find_split(graph, node.inputs[0]);
  const auto k = find_split(graph, node.inputs[1]);
  const auto v = find_split(graph, node.inputs[2]);
  if (!q || !k || !v || k->heads != v->heads || node.outputs.size() > 3) return false;
  // The result has q's heads and v's width: q's shape tells both where the widths are equal.
  if (graph.type(node.outputs[0]).shape != graph.type(node.inputs[0]).shape) return false;
  std::vector<ir::Value> inputs = node.inputs;
  inputs[0] = q->rows;
  inputs[1] = k->rows;
  inputs[2] = v->rows;
  op::Attributes attributes = node.attributes;
  attributes.set("q_num_heads", q->heads);
  attributes.set("kv_num_heads", k->heads);
  const auto outputs = graph
                           .node(graph.add_node("Attention", std::move(inputs), std::move(attributes), node.name,
                                                int(node.outputs.size()), id))
                           .outputs;
  for (size_t i = 1; i < outputs.size(); ++i) {
    if (node.outputs[i]) graph.replace_uses(node.outputs[i], outputs[i]);
  }
  graph.replace_uses(node.outputs[0], split_heads(graph, outputs[0], q->shape, id));
  return true;
}

}  // namespace

const Rule& attention_rows_rule() {
  static const Rule rule{.name = "attention_rows", .roots = {"Attention"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt

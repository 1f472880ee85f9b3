// concat(RotaryEmbedding(x[..., :n]), x[..., n:]) = RotaryEmbedding(x) of the first n of the last axis
#include "opt/match.h"
#include "opt/rotary.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const int64_t rank = int64_t(graph.type(node.outputs[0]).shape.size());
  const int64_t axis = node.attributes.get_int("axis", 0);
  if (node.inputs.size() != 2 || rank != 4 || (axis != -1 && axis != rank - 1)) return false;
  const ir::Node* rotary = find_producer(graph, node.inputs[0], "RotaryEmbedding");
  if (!rotary || rotary->inputs.size() != 3 || rotary->attributes.get_int("rotary_embedding_dim", 0) != 0) return false;
  const auto turned = find_part(graph, rotary->inputs[0]);
  const auto rest = find_part(graph, node.inputs[1]);
  if (!turned || !rest || turned->of != rest->of || turned->begin != 0 || rest->begin != turned->end) return false;
  if (!same_type(graph, turned->of, node.outputs[0])) return false;
  op::Attributes attributes = rotary->attributes;
  attributes.set("rotary_embedding_dim", turned->end);
  const std::vector<ir::Value> inputs{turned->of, rotary->inputs[1], rotary->inputs[2]};
  return replace(graph, id,
                 graph.node(graph.add_node("RotaryEmbedding", inputs, attributes, node.name, 1, id)).outputs[0]);
}

}  // namespace

const Rule& rotary_partial_rule() {
  static const Rule rule{.name = "rotary_partial", .roots = {"Concat"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt

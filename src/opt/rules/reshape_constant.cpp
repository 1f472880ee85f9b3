// Reshape(x, shape that is computed) = Reshape(x, constants), where each length is a number, that of x at the same
// place (0 in ONNX), or the only one that is left (-1)
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const auto& elements = graph.type(node.inputs[1]).elements;
  if (graph.is_constant(node.inputs[1]) || !elements || node.attributes.get_int("allowzero", 0) != 0) return false;
  const tensor::Shape& x = graph.type(node.inputs[0]).shape;
  const tensor::Shape& y = graph.type(node.outputs[0]).shape;
  if (elements->size() != y.size()) return false;
  std::vector<int64_t> lengths;
  bool open = false;
  for (size_t i = 0; i < y.size(); ++i) {
    // What the node gives, not what it is told: a -1 is known there.
    if (y[i].is_constant() && y[i].value() > 0) {
      lengths.push_back(y[i].value());
    } else if (i < x.size() && x[i] == y[i]) {
      lengths.push_back(0);
    } else if (!open) {
      open = true;
      lengths.push_back(-1);
    } else {
      return false;
    }
  }
  const ir::Value constant = constant_ints(graph, lengths);
  return replace_same_type(graph, id,
                           graph.add_node("Reshape", {node.inputs[0], constant}, node.attributes, node.name, 1, id));
}

}  // namespace

const Rule& reshape_constant_rule() {
  static const Rule rule{.name = "reshape_constant", .roots = {"Reshape"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt

// Shape(x[i]) = concat(Shape(i), the other dimensions of x), where those are known: no row is looked up to be counted
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const ir::Node* gather = find_producer(graph, node.inputs[0], "Gather");
  if (!gather || gather->attributes.get_int("axis", 0) != 0 || !node.attributes.empty()) return false;
  const ir::Value indices = gather->inputs[1];
  std::vector<int64_t> rest;
  const tensor::Shape& shape = graph.type(gather->inputs[0]).shape;
  for (size_t i = 1; i < shape.size(); ++i) {
    if (!shape[i].is_constant()) return false;
    rest.push_back(shape[i].value());
  }
  const ir::Value first = graph.node(graph.add_node("Shape", {indices}, {}, node.name + ".indices", 1, id)).outputs[0];
  const std::vector<ir::Value> parts{first, constant_ints(graph, rest)};
  return replace_same_type(graph, id, graph.add_node("Concat", parts, {{"axis", int64_t{0}}}, node.name, 1, id));
}

}  // namespace

const Rule& shape_of_gather_rule() {
  static const Rule rule{.name = "shape_of_gather", .roots = {"Shape"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt

// (x W) s = x (W s), for a constant W that nothing else reads and one constant number s
#include "opt/channels.h"
#include "opt/formula.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext& context) {
  const ir::Node node = graph.node(id);
  const auto scaled = find_with_number(graph, node.outputs[0], "Mul");
  const ir::Node* product = scaled ? find_producer(graph, scaled->value, "MatMul") : nullptr;
  if (!product || !graph.is_constant(product->inputs[1])) return false;
  const ir::Value x = product->inputs[0], w = product->inputs[1];
  if (graph.type(w).dtype != tensor::DType::f32 || graph.source(w)->encoding() != tensor::Encoding::plain) return false;
  if (!same_type(graph, scaled->value, node.outputs[0])) return false;
  if (!used_once(graph, scaled->value)) return context.miss("the product is read without the factor, too");
  if (!used_once(graph, w)) return context.miss("the weights are read by others, too");
  const ir::Value weights = graph.add_constant(graph.source_name(w) + ".scaled",
                                               scaled_rows(graph.source(w), {scaled->number}));
  return replace_same_type(graph, id, graph.add_node("MatMul", {x, weights}, {}, product->name, 1, id));
}

}  // namespace

const Rule& product_scale_rule() {
  static const Rule rule{.name = "product_scale", .roots = {"Mul"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt

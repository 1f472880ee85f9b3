// Attention(c q, k, v, ..) of scale s = Attention(q, k, v, ..) of scale c s
#include "opt/formula.h"
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const auto scale = node.attributes.find_float("scale");  // the default depends on widths: exporters write it out
  const auto product = find_with_number(graph, node.inputs[0], "Mul");
  if (!scale || !product || product->number <= 0 || !same_type(graph, product->value, node.inputs[0])) return false;
  graph.set_attribute(id, "scale", *scale * product->number);
  graph.set_input(id, 0, product->value);
  return true;
}

}  // namespace

const Rule& attention_scale_rule() {
  static const Rule rule{.name = "attention_scale", .roots = {"Attention"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt

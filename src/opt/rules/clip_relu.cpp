// Clip(Relu(x), low, high) = Clip(x, max(low, 0), high), for constants with max(low, 0) <= high
#include "opt/formula.h"
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext& context) {
  const ir::Node node = graph.node(id);
  const ir::Node* relu = find_producer(graph, node.inputs[0], "Relu");
  if (!relu) return false;
  const ir::Value x = relu->inputs[0];
  const auto bound = [&](size_t i) { return node.inputs.size() > i ? node.inputs[i] : ir::Value{}; };
  const ir::Value low = bound(1), high = bound(2);
  const auto lowest = low ? find_number(graph, low) : std::optional(0.0);
  const auto highest = high ? find_number(graph, high) : std::optional(0.0);
  if (!lowest || !highest) return context.miss("the bounds are not finite constants");
  if (high && *highest < std::max(*lowest, 0.0))
    return context.miss("the bounds leave nothing: {} and {}", *lowest, *highest);
  if (!used_once(graph, node.inputs[0])) return context.miss("the Relu's result is read by others, too");
  ir::Value least = low;
  if (!low || *lowest < 0) {
    tensor::Tensor zero(graph.type(x).dtype, {});
    tensor::set_element(zero, 0, 0);
    least = graph.add_constant("", std::move(zero));
  }
  std::vector<ir::Value> inputs = {x, least};
  if (high) inputs.push_back(high);
  return replace_same_type(graph, id, graph.add_node("Clip", std::move(inputs), {}, node.name, 1, id));
}

}  // namespace

const Rule& clip_relu_rule() {
  static const Rule rule{.name = "clip_relu", .roots = {"Clip"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt

// Reshape(InstanceNormalization(Reshape(x, [n, groups, ..]), 1, 0), shape of x) * scale + bias
//   = GroupNormalization(x, scale, bias), for scale and bias of one number for each channel
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::Value;

// The constant of `channels` numbers in a factor or term [channels, 1, ..] of a value of rank `rank`; absent for
// others.
Value per_channel(Graph& graph, Value value, const tensor::Dim& channels, size_t rank) {
  const tensor::Shape shape = graph.type(value).shape;
  if (!graph.is_constant(value) || !channels.is_constant()) return {};
  const size_t axis = rank - shape.size();  // of the value that shape's first axis meets
  if (shape.size() + 1 < rank || axis > 1 || tensor::element_count(shape) != channels) return {};
  if (shape[1 - axis] != channels) return {};
  const std::string name = graph.source_name(value) + ".channels";
  if (const auto known = graph.find(name); known && graph.is_constant(*known)) return *known;
  return graph.add_constant(name, tensor::reshaped_source(graph.source(value), {channels.value()}));
}

// The other operand of op(value, other), where `value` is what `op` does not find constant.
std::optional<std::pair<Value, Value>> with_constant(const Graph& graph, Value value, std::string_view op) {
  const Node* node = find_producer(graph, value, op);
  if (!node) return std::nullopt;
  for (size_t i = 0; i < 2; ++i) {
    if (graph.is_constant(node->inputs[i]) && !graph.is_constant(node->inputs[1 - i])) {
      return std::pair{node->inputs[1 - i], node->inputs[i]};
    }
  }
  return std::nullopt;
}

bool apply(Graph& graph, ir::NodeId id, RuleContext& context) {
  const Node node = graph.node(id);
  const auto sum = with_constant(graph, node.outputs[0], "Add");
  const auto product = sum ? with_constant(graph, sum->first, "Mul") : std::nullopt;
  const Node* back = product ? find_producer(graph, product->first, "Reshape") : nullptr;
  const Node* norm = back ? find_producer(graph, back->inputs[0], "InstanceNormalization") : nullptr;
  const Node* split = norm ? find_producer(graph, norm->inputs[0], "Reshape") : nullptr;
  if (!split) return false;
  if (!all_equal(graph, norm->inputs[1], 1) || !all_equal(graph, norm->inputs[2], 0)) {
    return context.miss("the groups have a scale or a bias of their own");
  }
  const Value x = split->inputs[0];
  const tensor::Shape shape = graph.type(x).shape;
  const tensor::Shape& grouped = graph.type(split->outputs[0]).shape;
  if (shape.size() < 3 || !same_type(graph, x, node.outputs[0]) || !same_type(graph, x, back->outputs[0])) {
    return context.miss("it takes {} and gives {}", op::to_string(graph.type(x)),
                        op::to_string(graph.type(node.outputs[0])));
  }
  const int64_t groups = grouped.size() < 3 ? 0 : grouped[1].constant().value_or(0);
  const int64_t channels = shape[1].constant().value_or(0);
  if (groups < 1 || channels < 1 || channels % groups != 0 || grouped[0] != shape[0]) {
    return context.miss("{} does not make groups of the channels of {}", tensor::to_string(grouped),
                        op::to_string(graph.type(x)));
  }
  const op::Attributes attributes{{"epsilon", norm->attributes.get_float("epsilon", 1e-5)}, {"num_groups", groups}};
  const Value scale = per_channel(graph, product->second, shape[1], shape.size());
  const Value bias = per_channel(graph, sum->second, shape[1], shape.size());
  if (!scale || !bias) return context.miss("scale or bias is not one number for each of {} channels", channels);
  return replace_same_type(graph, id,
                           graph.add_node("GroupNormalization", {x, scale, bias}, attributes, node.name, 1, id));
}

}  // namespace

const Rule& group_normalization_rule() {
  static const Rule rule{.name = "group_normalization", .roots = {"Add"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt

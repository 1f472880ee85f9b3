// Conv(Pad(x, pads), w) = Conv(x, w, pads + its own), for zeros around rows and columns
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::Value;

// The pads of each spatial axis, [begins, ends], of zeros that a Pad adds to them alone.
std::optional<std::vector<int64_t>> spatial_zeros(const Graph& graph, const Node& pad) {
  const size_t rank = graph.type(pad.inputs[0]).shape.size();
  if (pad.attributes.get_string("mode", "constant") != "constant" || rank < 3) return std::nullopt;
  if (pad.inputs.size() > 2 && pad.inputs[2] && !all_equal(graph, pad.inputs[2], 0)) return std::nullopt;
  const auto pads = known_ints(graph, pad.inputs[1]);
  std::vector<int64_t> axes(rank);
  for (size_t i = 0; i < rank; ++i) axes[i] = int64_t(i);
  if (pad.inputs.size() > 3 && pad.inputs[3]) {
    const auto given = known_ints(graph, pad.inputs[3]);
    if (!given) return std::nullopt;
    axes = *given;
  }
  if (!pads || pads->size() != 2 * axes.size()) return std::nullopt;
  std::vector<int64_t> spatial(2 * (rank - 2), 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = axes[i] < 0 ? axes[i] + int64_t(rank) : axes[i];
    const int64_t begin = (*pads)[i], end = (*pads)[axes.size() + i];
    if (begin < 0 || end < 0 || (axis < 2 && begin + end > 0)) return std::nullopt;
    if (axis < 2) continue;
    spatial[size_t(axis - 2)] = begin;
    spatial[rank - 2 + size_t(axis - 2)] = end;
  }
  return spatial;
}

bool apply(Graph& graph, ir::NodeId id, RuleContext& context) {
  const Node node = graph.node(id);
  const Node* pad = find_producer(graph, node.inputs[0], "Pad");
  if (!pad) return false;
  const std::string automatic = node.attributes.get_string("auto_pad", "NOTSET");
  if (automatic != "NOTSET" && automatic != "VALID") return context.miss("the convolution has auto_pad {}", automatic);
  auto pads = spatial_zeros(graph, *pad);
  if (!pads) return context.miss("what is padded is not rows and columns with a known number of zeros");
  if (!used_once(graph, node.inputs[0])) return context.miss("the padded value is read by others, too");
  if (automatic == "NOTSET") {
    const auto own = node.attributes.find_ints("pads").value_or(std::vector<int64_t>(pads->size(), 0));
    if (own.size() != pads->size()) return false;
    for (size_t i = 0; i < own.size(); ++i) (*pads)[i] += own[i];
  }
  op::Attributes attributes = node.attributes;
  attributes.set("auto_pad", std::string("NOTSET"));
  attributes.set("pads", *pads);
  std::vector<Value> inputs = node.inputs;
  inputs[0] = pad->inputs[0];
  return replace_same_type(graph, id,
                           graph.add_node("Conv", std::move(inputs), std::move(attributes), node.name, 1, id));
}

}  // namespace

const Rule& conv_pad_rule() {
  static const Rule rule{.name = "conv_pad", .roots = {"Conv"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt

// f(Conv(x, w, b) + z) = FusedConv(x, w, b, z, activation = f), z being optional
#include <limits>

#include "opt/contrib.h"
#include "opt/formula.h"
#include "opt/match.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::Value;

// The activation's numbers; nullopt where they are not known.
std::optional<std::vector<double>> parameters_of(const Graph& graph, const Node& node) {
  const op::Attributes& attributes = node.attributes;
  if (node.op == "LeakyRelu") return std::vector<double>{attributes.get_float("alpha", double(0.01f))};
  if (node.op == "HardSigmoid") {
    return std::vector<double>{attributes.get_float("alpha", double(0.2f)), attributes.get_float("beta", 0.5)};
  }
  if (node.op != "Clip") return std::vector<double>();
  constexpr double kNone = std::numeric_limits<double>::infinity();
  std::vector<double> bounds{-kNone, kNone};
  for (size_t i = 1; i < node.inputs.size() && i < 3; ++i) {
    if (!node.inputs[i]) continue;
    const auto number = find_number(graph, node.inputs[i]);
    if (!number) return std::nullopt;
    bounds[i - 1] = *number;
  }
  return bounds;
}

struct Sum {
  const Node* conv = nullptr;
  Value z;
};
Sum find_sum(const Graph& graph, Value value) {
  if (!used_once(graph, value)) return {};
  if (const Node* conv = find_producer(graph, value, "Conv")) return {conv, {}};
  const Node* add = find_producer(graph, value, "Add");
  // The later of two convolutions takes the other one's result.
  for (const size_t i : {size_t{1}, size_t{0}}) {
    const Node* conv = add ? find_producer(graph, add->inputs[i], "Conv") : nullptr;
    if (!conv || !used_once(graph, add->inputs[i])) continue;
    if (same_type(graph, add->inputs[1 - i], value) && same_type(graph, add->inputs[i], value)) {
      return {conv, add->inputs[1 - i]};
    }
  }
  return {};
}

bool apply(Graph& graph, ir::NodeId id, RuleContext&) {
  const Node node = graph.node(id);
  const Sum sum = find_sum(graph, node.inputs[0]);
  const auto parameters = sum.conv ? parameters_of(graph, node) : std::nullopt;
  if (!parameters || !all_f32(graph, sum.conv->inputs)) return false;
  op::Attributes attributes = sum.conv->attributes;
  attributes.set("activation", node.op);
  if (!parameters->empty()) attributes.set("activation_params", *parameters);
  std::vector<Value> inputs = sum.conv->inputs;
  if (sum.z) {
    inputs.resize(3);
    inputs.push_back(sum.z);
  }
  return replace_by_call(
      graph, {.op = "FusedConv", .inputs = inputs, .attributes = attributes, .results = node.outputs}, id);
}

}  // namespace

const ContribRule& fused_conv_contrib() {
  static const ContribRule rule{
      .rule = {.name = "contrib_fused_conv",
               .roots = {"Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh"},
               .apply = apply}};
  return rule;
}

}  // namespace lathe::opt

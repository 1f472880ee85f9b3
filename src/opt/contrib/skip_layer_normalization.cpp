// LayerNormalization(x + skip + b) = SkipLayerNormalization(x, skip, b), whose fourth output is the sum
#include "opt/contrib.h"
#include "opt/match.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const ir::Value x = node.inputs[0];
  const auto sum = find_skip_sum(graph, x);
  if (!sum || node.outputs.size() > 1 || !is_last_axis(graph, node, x) || !all_f32(graph, node.inputs)) return false;
  const ir::Value beta = node.inputs.size() > 2 ? node.inputs[2] : ir::Value();
  if (!is_vector_along(graph, node.inputs[1], x) || (beta && !is_vector_along(graph, beta, x))) return false;
  ContribCall call{.op = "SkipLayerNormalization",
                   .inputs = {sum->input, sum->skip, node.inputs[1], beta, sum->bias},
                   .attributes = {{"epsilon", node.attributes.get_float("epsilon", double(1e-5f))}},
                   .results = node.outputs};
  while (!call.inputs.back()) call.inputs.pop_back();
  if (!used_once(graph, x)) call.results.insert(call.results.end(), {{}, {}, x});
  return replace_by_call(graph, call, id);
}

}  // namespace

const ContribRule& skip_layer_normalization_contrib() {
  static const ContribRule rule{
      .rule = {.name = "contrib_skip_layer_normalization", .roots = {"LayerNormalization"}, .apply = apply}};
  return rule;
}

}  // namespace lathe::opt

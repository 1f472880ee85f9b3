// RMSNormalization(x + skip + b) = SkipSimplifiedLayerNormalization(x, skip, b), whose fourth output is the sum
#include "opt/contrib.h"
#include "opt/match.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const ir::Value x = node.inputs[0];
  const auto sum = find_skip_sum(graph, x);
  if (!sum || !is_last_axis(graph, node, x) || !all_f32(graph, node.inputs)) return false;
  if (!is_vector_along(graph, node.inputs[1], x)) return false;
  ContribCall call{.op = "SkipSimplifiedLayerNormalization",
                   .inputs = {sum->input, sum->skip, node.inputs[1], sum->bias},
                   .attributes = {{"epsilon", node.attributes.get_float("epsilon", double(1e-5f))}},
                   .results = node.outputs};
  if (!sum->bias) call.inputs.pop_back();
  if (!used_once(graph, x)) call.results.insert(call.results.end(), {{}, {}, x});
  return replace_by_call(graph, call, id);
}

}  // namespace

const ContribRule& skip_rms_normalization_contrib() {
  static const ContribRule rule{
      .rule = {.name = "contrib_skip_rms_normalization", .roots = {"RMSNormalization"}, .apply = apply}};
  return rule;
}

}  // namespace lathe::opt

// BatchNormalization(Conv(x, w, b)) = Conv(x, w s, (b - mean) s + bias) with s = scale / sqrt(variance + epsilon), for
// constants
#include "opt/channels.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext& context) {
  const ir::Node node = graph.node(id);
  const auto folded = find_batch_normalization(graph, node);
  if (!folded && find_producer(graph, node.inputs[0], "Conv")) {
    return context.miss("it trains, or its statistics are not constant numbers of f32");
  }
  const auto conv = find_constant_conv(graph, node.inputs[0]);
  if (!conv) return miss_of_conv(graph, node.inputs[0], context);
  if (!folded || int64_t(folded->scale.size()) != conv->features) return false;
  return replace_with_scaled(graph, id, *conv, folded->scale, folded->shift);
}

}  // namespace

const Rule& conv_batch_normalization_rule() {
  static const Rule rule{.name = "conv_batch_normalization",
                         .roots = {"BatchNormalization"},
                         .apply = apply,
                         .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt

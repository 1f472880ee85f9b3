// f(q) = q with activation f, for floats q of lathe.QConv or lathe.QLinear and operators of one value
#include "op/pointwise.h"
#include "opt/pointwise.h"
#include "opt/quantized.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const auto step = find_step(graph, node);
  if (!step || step->arguments[0].value != 0) return false;
  for (size_t i = 1; i < step->arguments.size(); ++i) {
    if (step->arguments[i].value >= 0) return false;
  }
  auto q = find_quantized(graph, node.inputs[0]);
  if (!q || !q->gives_floats() || q->attributes.has("activation")) return false;
  q->attributes.set("activation", op::to_string(*step));
  return replace_with(graph, id, *q);
}

}  // namespace

const Rule& q_activation_lowering() {
  static const Rule rule{.name = "q_activation",
                         .roots = {"Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Relu",
                                   "Sigmoid", "Swish", "Tanh"},
                         .apply = apply};
  return rule;
}

}  // namespace lathe::opt

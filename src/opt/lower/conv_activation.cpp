// f(lathe.Conv(x, w, b, residual)) = lathe.Conv(x, w, b, residual, activation = f), for operators of one value
#include "op/pointwise.h"
#include "opt/formula.h"
#include "opt/linear.h"
#include "opt/pointwise.h"

namespace lathe::opt {
namespace {

// x Sigmoid(x) is Swish too, as exporters without Swish write it: left to the rules of -O2.
bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const auto step = find_step(graph, node);
  if (!step || step->arguments[0].value != 0) return false;
  for (size_t i = 1; i < step->arguments.size(); ++i) {
    if (step->arguments[i].value >= 0) return false;
  }
  const ir::Node* conv = find_producer(graph, node.inputs[0], "lathe.Conv");
  if (!conv || !used_once(graph, node.inputs[0]) || conv->attributes.has("activation")) return false;
  if (conv->attributes.get_int("residual_last", 0) != 0) return false;
  op::Attributes attributes = conv->attributes;
  attributes.set("activation", op::to_string(*step));
  return replace_with(graph, id, "lathe.Conv", conv->inputs, std::move(attributes));
}

}  // namespace

const Rule& conv_activation_lowering() {
  static const Rule rule{.name = "conv_activation",
                         .roots = {"Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Relu",
                                   "Sigmoid", "Swish", "Tanh"},
                         .apply = apply};
  return rule;
}

}  // namespace lathe::opt

// f(x, y) = lathe.Pointwise(x, y) of one step, for elementwise operators on f32
#include "opt/linear.h"
#include "opt/pointwise.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  auto step = find_step(graph, node);
  if (!step) return false;
  std::vector<ir::Value> inputs;
  for (op::PointwiseArgument& argument : step->arguments) {
    if (argument.value < 0) continue;
    const ir::Value input = node.inputs[size_t(argument.value)];
    argument.value = int64_t(inputs.size());
    inputs.push_back(input);
  }
  if (inputs.empty()) return false;  // constants: folded elsewhere
  op::Attributes attributes;
  attributes.set("steps", std::vector<std::string>{op::to_string(*step)});
  return replace_with(graph, id, "lathe.Pointwise", std::move(inputs), std::move(attributes));
}

}  // namespace

const Rule& pointwise_lowering() {
  static const Rule rule{
      .name = "pointwise",
      .roots = {"Abs",     "Add",  "Ceil", "Clip",       "Cos",  "Div",       "Elu", "Erf",   "Exp",     "Floor",
                "Gelu",    "HardSigmoid",  "HardSwish",  "LeakyRelu", "Log",  "Max", "Min",   "Mish",    "Mul",
                "Neg",     "Pow",  "PRelu", "Reciprocal", "Relu", "Round",    "Sigmoid", "Sign", "Sin",  "Softplus",
                "Softsign", "Sqrt", "Sub",  "Swish",      "Tanh"},
      .apply = apply};
  return rule;
}

}  // namespace lathe::opt

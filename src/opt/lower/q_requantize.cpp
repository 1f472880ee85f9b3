// QuantizeLinear(clamp(v scale + b)) = bytes of clamp'(v (scale / y_scale) + b / y_scale), for floats of lathe.QConv or
// lathe.QLinear with constant scales. Rounds v to y's grid from one product less: an element whose exact value lies
// within f32's rounding of the middle between two steps may get the other one.
#include "op/pointwise.h"
#include "opt/quantized.h"

namespace lathe::opt {
namespace {

// The clamp in steps of y; nullopt for other activations.
std::optional<std::string> clamp_in_steps(const std::string& activation, double y_scale) {
  if (activation.empty()) return "";
  op::PointwiseStep step = op::parse_step(activation, 1);
  if (step.op == "Relu") return activation;
  if (step.op != "Clip") return std::nullopt;
  for (size_t i = 1; i < 3; ++i) step.arguments[i].number = double(float(step.arguments[i].number) / float(y_scale));
  return op::to_string(step);
}

void divide(std::vector<double>& values, double by) {
  for (double& value : values) value = double(float(value) / float(by));
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  auto q = find_quantized(graph, node.inputs[0]);
  if (!q || !q->gives_floats() || q->has(op::kQResidual) || q->has(op::kQXScale)) return false;
  const auto to = find_quantize(graph, node);
  auto scales = number_list(graph, (*q)[op::kQScale]);
  if (!to || !scales) return false;
  const bool real_bias = q->has(op::kQBias) && graph.type((*q)[op::kQBias]).dtype == tensor::DType::f32;
  auto bias = real_bias ? number_list(graph, (*q)[op::kQBias]) : std::nullopt;
  if (real_bias && !bias) return false;
  const auto clamp = clamp_in_steps(q->attributes.get_string("activation", ""), to->scale);
  if (!clamp) return false;
  const std::string name = graph.source_name((*q)[op::kQScale]) + ".steps";
  divide(*scales, to->scale);
  (*q)[op::kQScale] = constant_floats(graph, name, *scales);
  if (real_bias) {
    divide(*bias, to->scale);
    const std::string bias_name = graph.source_name((*q)[op::kQBias]) + ".steps";
    (*q)[op::kQBias] = constant_floats(graph, bias_name, *bias);
  }
  if (!clamp->empty()) q->attributes.set("activation", *clamp);
  (*q)[op::kQYZero] = zero_point(graph, node);
  return replace_with(graph, id, *q);
}

}  // namespace

const Rule& q_requantize_lowering() {
  static const Rule rule{.name = "q_requantize", .roots = {"QuantizeLinear"}, .apply = apply, .tolerance = 1e-2};
  return rule;
}

}  // namespace lathe::opt

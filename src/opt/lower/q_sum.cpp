// QuantizeLinear(clamp(DequantizeLinear(q) + DequantizeLinear(r))) = q with a residual r of bytes, for bytes q of
// lathe.QConv or lathe.QLinear. Adds in steps of the result: an element whose exact value lies within f32's rounding of
// the middle between two steps may get the other one.
#include "op/pointwise.h"
#include "opt/pointwise.h"
#include "opt/quantized.h"

namespace lathe::opt {
namespace {

// What is rounded, before a clamp that has no other reader: the clamp in steps of the result.
struct Clamped {
  ir::Value value;
  std::string activation;
};
std::optional<Clamped> find_clamp(const ir::Graph& graph, ir::Value value, double y_scale) {
  for (const char* op : {"Relu", "Clip"}) {
    const ir::Node* node = find_producer(graph, value, op);
    if (!node) continue;
    auto step = find_step(graph, *node);
    if (!step || !used_once(graph, value)) return std::nullopt;
    for (size_t i = 1; i < step->arguments.size(); ++i) {
      if (step->arguments[i].value >= 0) return std::nullopt;
      step->arguments[i].number = double(float(step->arguments[i].number) / float(y_scale));
    }
    return Clamped{node->inputs[0], op::to_string(*step)};
  }
  return Clamped{value, ""};
}

struct Operand {
  Dequantized from;
  double scale, zero;
};
std::optional<Operand> find_operand(const ir::Graph& graph, ir::Value value) {
  const auto found = find_dequantized_bytes(graph, value);
  if (!found) return std::nullopt;
  const auto scale = number_list(graph, found->scale);
  const auto zero = found->zero ? number_list(graph, found->zero) : std::vector<double>{0};
  if (!scale || !zero) return std::nullopt;
  return Operand{*found, scale->front(), zero->front()};
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const auto to = find_quantize(graph, node);
  const auto clamped = to ? find_clamp(graph, node.inputs[0], to->scale) : std::nullopt;
  const ir::Node* add = clamped ? find_producer(graph, clamped->value, "Add") : nullptr;
  if (!add || !used_once(graph, clamped->value)) return false;
  for (const size_t i : {size_t{1}, size_t{0}}) {  // the later of two products takes the other one's result
    const auto middle = find_operand(graph, add->inputs[i]), residual = find_operand(graph, add->inputs[1 - i]);
    if (!middle || !residual || !used_once(graph, add->inputs[i])) continue;
    auto q = find_quantized(graph, middle->from.x);
    if (!q || !q->has(op::kQYZero) || q->has(op::kQResidual) || graph.is_constant(residual->from.x)) continue;
    if (graph.type(middle->from.x).shape != graph.type(node.outputs[0]).shape) continue;
    if (graph.type(residual->from.x).shape != graph.type(node.outputs[0]).shape) continue;
    const auto lowest =
        int64_t(graph.type(middle->from.x).dtype == tensor::DType::i8 ? -128 : 0) - int64_t(middle->zero);
    op::Attributes& attributes = q->attributes;
    attributes.set("middle_low", lowest);
    attributes.set("middle_high", lowest + 255);
    attributes.set("middle_scale", double(float(middle->scale) / float(to->scale)));
    attributes.set("residual_zero", int64_t(residual->zero));
    attributes.set("residual_scale", double(float(residual->scale) / float(to->scale)));
    if (!clamped->activation.empty()) attributes.set("sum_activation", clamped->activation);
    (*q)[op::kQResidual] = residual->from.x;
    (*q)[op::kQYZero] = zero_point(graph, node);
    return replace_with(graph, id, *q);
  }
  return false;
}

}  // namespace

const Rule& q_sum_lowering() {
  static const Rule rule{.name = "q_sum", .roots = {"QuantizeLinear"}, .apply = apply, .tolerance = 1e-2};
  return rule;
}

}  // namespace lathe::opt

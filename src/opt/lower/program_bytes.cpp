// QuantizeLinear(program(DequantizeLinear(x), y)) = lathe.QPointwise(x, y), with either or both ends of bytes, for one
// constant scale each
#include "opt/linear.h"
#include "opt/quantized.h"

namespace lathe::opt {
namespace {

const ir::Node* find_program(const ir::Graph& graph, ir::Value value) {
  const ir::Node* node = find_producer(graph, value, "lathe.Pointwise");
  return node ? node : find_producer(graph, value, "lathe.QPointwise");
}

// The attributes of a program as lathe.QPointwise has them.
op::Attributes with_scales(const ir::Node& program) {
  op::Attributes attributes = program.attributes;
  if (program.op == "lathe.QPointwise") return attributes;
  attributes.set("x_scales", std::vector<double>(program.inputs.size(), 1.0));
  attributes.set("x_zeros", std::vector<int64_t>(program.inputs.size(), 0));
  return attributes;
}

bool take_inputs(ir::Graph& graph, ir::NodeId id) {
  const ir::Node node = graph.node(id);
  op::Attributes attributes = with_scales(node);
  auto scales = *attributes.find_floats("x_scales");
  auto zeros = *attributes.find_ints("x_zeros");
  std::vector<ir::Value> inputs = node.inputs;
  bool found = false;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto from = find_dequantized_bytes(graph, inputs[i]);
    const auto scale = from ? number_list(graph, from->scale) : std::nullopt;
    if (!scale) continue;
    const auto zero = from->zero ? number_list(graph, from->zero) : std::vector<double>{0};
    if (!zero) continue;
    scales[i] = scale->front();
    zeros[i] = int64_t(zero->front());
    inputs[i] = from->x;
    found = true;
  }
  if (!found) return false;
  attributes.set("x_scales", scales);
  attributes.set("x_zeros", zeros);
  return replace_with(graph, id, "lathe.QPointwise", std::move(inputs), std::move(attributes));
}

bool take_output(ir::Graph& graph, ir::NodeId id) {
  const ir::Node node = graph.node(id);
  const auto to = find_quantize(graph, node);
  const ir::Node* program = to ? find_program(graph, node.inputs[0]) : nullptr;
  if (!program || !used_once(graph, node.inputs[0]) || program->attributes.has("y_dtype")) return false;
  op::Attributes attributes = with_scales(*program);
  attributes.set("y_dtype", int64_t(graph.type(node.outputs[0]).dtype));
  attributes.set("y_scale", to->scale);
  attributes.set("y_zero", int64_t(to->zero_number));
  return replace_with(graph, id, "lathe.QPointwise", program->inputs, std::move(attributes));
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  return graph.node(id).op == "QuantizeLinear" ? take_output(graph, id) : take_inputs(graph, id);
}

}  // namespace

const Rule& program_bytes_lowering() {
  static const Rule rule{
      .name = "program_bytes", .roots = {"QuantizeLinear", "lathe.Pointwise", "lathe.QPointwise"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt

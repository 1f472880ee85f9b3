// q + b = q with bias b, for sums or floats q of lathe.QConv or lathe.QLinear and a constant b of the same type for
// each feature
#include "opt/quantized.h"

namespace lathe::opt {
namespace {

using tensor::DType;

ir::Value constant_i32(ir::Graph& graph, const std::string& name, const std::vector<double>& values) {
  tensor::Tensor tensor(DType::i32, {int64_t(values.size())});
  for (size_t i = 0; i < values.size(); ++i) tensor.data<int32_t>()[i] = int32_t(values[i]);
  return graph.add_constant(name, std::move(tensor));
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  for (size_t i = 0; i < 2; ++i) {
    auto q = find_quantized(graph, node.inputs[i]);
    if (!q || q->has(op::kQYZero) || q->has(op::kQBias) || q->has(op::kQResidual)) continue;
    if (q->attributes.has("activation") || !same_type(graph, node.inputs[i], node.outputs[0])) continue;
    const op::TypeInfo& type = graph.type(node.outputs[0]);
    auto bias = feature_numbers(graph, *q, node.inputs[1 - i], type.shape.size(), type.dtype);
    const auto features = graph.type((*q)[op::kQWeights]).shape[0].constant();
    if (!bias || bias->empty() || !features) continue;
    bias->resize(size_t(*features), bias->front());
    const std::string name = graph.source_name(node.inputs[1 - i]) + ".vector";
    const bool whole = type.dtype == DType::i32;
    (*q)[op::kQBias] = whole ? constant_i32(graph, name, *bias) : constant_floats(graph, name, *bias);
    return replace_with(graph, id, *q);
  }
  return false;
}

}  // namespace

const Rule& q_bias_lowering() {
  static const Rule rule{.name = "q_bias", .roots = {"Add"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt

// DequantizeLinear of constants = their f32 values, which kernels read as weights
#include "op/quantization.h"
#include "opt/match.h"
#include "opt/rule.h"
#include "tensor/source.h"

namespace lathe::opt {
namespace {

// Within the memory that a widened weight of a large model may take.
constexpr int64_t kMaxBytes = int64_t{1} << 30;

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  for (const ir::Value input : node.inputs) {
    if (!input) continue;
    if (!graph.is_constant(input) || graph.source(input)->encoding() != tensor::Encoding::plain) return false;
  }
  const op::TypeInfo& type = graph.type(node.outputs[0]);
  if (!tensor::is_integer(graph.type(node.inputs[0]).dtype) || type.dtype != tensor::DType::f32) return false;
  const auto dims = tensor::to_dims(type.shape);
  if (!dims || tensor::element_count(std::span<const int64_t>(*dims)) * 4 > kMaxBytes) return false;
  op::EvaluateContext context{node.attributes, {}, std::vector<tensor::Tensor>(1)};
  for (const ir::Value input : node.inputs) {
    context.inputs.push_back(input ? tensor::load(*graph.source(input)) : tensor::Tensor());
  }
  const std::string name = graph.name(node.outputs[0]);
  const ir::Value constant = graph.add_constant(name, op::dequantise_to_f32(context));
  return replace(graph, id, constant);
}

}  // namespace

const Rule& dequantized_constant_lowering() {
  static const Rule rule{.name = "dequantized_constant", .roots = {"DequantizeLinear"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt

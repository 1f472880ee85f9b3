// QuantizeLinear(DequantizeLinear(q, scale, zero), scale, zero) = q
#include <algorithm>

#include "opt/quantized.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext& context) {
  const ir::Node node = graph.node(id);
  const ir::Node* back = find_producer(graph, node.inputs[0], "DequantizeLinear");
  if (!back || !same_type(graph, back->inputs[0], node.outputs[0])) return false;
  // Sums of products in i32 are more than the f32 between the two holds; narrow floats overflow.
  const tensor::DType coded = graph.type(back->inputs[0]).dtype;
  if (!tensor::is_integer(coded) || tensor::bits(coded) > 16) return false;
  const int64_t precision = node.attributes.get_int("precision", 0);
  if (graph.type(node.inputs[0]).dtype != tensor::DType::f32 ||
      (precision != 0 && precision != int64_t(tensor::DType::f32))) {
    return context.miss("what lies between the two is not f32");
  }
  const auto zero = [](const ir::Node& of) { return of.inputs.size() > 2 ? of.inputs[2] : ir::Value{}; };
  const bool same = back->inputs[1] == node.inputs[1] && zero(*back) == zero(node) &&
                    back->attributes.get_int("axis", 1) == node.attributes.get_int("axis", 1) &&
                    back->attributes.get_int("block_size", 0) == node.attributes.get_int("block_size", 0);
  if (!same) return context.miss("scale or zero point is another");
  // Factors far from what f32 ends at: the product and the quotient then give q to a hundredth of a step.
  const auto scales = number_list(graph, node.inputs[1]);
  const bool usual = scales && graph.type(node.inputs[1]).dtype == tensor::DType::f32 &&
                     std::all_of(scales->begin(), scales->end(), [](double s) { return s > 1e-30 && s < 1e30; });
  if (!usual) return context.miss("the scales are not constant numbers of f32");
  return replace(graph, id, back->inputs[0]);
}

}  // namespace

const Rule& quantize_dequantized_rule() {
  static const Rule rule{.name = "quantize_dequantized", .roots = {"QuantizeLinear"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt

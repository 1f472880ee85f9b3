// x / sqrt(mean(x^2) + e) * w = RMSNormalization(x, w), for a vector w along the last axis
//
// RMSNormalization works in f32 and rounds to x's type before the product with w. So x of a narrow type must be cast to
// f32 before and back to the same type between the two.
#include "opt/match.h"
#include "opt/norm.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

// x with its epsilon where `value` is the normalised x in x's own type.
std::optional<Normalized> find_rounded(const ir::Graph& graph, ir::Value value) {
  const ir::Node* narrowed = find_producer(graph, value, "Cast");
  if (!narrowed) return find_normalized(graph, value);
  auto normalized = find_normalized(graph, narrowed->inputs[0]);
  if (!normalized || graph.type(narrowed->inputs[0]).dtype != tensor::DType::f32) return std::nullopt;
  const ir::Node* widened = find_producer(graph, normalized->x, "Cast");
  const tensor::DType dtype = graph.type(value).dtype;
  const bool narrow = dtype == tensor::DType::f16 || dtype == tensor::DType::bf16;
  if (!narrow || !widened || graph.type(widened->inputs[0]).dtype != dtype) return std::nullopt;
  normalized->x = widened->inputs[0];
  return normalized;
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext& context) {
  const ir::Node node = graph.node(id);
  for (size_t i = 0; i < 2; ++i) {
    const ir::Value weight = node.inputs[i];
    const auto normalized = find_rounded(graph, node.inputs[1 - i]);
    if (!normalized || find_centred(graph, normalized->x)) continue;  // centred: a layer normalisation
    const ir::Value x = normalized->x;
    const bool wide = find_producer(graph, node.inputs[1 - i], "Cast") || graph.type(x).dtype == tensor::DType::f32;
    if (!wide) return context.miss("its steps round to {}", to_string(graph.type(x).dtype));
    if (!is_along_last_axis(graph, weight, x) || !same_type(graph, x, node.outputs[0])) {
      return context.miss("the factor {} is not a vector along the last axis of {}", op::to_string(graph.type(weight)),
                          op::to_string(graph.type(x)));
    }
    op::Attributes attributes = {{"axis", int64_t{-1}}, {"epsilon", normalized->epsilon}};
    return replace_same_type(
        graph, id, graph.add_node("RMSNormalization", {x, weight}, std::move(attributes), node.name, 1, id));
  }
  return false;
}

}  // namespace

const Rule& rms_normalization_rule() {
  static const Rule rule{.name = "rms_normalization", .roots = {"Mul"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt

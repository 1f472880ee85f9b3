// a == b, broadcast, on numbers, booleans and strings; NaN equals nothing.
#include "op/elementwise.h"

namespace lathe::op {
namespace {

void infer_equal(InferContext& context) {
  infer_compare(context, kNumeric | kBool | kString);
  combine_elements(context, [](const tensor::Dim& a, const tensor::Dim& b) -> std::optional<tensor::Dim> {
    if (const auto difference = (a - b).constant()) return tensor::Dim(*difference == 0);
    // Lengths are not negative: what is above the other by at least 1 differs from it.
    if (provably_at_least(a, b + tensor::Dim(1)) || provably_at_least(b, a + tensor::Dim(1)))
      return tensor::Dim(0);
    return std::nullopt;
  });
}

void evaluate_equal(EvaluateContext& context) {
  const tensor::Tensor& a = context.inputs[0];
  const tensor::Tensor& b = context.inputs[1];
  if (a.dtype() != tensor::DType::string) {
    evaluate_compare(context, [](auto x, auto y) { return x == y; });
    return;
  }
  const tensor::Dims dims = broadcast_dims(a.dims(), b.dims());
  Walk walk_a(dims, broadcast_strides(a.dims(), dims));
  Walk walk_b(dims, broadcast_strides(b.dims(), dims));
  std::vector<uint64_t> values(size_t(tensor::element_count(std::span(dims))));
  for (uint64_t& value : values)
    value = a.strings()[size_t(walk_a.next())] == b.strings()[size_t(walk_b.next())];
  context.outputs[0] = store(tensor::DType::boolean, dims, values);
}

}  // namespace

const OpDef& equal_op() {
  static const OpDef def{.name = "Equal",
                         .min_inputs = 2,
                         .max_inputs = 2,
                         .elementwise = true,
                         .infer = infer_equal,
                         .evaluate = evaluate_equal};
  return def;
}

}  // namespace lathe::op

// The second text after the first, broadcast.
#include "op/elementwise.h"

namespace lathe::op {
namespace {

void evaluate_string_concat(EvaluateContext& context) {
  const tensor::Tensor& a = context.inputs[0];
  const tensor::Tensor& b = context.inputs[1];
  const tensor::Dims dims = broadcast_dims(a.dims(), b.dims());
  Walk walk_a(dims, broadcast_strides(a.dims(), dims));
  Walk walk_b(dims, broadcast_strides(b.dims(), dims));
  tensor::Tensor result(tensor::DType::string, dims);
  for (std::string& text : result.strings()) {
    text = a.strings()[size_t(walk_a.next())] + b.strings()[size_t(walk_b.next())];
  }
  context.outputs[0] = std::move(result);
}

}  // namespace

const OpDef& string_concat_op() {
  static const OpDef def{
      .name = "StringConcat",
      .min_inputs = 2,
      .max_inputs = 2,
      .since = 20,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_binary(context, kString); },
      .evaluate = evaluate_string_concat,
  };
  return def;
}

}  // namespace lathe::op

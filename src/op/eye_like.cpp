// A matrix of another's shape with ones on diagonal k (above the main one if positive) and zeros elsewhere.
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;

void infer_eye_like(InferContext& context) {
  const TypeInfo& x = require(context, 0, kNumeric | kBool);
  require_rank(context, 0, 2);
  const int64_t asked = context.attributes.get_int("dtype", int64_t(x.dtype));
  if (asked < 1 || asked > int64_t(DType::i2) || !(set_of(DType(asked)) & (kNumeric | kBool)))
    bad(context, "dtype is {}", asked);
  context.outputs[0] = {DType(asked), x.shape, std::nullopt};
}

void evaluate_eye_like(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const int64_t k = context.attributes.get_int("k", 0);
  const int64_t columns = x.dims()[1];
  std::vector<double> values(size_t(x.size()));
  for (int64_t i = 0; i < x.size(); ++i) values[size_t(i)] = i % columns - i / columns == k ? 1 : 0;
  context.outputs[0] = store(DType(context.attributes.get_int("dtype", int64_t(x.dtype()))), x.dims(), values);
}

}  // namespace

const OpDef& eye_like_op() {
  static const OpDef def{
      .name = "EyeLike",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"dtype", AttributeKind::integer}, {"k", AttributeKind::integer}},
      .infer = infer_eye_like,
      .evaluate = evaluate_eye_like,
  };
  return def;
}

}  // namespace lathe::op

// 1 with the probability that the input's element says, else 0.
#include "op/inference.h"
#include "op/random.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;

void infer_bernoulli(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat);
  const int64_t asked = context.attributes.get_int("dtype", int64_t(x.dtype));
  if (asked < 1 || asked > int64_t(DType::i2) || !(set_of(DType(asked)) & (kNumeric | kBool)))
    bad(context, "dtype is {}", asked);
  context.outputs[0] = {DType(asked), x.shape, std::nullopt};
}

void evaluate_bernoulli(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  RandomStream stream(context.attributes);
  std::vector<double> values = load<double>(x);
  for (double& value : values) value = stream.uniform() < value ? 1 : 0;
  context.outputs[0] = store(drawn_dtype(context.attributes, x.dtype()), x.dims(), values);
}

}  // namespace

const OpDef& bernoulli_op() {
  static const OpDef def{
      .name = "Bernoulli",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"dtype", AttributeKind::integer}, {"seed", AttributeKind::real}},
      .since = 15,
      .infer = infer_bernoulli,
      .evaluate = evaluate_bernoulli,
  };
  return def;
}

}  // namespace lathe::op

// e^x divided by the sum of e^x along an axis.
#include "op/elementwise.h"
#include "op/lines.h"

namespace lathe::op {
namespace {

void infer_softmax(InferContext& context) {
  infer_unary(context, kFloat);
  axis_index(context, context.attributes.get_int("axis", -1), context.input(0).shape.size());
}

void evaluate_softmax(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  std::vector<double> values = load<double>(x);
  const size_t axis = axis_index(context.attributes.get_int("axis", -1), x.rank());
  for_each_line(x.dims(), axis, [&](const Line& line, int64_t) { softmax_line(values, line); });
  context.outputs[0] = store(x.dtype(), x.dims(), values);
}

}  // namespace

const OpDef& softmax_op() {
  static const OpDef def{
      .name = "Softmax",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"axis", AttributeKind::integer}},
      .infer = infer_softmax,
      .evaluate = evaluate_softmax,
  };
  return def;
}

}  // namespace lathe::op

// The logarithm of Softmax: x - max - log(sum of e^(x - max)) along an axis.
#include <algorithm>
#include <cmath>
#include <limits>

#include "op/elementwise.h"
#include "op/lines.h"

namespace lathe::op {
namespace {

void infer_log_softmax(InferContext& context) {
  infer_unary(context, kFloat);
  axis_index(context, context.attributes.get_int("axis", -1), context.input(0).shape.size());
}

void evaluate_log_softmax(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  std::vector<double> values = load<double>(x);
  const size_t axis = axis_index(context.attributes.get_int("axis", -1), x.rank());
  for_each_line(x.dims(), axis, [&](const Line& line, int64_t) {
    double largest = -std::numeric_limits<double>::infinity();
    for (int64_t j = 0; j < line.count; ++j) largest = std::max(largest, values[size_t(line.at(j))]);
    double sum = 0;
    for (int64_t j = 0; j < line.count; ++j) sum += std::exp(values[size_t(line.at(j))] - largest);
    for (int64_t j = 0; j < line.count; ++j) values[size_t(line.at(j))] -= largest + std::log(sum);
  });
  context.outputs[0] = store(x.dtype(), x.dims(), values);
}

}  // namespace

const OpDef& log_softmax_op() {
  static const OpDef def{
      .name = "LogSoftmax",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"axis", AttributeKind::integer}},
      .infer = infer_log_softmax,
      .evaluate = evaluate_log_softmax,
  };
  return def;
}

}  // namespace lathe::op

// x / (bias + alpha / size * sum of squares of the channels around)^beta.
#include <algorithm>
#include <cmath>

#include "op/elementwise.h"
#include "op/lines.h"

namespace lathe::op {
namespace {

void infer_lrn(InferContext& context) {
  infer_unary(context, kFloat);
  if (context.input(0).shape.size() < 2) bad(context, "expected [batch, channels, ...]");
  const int64_t size = context.attributes.find_int("size").value();
  if (size < 1) bad(context, "size is {}", size);
}

void evaluate_lrn(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const double alpha = context.attributes.get_float("alpha", 0.0001);
  const double beta = context.attributes.get_float("beta", 0.75);
  const double bias = context.attributes.get_float("bias", 1);
  const int64_t size = context.attributes.find_int("size").value();
  const std::vector<double> values = load<double>(x);
  std::vector<double> y(values.size());
  for_each_line(x.dims(), 1, [&](const Line& line, int64_t) {
    // Channel c sees (size - 1) / 2 channels before itself and the rest of size after.
    const int64_t before = std::min((size - 1) / 2, line.count);
    const int64_t after = std::min(size - 1 - (size - 1) / 2, line.count);
    for (int64_t c = 0; c < line.count; ++c) {
      double sum = 0;
      for (int64_t i = std::max<int64_t>(0, c - before); i <= std::min(line.count - 1, c + after); ++i) {
        const double value = values[size_t(line.at(i))];
        sum += value * value;
      }
      const size_t at = size_t(line.at(c));
      y[at] = values[at] / std::pow(bias + alpha / double(size) * sum, beta);
    }
  });
  context.outputs[0] = store(x.dtype(), x.dims(), y);
}

}  // namespace

const OpDef& lrn_op() {
  static const OpDef def{
      .name = "LRN",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"alpha", AttributeKind::real},
                     {"beta", AttributeKind::real},
                     {"bias", AttributeKind::real},
                     {"size", AttributeKind::integer, true}},
      .infer = infer_lrn,
      .evaluate = evaluate_lrn,
  };
  return def;
}

}  // namespace lathe::op

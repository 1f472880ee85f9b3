// 1 at the first of the largest elements along an axis, 0 elsewhere. A NaN counts as larger than any number.
#include <cmath>

#include "op/elementwise.h"
#include "op/lines.h"

namespace lathe::op {
namespace {

void infer_hardmax(InferContext& context) {
  infer_unary(context, kFloat);
  axis_index(context, context.attributes.get_int("axis", -1), context.input(0).shape.size());
}

void evaluate_hardmax(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const std::vector<double> values = load<double>(x);
  std::vector<double> result(values.size(), 0);
  const size_t axis = axis_index(context.attributes.get_int("axis", -1), x.rank());
  for_each_line(x.dims(), axis, [&](const Line& line, int64_t) {
    if (line.count == 0) return;
    int64_t best = 0;
    for (int64_t j = 1; j < line.count; ++j) {
      const double candidate = values[size_t(line.at(j))];
      const double champion = values[size_t(line.at(best))];
      if (candidate > champion || (std::isnan(candidate) && !std::isnan(champion))) best = j;
    }
    result[size_t(line.at(best))] = 1;
  });
  context.outputs[0] = store(x.dtype(), x.dims(), result);
}

}  // namespace

const OpDef& hardmax_op() {
  static const OpDef def{
      .name = "Hardmax",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"axis", AttributeKind::integer}},
      .infer = infer_hardmax,
      .evaluate = evaluate_hardmax,
  };
  return def;
}

}  // namespace lathe::op

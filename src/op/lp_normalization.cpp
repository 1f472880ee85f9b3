// x divided by its 1-norm or 2-norm along an axis; a line of zeros stays zeros.
#include <cmath>

#include "op/elementwise.h"
#include "op/lines.h"

namespace lathe::op {
namespace {

void infer_lp_normalization(InferContext& context) {
  infer_unary(context, kFloat);
  axis_index(context, context.attributes.get_int("axis", -1), context.input(0).shape.size());
  const int64_t p = context.attributes.get_int("p", 2);
  if (p != 1 && p != 2) bad(context, "p: expected 1 or 2, found {}", p);
}

void evaluate_lp_normalization(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  std::vector<double> values = load<double>(x);
  const size_t axis = axis_index(context.attributes.get_int("axis", -1), x.rank());
  const bool squares = context.attributes.get_int("p", 2) == 2;
  for_each_line(x.dims(), axis, [&](const Line& line, int64_t) {
    double sum = 0;
    for (int64_t j = 0; j < line.count; ++j) {
      const double value = values[size_t(line.at(j))];
      sum += squares ? value * value : std::abs(value);
    }
    const double norm = squares ? std::sqrt(sum) : sum;
    if (norm == 0) return;
    for (int64_t j = 0; j < line.count; ++j) values[size_t(line.at(j))] /= norm;
  });
  context.outputs[0] = store(x.dtype(), x.dims(), values);
}

}  // namespace

const OpDef& lp_normalization_op() {
  static const OpDef def{
      .name = "LpNormalization",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"axis", AttributeKind::integer}, {"p", AttributeKind::integer}},
      .infer = infer_lp_normalization,
      .evaluate = evaluate_lp_normalization,
  };
  return def;
}

}  // namespace lathe::op

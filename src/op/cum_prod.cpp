// Running products along an axis; `exclusive` leaves the element itself out, `reverse` starts from the end.
#include "op/elementwise.h"
#include "op/lines.h"

namespace lathe::op {
namespace {

void infer_cum_prod(InferContext& context) {
  infer_unary(context, kNumeric);
  const tensor::DType axis_type = context.input(1).dtype;
  if (axis_type != tensor::DType::i32 && axis_type != tensor::DType::i64) bad(context, "axis must be i32 or i64");
  const auto count = tensor::element_count(context.input(1).shape).constant();
  if (count && *count != 1) bad(context, "axis: expected a scalar, found {}", to_string(context.input(1)));
  if (const auto axis = known_ints(context, 1)) axis_index(context, axis->front(), context.input(0).shape.size());
}

void evaluate_cum_prod(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const size_t axis = axis_index(load_int(context.inputs[1]), x.rank());
  const bool exclusive = context.attributes.get_int("exclusive", 0) != 0;
  const bool reverse = context.attributes.get_int("reverse", 0) != 0;
  context.outputs[0] = with_compute_type(x.dtype(), [&](auto zero) {
    auto values = load<decltype(zero)>(x);
    for_each_line(x.dims(), axis, [&](const Line& line, int64_t) {
      auto total = decltype(zero)(1);
      for (int64_t j = 0; j < line.count; ++j) {
        auto& value = values[size_t(line.at(reverse ? line.count - 1 - j : j))];
        const auto before = total;
        total = WrappingMultiply{}(total, value);
        value = exclusive ? before : total;
      }
    });
    return store(x.dtype(), x.dims(), values);
  });
}

}  // namespace

const OpDef& cum_prod_op() {
  static const OpDef def{
      .name = "CumProd",
      .min_inputs = 2,
      .max_inputs = 2,
      .attributes = {{"exclusive", AttributeKind::integer}, {"reverse", AttributeKind::integer}},
      .since = 26,
      .infer = infer_cum_prod,
      .evaluate = evaluate_cum_prod,
  };
  return def;
}

}  // namespace lathe::op

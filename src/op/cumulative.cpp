#include "op/cumulative.h"

namespace lathe::op {

void infer_cumulative(InferContext& context) {
  infer_unary(context, kNumeric);
  const tensor::DType axis_type = context.input(1).dtype;
  if (axis_type != tensor::DType::i32 && axis_type != tensor::DType::i64) bad(context, "axis must be i32 or i64");
  const auto count = tensor::element_count(context.input(1).shape).constant();
  if (count && *count != 1) bad(context, "axis: expected a scalar, found {}", to_string(context.input(1)));
  if (const auto axis = known_ints(context, 1)) axis_index(context, axis->front(), context.input(0).shape.size());
}

}  // namespace lathe::op

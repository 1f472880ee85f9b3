// The upper or lower triangle of each matrix from diagonal k on; zeros (no text in strings) elsewhere.
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_trilu(InferContext& context) {
  const TypeInfo& data = require(context, 0, kAny);
  if (data.shape.size() < 2) bad(context, "expected rank 2 or more, found {}", to_string(data));
  if (context.has_input(1)) require_dtype(context, 1, tensor::DType::i64);
  context.outputs[0] = {data.dtype, data.shape, std::nullopt};
}

void evaluate_trilu(EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  const bool upper = context.attributes.get_int("upper", 1) != 0;
  const int64_t k = context.has_input(1) ? load_int(context.inputs[1]) : 0;
  const int64_t columns = data.dims().back();
  const int64_t rows = data.dims()[size_t(data.rank()) - 2];
  tensor::Tensor result(data.dtype(), data.dims());
  ElementCopier copier(data, result);
  for (int64_t i = 0; i < data.size(); ++i) {
    const int64_t row = i / columns % rows;
    const int64_t column = i % columns;
    // column - row fits; k may be anything.
    if (upper ? column - row >= k : column - row <= k) copier.copy(i, i);
  }
  context.outputs[0] = std::move(result);
}

}  // namespace

const OpDef& trilu_op() {
  static const OpDef def{
      .name = "Trilu",
      .min_inputs = 1,
      .max_inputs = 2,
      .attributes = {{"upper", AttributeKind::integer}},
      .since = 14,
      .infer = infer_trilu,
      .evaluate = evaluate_trilu,
  };
  return def;
}

}  // namespace lathe::op

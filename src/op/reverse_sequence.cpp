// Each sequence of a batch with its first sequence_lens[i] elements reversed and the others where they were.
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_reverse_sequence(InferContext& context) {
  const TypeInfo& x = require(context, 0, kAny);
  const int64_t batch_axis = context.attributes.get_int("batch_axis", 1);
  const int64_t time_axis = context.attributes.get_int("time_axis", 0);
  if ((batch_axis != 0 || time_axis != 1) && (batch_axis != 1 || time_axis != 0))
    bad(context, "batch_axis {} and time_axis {} are not 0 and 1", batch_axis, time_axis);
  if (x.shape.size() < 2) bad(context, "expected rank 2 or more, found {}", to_string(x));
  require_dtype(context, 1, tensor::DType::i64);
  require_rank(context, 1, 1);
  require_dims_agree(context, "sequence_lens", context.input(1).shape[0], x.shape[size_t(batch_axis)]);
  context.outputs[0] = {x.dtype, x.shape, std::nullopt};
}

void evaluate_reverse_sequence(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const size_t batch_axis = size_t(context.attributes.get_int("batch_axis", 1));
  const size_t time_axis = size_t(context.attributes.get_int("time_axis", 0));
  const std::vector<int64_t> lengths = load<int64_t>(context.inputs[1]);
  for (const int64_t length : lengths) {
    if (length < 0 || length > x.dims()[time_axis])
      fail(ErrorCode::invalid_input, "ReverseSequence: length {} is outside of [0, {}]", length, x.dims()[time_axis]);
  }
  const tensor::Dims strides = contiguous_strides(x.dims());
  Walk walk(x.dims(), strides);
  context.outputs[0] = take(x, x.dims(), [&] {
    const int64_t t = walk.index()[time_axis];
    const int64_t length = lengths[size_t(walk.index()[batch_axis])];
    const int64_t from = t < length ? length - 1 - t : t;
    return walk.next() + (from - t) * strides[time_axis];
  });
}

}  // namespace

const OpDef& reverse_sequence_op() {
  static const OpDef def{
      .name = "ReverseSequence",
      .min_inputs = 2,
      .max_inputs = 2,
      .attributes = {{"batch_axis", AttributeKind::integer}, {"time_axis", AttributeKind::integer}},
      .infer = infer_reverse_sequence,
      .evaluate = evaluate_reverse_sequence,
  };
  return def;
}

}  // namespace lathe::op

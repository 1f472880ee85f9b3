// A sequence of nothing, of tensors of `dtype`.
#include "op/sequences.h"

namespace lathe::op {
namespace {

void infer(InferContext& context) {
  const int64_t dtype = context.attributes.get_int("dtype", int64_t(tensor::DType::f32));
  if (dtype <= 0 || dtype > int64_t(tensor::DType::i2)) bad(context, "dtype {}", dtype);
  context.outputs[0] = TypeInfo::sequence(tensor::DType(dtype));
}

}  // namespace

const OpDef& sequence_empty_op() {
  static const OpDef def{.name = "SequenceEmpty",
                         .attributes = {{"dtype", AttributeKind::integer}},
                         .infers_any = true,
                         .infer = infer,
                         .evaluate_data = [](DataContext& context) { context.outputs[0] = Datum::sequence({}); }};
  return def;
}

}  // namespace lathe::op

// y = table[x], x being bytes: any function of one 8-bit value with an 8-bit result.
//
// Inputs: x u8 or i8, table u8 or i8 [256]; element i of the table is for the x whose bits, as an unsigned number, are
// i.
#include "op/quantized_convolution.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_lathe_table(InferContext& context) {
  require_bytes(context, 0);
  require_bytes(context, 1);
  require_rank(context, 1, 1);
  require_dims_agree(context, "the table", context.input(1).shape[0], tensor::Dim(256));
  context.outputs[0] = {context.input(1).dtype, context.input(0).shape, std::nullopt};
}

void evaluate_lathe_table(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const std::span<const std::byte> bytes = x.bytes();
  int64_t i = 0;
  context.outputs[0] = take(context.inputs[1], x.dims(), [&] { return int64_t(bytes[size_t(i++)]); });
}

}  // namespace

const OpDef& lathe_table_op() {
  static const OpDef def{
      .name = "lathe.Table",
      .min_inputs = 2,
      .max_inputs = 2,
      .infer = infer_lathe_table,
      .evaluate = evaluate_lathe_table,
  };
  return def;
}

}  // namespace lathe::op

// lathe.CausalMask: what is added to attention scores so that a query sees no padding and nothing after
// itself.
//
//   attention_mask [batch, total] i64, 0 is padding; input_ids [batch, sequence] gives the length only
//   -> [batch, 1, sequence, total] of attribute `dtype`: 0 where query i may see key j, that is where
//      attention_mask[j] != 0 and j <= total - sequence + i, else -30000 (f16) or -1e30.
// Finite on purpose: a row of padding then softmaxes to numbers, not NaN.
#include "op/inference.h"

namespace lathe::op {
namespace {

using tensor::DType;

void infer(InferContext& context) {
  const TypeInfo& mask = require_dtype(context, 0, DType::i64);
  const TypeInfo& ids = require_dtype(context, 1, DType::i64);
  require_rank(context, 0, 2);
  require_rank(context, 1, 2);
  require_dims_agree(context, "batch", mask.shape[0], ids.shape[0]);
  const int64_t number = context.attributes.get_int("dtype", int64_t(DType::f32));
  const auto dtype = DType(number);
  if (dtype != DType::f32 && dtype != DType::f16 && dtype != DType::bf16) {
    bad(context, "attribute dtype: expected f32, f16 or bf16, found the number {}", number);
  }
  context.outputs[0] = {dtype, {mask.shape[0], 1, ids.shape[1], mask.shape[1]}, {}};
}

void evaluate(EvaluateContext& context) {
  const tensor::Tensor& mask = context.inputs[0];
  const auto dtype = DType(context.attributes.get_int("dtype", int64_t(DType::f32)));
  const double hidden = dtype == DType::f16 ? -30000 : -1e30;
  const int64_t batch = mask.dims()[0];
  const int64_t total = mask.dims()[1];
  const int64_t sequence = context.inputs[1].dims()[1];
  tensor::Tensor result(dtype, {batch, 1, sequence, total});
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t i = 0; i < sequence; ++i) {
      for (int64_t j = 0; j < total; ++j) {
        const bool seen = tensor::element_as_double(mask, b * total + j) != 0 && j <= total - sequence + i;
        tensor::set_element(result, (b * sequence + i) * total + j, seen ? 0 : hidden);
      }
    }
  }
  context.outputs[0] = std::move(result);
}

}  // namespace

const OpDef& lathe_causal_mask_op() {
  static const OpDef kDef = {.name = "lathe.CausalMask",
                             .min_inputs = 2,
                             .max_inputs = 2,
                             .attributes = {{"dtype", AttributeKind::integer}},
                             .infer = infer,
                             .evaluate = evaluate};
  return kDef;
}

}  // namespace lathe::op

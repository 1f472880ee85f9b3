// The matrix product of 8-bit integers less their zero points, in 32 bits (wrapping).
#include "op/batched_products.h"

namespace lathe::op {
namespace {

using tensor::DType;

constexpr int kSummed[] = {-1, -2};  // the axis of a and of b that is summed over

void infer_mat_mul_integer(InferContext& context) {
  for (size_t i = 0; i < 2; ++i) {
    const DType dtype = context.input(i).dtype;
    if (dtype != DType::i8 && dtype != DType::u8)
      bad(context, "input {}: expected i8 or u8, found {}", i, to_string(context.input(i)));
    require_same_dtype(context, i, i + 2);
  }
  context.outputs[0] = {DType::i32, product_shape(context, 0, 1), std::nullopt};
  for (size_t i = 0; i < 2; ++i) check_per_line(context, i + 2, i, kSummed[i]);
}

std::vector<int64_t> load_centred(const EvaluateContext& context, size_t i) {
  std::vector<int64_t> values = load<int64_t>(context.inputs[i]);
  if (!context.has_input(i + 2)) return values;
  const std::vector<int64_t> zeros = load<int64_t>(context.inputs[i + 2]);
  const std::vector<int64_t> index = per_line_index(context.inputs[i + 2], context.inputs[i].dims(), kSummed[i]);
  for (size_t j = 0; j < values.size(); ++j) values[j] -= zeros[size_t(index[j])];
  return values;
}

}  // namespace

const OpDef& mat_mul_integer_op() {
  static const OpDef def{
      .name = "MatMulInteger",
      .min_inputs = 2,
      .max_inputs = 4,
      .infer = infer_mat_mul_integer,
      .evaluate =
          [](EvaluateContext& context) {
            const ProductPlan plan = plan_product(context.inputs[0].dims(), context.inputs[1].dims());
            context.outputs[0] =
                store(DType::i32, plan.dims, product(plan, load_centred(context, 0), load_centred(context, 1)));
          },
  };
  return def;
}

}  // namespace lathe::op

// A product of rows of 8-bit integers with a matrix of them, with what follows it (op/quantized_product.h).
//
// Inputs: x [.., K], w [M, K], then those of quantized_product.h; output [.., M]. Attributes as lathe.QConv has them.
#include "op/products.h"
#include "op/quantized_product.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_lathe_q_linear(InferContext& context) {
  tensor::Shape shape = context.input(kQX).shape;
  if (shape.empty()) bad(context, "x is a scalar");
  require_rank(context, kQWeights, 2);
  const tensor::Shape& w = context.input(kQWeights).shape;
  require_dims_agree(context, "columns", shape.back(), w[1]);
  shape.back() = w[0];
  context.outputs[0] = infer_quantized_product(context, std::move(shape), w[0]);
}

void evaluate_lathe_q_linear(EvaluateContext& context) {
  tensor::Dims dims = context.inputs[kQX].dims();
  const int64_t columns = dims.back(), features = context.inputs[kQWeights].dims()[0];
  const int64_t rows = count_of(dims, 0, dims.size() - 1);
  dims.back() = features;
  const std::vector<int64_t> x = load_quantized_x(context), w = load_quantized_weights(context);
  std::vector<int64_t> sums(size_t(rows * features));
  multiply(x.data(), columns, 1, w.data(), 1, columns, rows, columns, features, sums.data());
  context.outputs[0] = finish_quantized_product(context, sums, dims, features, 1);
}

}  // namespace

const OpDef& lathe_q_linear_op() {
  static const OpDef def{
      .name = "lathe.QLinear",
      .min_inputs = 2,
      .max_inputs = kQInputs,
      .attributes = quantized_attributes(),
      .infer = infer_lathe_q_linear,
      .evaluate = evaluate_lathe_q_linear,
  };
  return def;
}

}  // namespace lathe::op

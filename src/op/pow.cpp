// base ^ exponent, broadcast; the result has the type of the base.
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
namespace {

// Integer power by squaring, wrapping. Negative exponents give what truncation of the fraction gives.
int64_t integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 1) return 1;
    if (base == -1) return exponent % 2 == 0 ? 1 : -1;
    return 0;
  }
  uint64_t result = 1;
  uint64_t factor = uint64_t(base);
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result *= factor;
    factor *= factor;
  }
  return int64_t(result);
}

void infer_pow(InferContext& context) {
  const TypeInfo& base = require(context, 0, kFloat | kInteger);
  const TypeInfo& exponent = require(context, 1, kNumeric);
  tensor::Shape shape = with_context("Pow", [&] { return tensor::broadcast(base.shape, exponent.shape); });
  context.outputs[0] = {base.dtype, std::move(shape), std::nullopt};
}

void evaluate_pow(EvaluateContext& context) {
  const tensor::Tensor& base = context.inputs[0];
  const tensor::Tensor& exponent = context.inputs[1];
  const bool integers = tensor::is_integer(base.dtype()) && tensor::is_integer(exponent.dtype());
  if (integers) {
    const tensor::Tensor wide_base = store(tensor::DType::i64, base.dims(), load<int64_t>(base));
    const tensor::Tensor wide_exponent = store(tensor::DType::i64, exponent.dims(), load<int64_t>(exponent));
    context.outputs[0] = map(wide_base, wide_exponent, base.dtype(),
                             [](auto a, auto b) { return integer_power(int64_t(a), int64_t(b)); });
    return;
  }
  const tensor::Tensor real_base = store(tensor::DType::f64, base.dims(), load<double>(base));
  const tensor::Tensor real_exponent = store(tensor::DType::f64, exponent.dims(), load<double>(exponent));
  context.outputs[0] = map(real_base, real_exponent, base.dtype(),
                           [](auto a, auto b) { return std::pow(double(a), double(b)); });
}

}  // namespace

const OpDef& pow_op() {
  static const OpDef def{
      .name = "Pow", .min_inputs = 2, .max_inputs = 2, .infer = infer_pow, .evaluate = evaluate_pow};
  return def;
}

}  // namespace lathe::op

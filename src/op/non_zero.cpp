// The coordinates of the elements that are not zero (strings: not empty), [rank, count], in row-major order.
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_non_zero(InferContext& context) {
  const TypeInfo& x = require(context, 0, kNumeric | kBool | kString | kComplex);
  context.outputs[0] = {
      tensor::DType::i64, {tensor::Dim(int64_t(x.shape.size())), unknown_dim(context, 0)}, std::nullopt};
}

// 0 exactly where the element is.
std::vector<double> as_numbers(const tensor::Tensor& x) {
  std::vector<double> values(size_t(x.size()));
  const auto either_part = [&](auto parts) {
    for (size_t i = 0; i < values.size(); ++i) values[i] = parts[2 * i] != 0 || parts[2 * i + 1] != 0;
  };
  switch (x.dtype()) {
    case tensor::DType::string:
      for (size_t i = 0; i < values.size(); ++i) values[i] = !x.strings()[i].empty();
      return values;
    case tensor::DType::c64:
      either_part(x.data<float>());
      return values;
    case tensor::DType::c128:
      either_part(x.data<double>());
      return values;
    default:
      return load<double>(x);
  }
}

void evaluate_non_zero(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const std::vector<double> values = as_numbers(x);
  const tensor::Dims strides = contiguous_strides(x.dims());
  std::vector<int64_t> found;
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] != 0) found.push_back(int64_t(i));
  }
  std::vector<int64_t> coordinates;
  for (size_t d = 0; d < strides.size(); ++d) {
    for (const int64_t at : found) coordinates.push_back(at / strides[d] % x.dims()[d]);
  }
  context.outputs[0] = store(tensor::DType::i64, {x.rank(), int64_t(found.size())}, coordinates);
}

}  // namespace

const OpDef& non_zero_op() {
  static const OpDef def{
      .name = "NonZero", .min_inputs = 1, .max_inputs = 1, .infer = infer_non_zero, .evaluate = evaluate_non_zero};
  return def;
}

}  // namespace lathe::op

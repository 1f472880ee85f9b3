#include "op/windows.h"

#include <cmath>
#include <numbers>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_window(InferContext& context) {
  const TypeInfo& size = context.input(0);
  if (size.dtype != tensor::DType::i32 && size.dtype != tensor::DType::i64)
    bad(context, "size: expected i32 or i64, found {}", to_string(size));
  const auto count = tensor::element_count(size.shape).constant();
  if (count && *count != 1) bad(context, "size: expected a scalar, found {}", to_string(size));
  const auto known = known_dims(context, 0);
  const tensor::Dim length = known ? known->front() : unknown_dim(context, 0);
  if (length.constant().value_or(0) < 0) bad(context, "size is {}", length.to_string());
  context.outputs[0] = {output_datatype(context.attributes), {length}, std::nullopt};
}

}  // namespace

tensor::DType output_datatype(const Attributes& attributes) {
  const int64_t asked = attributes.get_int("output_datatype", int64_t(tensor::DType::f32));
  if (asked < 1 || asked > int64_t(tensor::DType::i2) || !(set_of(tensor::DType(asked)) & kNumeric))
    fail(ErrorCode::invalid_input, "output_datatype is {}", asked);
  return tensor::DType(asked);
}

OpDef window_def(std::string_view name, void (*evaluate)(EvaluateContext&)) {
  return {
      .name = name,
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"output_datatype", AttributeKind::integer}, {"periodic", AttributeKind::integer}},
      .since = 17,
      .infer = infer_window,
      .evaluate = evaluate,
  };
}

void evaluate_window(EvaluateContext& context, const WindowCoefficients& c) {
  const int64_t size = load_int(context.inputs[0]);
  if (size < 0) fail(ErrorCode::invalid_input, "a window of size {}", size);
  const bool periodic = context.attributes.get_int("periodic", 1) != 0;
  // A symmetric window of one element is its beginning.
  const double period = double(periodic || size == 1 ? size : size - 1);
  std::vector<double> values(static_cast<size_t>(size));
  for (size_t n = 0; n < values.size(); ++n) {
    const double angle = 2 * std::numbers::pi * double(n) / period;
    values[n] = c[0] - c[1] * std::cos(angle) + c[2] * std::cos(2 * angle);
  }
  context.outputs[0] = store(output_datatype(context.attributes), {size}, values);
}

}  // namespace lathe::op

// The dimensions of a tensor from `start` to `end`, as numbers.
#include <algorithm>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

// [first, last) after wrapping and clamping.
std::pair<int64_t, int64_t> bounds(const Attributes& attributes, int64_t rank) {
  const auto clamp = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank); };
  const int64_t first = clamp(attributes.get_int("start", 0));
  return {first, std::max(first, clamp(attributes.get_int("end", rank)))};
}

void infer_shape(InferContext& context) {
  const tensor::Shape& shape = require(context, 0, kAny).shape;
  const auto [first, last] = bounds(context.attributes, int64_t(shape.size()));
  context.outputs[0] = {tensor::DType::i64, {tensor::Dim(last - first)}, std::nullopt};
  set_elements(context.outputs[0],
               std::vector(shape.begin() + std::ptrdiff_t(first), shape.begin() + std::ptrdiff_t(last)));
}

void evaluate_shape(EvaluateContext& context) {
  const tensor::Dims& dims = context.inputs[0].dims();
  const auto [first, last] = bounds(context.attributes, int64_t(dims.size()));
  const std::vector<int64_t> part(dims.begin() + std::ptrdiff_t(first), dims.begin() + std::ptrdiff_t(last));
  context.outputs[0] = store(tensor::DType::i64, {last - first}, part);
}

}  // namespace

const OpDef& shape_op() {
  static const OpDef def{
      .name = "Shape",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"start", AttributeKind::integer, false, 15}, {"end", AttributeKind::integer, false, 15}},
      .infer = infer_shape,
      .evaluate = evaluate_shape,
  };
  return def;
}

}  // namespace lathe::op

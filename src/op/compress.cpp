// The slices along an axis (without one: the elements of the flattened tensor) whose condition is true; what the
// condition does not reach is left out.
#include <algorithm>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_compress(InferContext& context) {
  const TypeInfo& data = require(context, 0, kAny);
  const TypeInfo& condition = require_dtype(context, 1, tensor::DType::boolean);
  require_rank(context, 1, 1);
  const auto axis = context.attributes.find_int("axis");
  tensor::Shape shape = axis ? data.shape : tensor::Shape{tensor::element_count(data.shape)};
  tensor::Dim& kept = shape[axis ? axis_index(context, *axis, shape.size()) : 0];
  const auto room = (kept - condition.shape[0]).constant();
  if (room && *room < 0) {
    bad(context, "condition of length {} for {} slices", condition.shape[0].to_string(), kept.to_string());
  }
  const auto known = known_ints(context, 1);
  kept = known ? tensor::Dim(std::count_if(known->begin(), known->end(), [](int64_t c) { return c != 0; }))
               : unknown_dim(context, 0);
  context.outputs[0] = {data.dtype, std::move(shape), std::nullopt};
}

void evaluate_compress(EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  const auto axis = context.attributes.find_int("axis");
  tensor::Dims dims = axis ? data.dims() : tensor::Dims{data.size()};
  const size_t along = axis ? axis_index(*axis, data.rank()) : 0;
  const int64_t length = dims[along];
  const std::vector<int64_t> condition = load<int64_t>(context.inputs[1]);
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < int64_t(condition.size()); ++i) {
    if (!condition[size_t(i)]) continue;
    if (i >= length) fail(ErrorCode::invalid_input, "Compress: slice {} of {} is asked for", i, length);
    kept.push_back(i);
  }
  const int64_t outer = count_of(dims, 0, along);
  const int64_t inner = count_of(dims, along + 1, dims.size());
  dims[along] = int64_t(kept.size());
  tensor::Tensor result(data.dtype(), std::move(dims));
  ElementCopier copier(data, result);
  int64_t to = 0;
  for (int64_t o = 0; o < outer; ++o) {
    for (const int64_t k : kept) {
      for (int64_t i = 0; i < inner; ++i) copier.copy((o * length + k) * inner + i, to++);
    }
  }
  context.outputs[0] = std::move(result);
}

}  // namespace

const OpDef& compress_op() {
  static const OpDef def{
      .name = "Compress",
      .min_inputs = 2,
      .max_inputs = 2,
      .attributes = {{"axis", AttributeKind::integer}},
      .infer = infer_compress,
      .evaluate = evaluate_compress,
  };
  return def;
}

}  // namespace lathe::op

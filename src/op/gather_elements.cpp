// One element per index: the index replaces the coordinate along `axis`, the others are the index's own.
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_gather_elements(InferContext& context) {
  const TypeInfo& data = require(context, 0, kAny);
  const TypeInfo& indices = require(context, 1, kSigned);
  const size_t axis = axis_index(context, context.attributes.get_int("axis", 0), data.shape.size());
  require_rank(context, 1, data.shape.size());
  for (size_t i = 0; i < data.shape.size(); ++i) {
    const auto difference = (data.shape[i] - indices.shape[i]).constant();
    if (i != axis && difference && *difference < 0) {
      bad(context, "dimension {} of the indices {} exceeds that of {}", i, to_string(indices),
          to_string(data));
    }
  }
  context.outputs[0] = {data.dtype, indices.shape, std::nullopt};
}

void evaluate_gather_elements(EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  const tensor::Tensor& indices = context.inputs[1];
  const size_t axis = axis_index(context.attributes.get_int("axis", 0), data.rank());
  const int64_t length = data.dims()[axis];
  const std::vector<int64_t> wanted = load<int64_t>(indices);
  tensor::Dims strides = contiguous_strides(data.dims());
  const int64_t step = strides[axis];
  strides[axis] = 0;
  Walk walk(indices.dims(), std::move(strides));
  context.outputs[0] = take(data, indices.dims(), [&, i = size_t{0}]() mutable {
    int64_t index = wanted[i++];
    if (index < -length || index >= length) {
      fail(ErrorCode::invalid_input, "GatherElements: index {} is outside of length {}", index, length);
    }
    return walk.next() + (index < 0 ? index + length : index) * step;
  });
}

}  // namespace

const OpDef& gather_elements_op() {
  static const OpDef def{
      .name = "GatherElements",
      .min_inputs = 2,
      .max_inputs = 2,
      .attributes = {{"axis", AttributeKind::integer}},
      .infer = infer_gather_elements,
      .evaluate = evaluate_gather_elements,
  };
  return def;
}

}  // namespace lathe::op

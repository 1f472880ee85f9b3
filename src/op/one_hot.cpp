// A new axis of length `depth` that holds the on value at each index and the off value elsewhere; indices
// outside of [-depth, depth) give off values only.
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

// A depth of any numeric type; fractions are cut off.
int64_t depth_of(const tensor::Tensor& depth) {
  return load_int(store(tensor::DType::i64, depth.dims(), load<double>(depth)));
}

size_t new_axis(int64_t axis, size_t rank) {
  return size_t(axis < 0 ? axis + int64_t(rank) + 1 : axis);
}

void infer_one_hot(InferContext& context) {
  const TypeInfo& indices = require(context, 0, kNumeric);
  require(context, 1, kNumeric);
  const TypeInfo& values = require(context, 2, kAny);
  require_rank(context, 2, 1);
  require_dims_agree(context, "values", values.shape[0], tensor::Dim(2));
  const int64_t axis = context.attributes.get_int("axis", -1);
  axis_index(context, axis, indices.shape.size() + 1);
  tensor::Dim depth = unknown_dim(context, 0);
  const tensor::Tensor* constant = context.constants.size() > 1 ? context.constants[1] : nullptr;
  if (constant && constant->size() == 1)
    depth = tensor::Dim(depth_of(*constant));
  else if (const auto known = known_dims(context, 1); known && known->size() == 1)
    depth = known->front();
  if (depth.constant().value_or(1) < 0) bad(context, "depth is {}", depth.to_string());
  tensor::Shape shape = indices.shape;
  shape.insert(shape.begin() + std::ptrdiff_t(new_axis(axis, shape.size())), depth);
  context.outputs[0] = {values.dtype, std::move(shape), std::nullopt};
}

void evaluate_one_hot(EvaluateContext& context) {
  const tensor::Tensor& indices = context.inputs[0];
  const int64_t depth = depth_of(context.inputs[1]);
  const size_t axis = new_axis(context.attributes.get_int("axis", -1), size_t(indices.rank()));
  tensor::Dims dims = indices.dims();
  dims.insert(dims.begin() + std::ptrdiff_t(axis), depth);
  const int64_t inner = count_of(dims, axis + 1, dims.size());
  const std::vector<double> wanted = load<double>(indices);
  int64_t at = 0;
  context.outputs[0] = take(context.inputs[2], dims, [&] {
    const int64_t row = at / inner / depth;
    const int64_t position = at / inner % depth;
    double index = wanted[size_t(row * inner + at % inner)];
    if (index < 0) index += double(depth);
    ++at;
    return index == double(position) ? 1 : 0;  // values are [off, on]
  });
}

}  // namespace

const OpDef& one_hot_op() {
  static const OpDef def{
      .name = "OneHot",
      .min_inputs = 3,
      .max_inputs = 3,
      .attributes = {{"axis", AttributeKind::integer}},
      .infer = infer_one_hot,
      .evaluate = evaluate_one_hot,
  };
  return def;
}

}  // namespace lathe::op

// The axes in another order; reversed if no order is given.
#include <algorithm>

#include "op/copy_region.h"
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

std::vector<int64_t> permutation(const Attributes& attributes, size_t rank) {
  std::vector<int64_t> reversed;
  for (size_t i = rank; i-- > 0;) reversed.push_back(int64_t(i));
  return attributes.find_ints("perm").value_or(std::move(reversed));
}

void infer_transpose(InferContext& context) {
  const TypeInfo& data = require(context, 0, kAny);
  const std::vector<int64_t> perm = permutation(context.attributes, data.shape.size());
  std::vector<int64_t> sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  bool good = perm.size() == data.shape.size();
  for (size_t i = 0; good && i < sorted.size(); ++i) good = sorted[i] == int64_t(i);
  if (!good) bad(context, "[{}] is no permutation of the axes of {}", fmt::join(perm, ", "), to_string(data));
  tensor::Shape shape;
  for (const int64_t axis : perm) shape.push_back(data.shape[size_t(axis)]);
  context.outputs[0] = {data.dtype, std::move(shape), std::nullopt};
  set_elements(context.outputs[0], known_dims(context, 0));  // rank 0 or 1 stays as it is
}

void evaluate_transpose(EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  const tensor::Dims own = contiguous_strides(data.dims());
  tensor::Dims dims;
  tensor::Dims strides;
  for (const int64_t axis : permutation(context.attributes, size_t(data.rank()))) {
    dims.push_back(data.dims()[size_t(axis)]);
    strides.push_back(own[size_t(axis)]);
  }
  context.outputs[0] = take_region(data, std::move(dims), {std::move(strides)});
}

}  // namespace

const OpDef& transpose_op() {
  static const OpDef def{
      .name = "Transpose",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"perm", AttributeKind::integers}},
      .infer = infer_transpose,
      .evaluate = evaluate_transpose,
  };
  return def;
}

}  // namespace lathe::op

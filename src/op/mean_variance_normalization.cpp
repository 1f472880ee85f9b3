// (x - mean) / (deviation + 1e-9) over some axes; by default over all but the channels.
#include <cmath>

#include "op/elementwise.h"
#include "op/normalization.h"

namespace lathe::op {
namespace {

constexpr double kEpsilon = 1e-9;  // as in ONNX's definition of the function

std::vector<int64_t> read_axes(const Attributes& attributes) {
  return attributes.find_ints("axes").value_or(std::vector<int64_t>{0, 2, 3});
}

void infer_mean_variance_normalization(InferContext& context) {
  infer_unary(context, kFloat);
  for (const int64_t axis : read_axes(context.attributes)) axis_index(context, axis, context.input(0).shape.size());
}

void evaluate_mean_variance_normalization(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const tensor::Dims strides = contiguous_strides(x.dims());
  std::vector<bool> reduced(x.dims().size(), false);
  for (const int64_t axis : read_axes(context.attributes)) reduced[axis_index(axis, x.rank())] = true;
  tensor::Dims kept_dims, kept_strides, reduced_dims, reduced_strides;
  for (size_t i = 0; i < reduced.size(); ++i) {
    (reduced[i] ? reduced_dims : kept_dims).push_back(x.dims()[i]);
    (reduced[i] ? reduced_strides : kept_strides).push_back(strides[i]);
  }
  std::vector<double> values = load<double>(x);
  if (!values.empty()) {
    const int64_t count = tensor::element_count(std::span<const int64_t>(reduced_dims));
    const int64_t groups = tensor::element_count(std::span<const int64_t>(kept_dims));
    std::vector<int64_t> offsets(static_cast<size_t>(count));
    Walk inside(reduced_dims, reduced_strides);
    for (int64_t& offset : offsets) offset = inside.next();
    Walk walk(kept_dims, kept_strides);
    for (int64_t g = 0; g < groups; ++g) {
      double* group = values.data() + walk.next();
      const Moments found = moments(count, [&](int64_t i) { return group[offsets[size_t(i)]]; });
      for (const int64_t offset : offsets)
        group[offset] = (group[offset] - found.mean) / (std::sqrt(found.variance) + kEpsilon);
    }
  }
  context.outputs[0] = store(x.dtype(), x.dims(), values);
}

}  // namespace

const OpDef& mean_variance_normalization_op() {
  static const OpDef def{
      .name = "MeanVarianceNormalization",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"axes", AttributeKind::integers}},
      .infer = infer_mean_variance_normalization,
      .evaluate = evaluate_mean_variance_normalization,
  };
  return def;
}

}  // namespace lathe::op

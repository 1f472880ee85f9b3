#include "op/quantization.h"

#include "base/checked.h"

namespace lathe::op {

using tensor::Dim;

void check_scales(const InferContext& context) {
  const tensor::Shape& x = context.input(0).shape;
  const tensor::Shape& scale = context.input(1).shape;
  const bool single = tensor::element_count(scale) == Dim(1);
  if (context.has_input(2) && single) {  // ranks 0 and 1 both stand for one number
    require_dims_agree(context, "zero points", tensor::element_count(context.input(2).shape), Dim(1));
  } else if (context.has_input(2)) {
    require_rank(context, 2, scale.size());
    for (size_t i = 0; i < scale.size(); ++i) {
      require_dims_agree(context, "scale and zero point", scale[i], context.input(2).shape[i]);
    }
  }
  const int64_t block = context.attributes.get_int("block_size", 0);
  if (block < 0) bad(context, "block_size is {}", block);
  if (single) return;
  const size_t axis = axis_index(context, context.attributes.get_int("axis", 1), x.size());
  if (block == 0) {
    if (scale.size() != 1) bad(context, "scale: expected a scalar or a vector, found {}", to_string(scale));
    require_dims_agree(context, "scale along the axis", scale[0], x[axis]);
    return;
  }
  require_rank(context, 1, x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    if (i != axis) {
      require_dims_agree(context, "scale", scale[i], x[i]);
    } else if (x[i].is_constant()) {
      require_dims_agree(context, "blocks along the axis", scale[i], Dim(ceil_div(x[i].value(), block)));
    }
  }
}

ScaleIndex::ScaleIndex(const EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const tensor::Tensor& scale = context.inputs[1];
  single_ = scale.size() == 1;
  if (single_) return;
  const size_t axis = axis_index(context.attributes.get_int("axis", 1), x.rank());
  inner_ = count_of(x.dims(), axis + 1, x.dims().size());
  length_ = x.dims()[axis];
  block_ = context.attributes.get_int("block_size", 0);
  per_axis_ = block_ == 0;
  if (!per_axis_) blocks_ = scale.dims()[axis];
}

int64_t ScaleIndex::operator()(int64_t i) const {
  if (single_) return 0;
  const int64_t along = i / inner_ % length_;
  if (per_axis_) return along;
  return (i / inner_ / length_ * blocks_ + along / block_) * inner_ + i % inner_;
}

tensor::Tensor dequantise_to_f32(const EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const RealView<float> scales(context.inputs[1]);
  std::vector<double> zeros(size_t(context.inputs[1].size()), 0);
  if (context.has_input(2)) {
    for (size_t i = 0; i < zeros.size(); ++i) zeros[i] = tensor::element_as_double(context.inputs[2], int64_t(i));
  }
  const ScaleIndex index(context);
  tensor::Tensor y(tensor::DType::f32, x.dims());
  const std::span<float> out = y.data<float>();
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t at = index(i);
    // The difference is exact in double, and so is its product with a float before it is rounded.
    out[size_t(i)] = float((tensor::element_as_double(x, i) - zeros[size_t(at)]) * double(scales[at]));
  }
  return y;
}

}  // namespace lathe::op

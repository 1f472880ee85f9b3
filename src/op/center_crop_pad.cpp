// The middle of a tensor, or the tensor in the middle of zeros, axis by axis.
#include <algorithm>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

std::vector<int64_t> read_axes(const Attributes& attributes, size_t rank) {
  std::vector<int64_t> axes(rank);
  for (size_t i = 0; i < rank; ++i) axes[i] = int64_t(i);
  return attributes.find_ints("axes").value_or(std::move(axes));
}

void infer_center_crop_pad(InferContext& context) {
  const TypeInfo& x = require(context, 0, kAny & ~(kSmallInt | kSmallFloat));
  const TypeInfo& wanted = require(context, 1, kSigned);
  if (tensor::bits(wanted.dtype) < 32) bad(context, "input 1: expected i32 or i64, found {}", to_string(wanted));
  require_rank(context, 1, 1);
  const std::vector<int64_t> axes = read_axes(context.attributes, x.shape.size());
  require_dims_agree(context, "input 1: axes", wanted.shape[0], tensor::Dim(int64_t(axes.size())));
  const auto known = known_dims(context, 1);
  tensor::Shape shape = x.shape;
  std::vector<bool> seen(shape.size(), false);
  for (size_t i = 0; i < axes.size(); ++i) {
    const size_t axis = axis_index(context, axes[i], shape.size());
    if (seen[axis]) bad(context, "axis {} twice", axes[i]);
    seen[axis] = true;
    shape[axis] = known ? (*known)[i] : unknown_dim(context, axis);
    if (shape[axis].constant().value_or(0) < 0)
      bad(context, "axis {} would get length {}", axes[i], shape[axis].to_string());
  }
  context.outputs[0] = {x.dtype, std::move(shape), std::nullopt};
}

void evaluate_center_crop_pad(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const std::vector<int64_t> wanted = load<int64_t>(context.inputs[1]);
  const std::vector<int64_t> axes = read_axes(context.attributes, x.dims().size());
  tensor::Dims dims = x.dims();
  for (size_t i = 0; i < axes.size(); ++i) dims[axis_index(axes[i], x.rank())] = wanted[i];
  // The common part starts at `from` in x and at `to` in the result; the odd element is after the middle.
  tensor::Dims common(dims.size());
  int64_t from = 0;
  int64_t to = 0;
  tensor::Tensor result(x.dtype(), dims);
  const tensor::Dims from_strides = contiguous_strides(x.dims());
  const tensor::Dims to_strides = contiguous_strides(dims);
  for (size_t d = 0; d < dims.size(); ++d) {
    common[d] = std::min(dims[d], x.dims()[d]);
    from += (x.dims()[d] - common[d]) / 2 * from_strides[d];
    to += (dims[d] - common[d]) / 2 * to_strides[d];
  }
  Walk source(common, from_strides, from);
  Walk target(common, to_strides, to);
  ElementCopier copier(x, result);
  for (int64_t left = tensor::element_count(std::span<const int64_t>(common)); left > 0; --left) {
    const int64_t next = source.next();
    copier.copy(next, target.next());
  }
  context.outputs[0] = std::move(result);
}

}  // namespace

const OpDef& center_crop_pad_op() {
  static const OpDef def{
      .name = "CenterCropPad",
      .min_inputs = 2,
      .max_inputs = 2,
      .attributes = {{"axes", AttributeKind::integers}},
      .since = 18,
      .infer = infer_center_crop_pad,
      .evaluate = evaluate_center_crop_pad,
  };
  return def;
}

}  // namespace lathe::op

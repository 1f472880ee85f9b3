// More (or, with negative numbers, fewer) elements at both ends of axes: constant, edge, reflect or wrap.
#include <cstdlib>

#include "base/checked.h"
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;

void infer_pad(InferContext& context) {
  const TypeInfo& data = require(context, 0, kAny);
  const size_t rank = data.shape.size();
  require_dtype(context, 1, tensor::DType::i64);
  require_rank(context, 1, 1);
  require_same_dtype(context, 0, 2);
  const std::string mode = context.attributes.get_string("mode", "constant");
  if (mode != "constant" && mode != "edge" && mode != "reflect" && mode != "wrap")
    bad(context, "mode \"{}\"", mode);
  std::vector<int64_t> axes(rank);
  for (size_t i = 0; i < rank; ++i) axes[i] = int64_t(i);
  if (context.has_input(3)) {
    const auto known = known_ints(context, 3);
    if (!known) {  // any axis may be padded
      context.outputs[0] = unknown_lengths(context, data.dtype, int64_t(rank));
      return;
    }
    axes = *known;
  }
  require_dims_agree(context, "pads", context.input(1).shape[0], Dim(int64_t(2 * axes.size())));
  tensor::Shape shape = data.shape;
  const auto pads = known_dims(context, 1);
  for (size_t i = 0; i < axes.size(); ++i) {
    Dim& dim = shape[axis_index(context, axes[i], rank)];
    dim = pads ? dim + (*pads)[i] + (*pads)[i + axes.size()] : unknown_dim(context, i);
    if (dim.constant().value_or(0) < 0)
      bad(context, "axis {} of {} would get length {}", axes[i], to_string(data), dim.to_string());
  }
  context.outputs[0] = {data.dtype, std::move(shape), std::nullopt};
}

// The index in [0, length) that position `at` shows; -1 for the constant.
int64_t source_index(int64_t at, int64_t length, std::string_view mode) {
  if (at >= 0 && at < length) return at;
  if (mode == "constant") return -1;
  if (length == 0) fail(ErrorCode::invalid_input, "Pad: mode {} of an empty axis", mode);
  if (mode == "edge") return at < 0 ? 0 : length - 1;
  if (mode == "wrap") return (at % length + length) % length;
  if (length == 1) return 0;
  const int64_t period = 2 * (length - 1);  // reflect, the ends not repeated
  const int64_t folded = std::abs(at) % period;
  return folded < length ? folded : period - folded;
}

void evaluate_pad(EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  const std::vector<int64_t> pads = load<int64_t>(context.inputs[1]);
  const std::string mode = context.attributes.get_string("mode", "constant");
  std::vector<int64_t> axes(size_t(data.rank()));
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = int64_t(i);
  if (context.has_input(3)) axes = load<int64_t>(context.inputs[3]);
  tensor::Dims dims = data.dims();
  tensor::Dims before(dims.size(), 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    const size_t axis = axis_index(axes[i], data.rank());
    before[axis] = pads[i];
    dims[axis] =
        checked_add(dims[axis], checked_add(pads[i], pads[i + axes.size()], "pads"), "padded dimension");
  }
  tensor::Tensor result(data.dtype(), dims);
  ElementCopier from_data(data, result);
  const tensor::Tensor fill = context.has_input(2) ? context.inputs[2] : tensor::Tensor(data.dtype(), {});
  ElementCopier from_fill(fill, result);
  const tensor::Dims strides = contiguous_strides(data.dims());
  Walk walk(dims, tensor::Dims(dims.size(), 0));
  for (int64_t i = 0; i < result.size(); ++i, walk.next()) {
    int64_t from = 0;
    for (size_t d = 0; d < dims.size() && from >= 0; ++d) {
      const int64_t index = source_index(walk.index()[d] - before[d], data.dims()[d], mode);
      from = index < 0 ? -1 : from + index * strides[d];
    }
    if (from < 0)
      from_fill.copy(0, i);
    else
      from_data.copy(from, i);
  }
  context.outputs[0] = std::move(result);
}

}  // namespace

const OpDef& pad_op() {
  static const OpDef def{
      .name = "Pad",
      .min_inputs = 2,
      .max_inputs = 4,
      .attributes = {{"mode", AttributeKind::string}},
      .inputs_since = {{3, 18}},
      .infer = infer_pad,
      .evaluate = evaluate_pad,
  };
  return def;
}

}  // namespace lathe::op

// One tensor as several parts along an axis: of given lengths, or of equal ones with a shorter last.
#include <algorithm>

#include "op/copy_region.h"
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

// The parts of `length` in `count` pieces; later pieces may be empty.
std::vector<int64_t> equal_parts(int64_t length, int64_t count) {
  const int64_t part = (length + count - 1) / count;
  std::vector<int64_t> parts;
  for (int64_t i = 0; i < count; ++i) {
    parts.push_back(std::max<int64_t>(0, std::min(part, length - i * part)));
  }
  return parts;
}

void infer_split(InferContext& context) {
  const TypeInfo& data = require(context, 0, kAny);
  const size_t axis = axis_index(context, context.attributes.get_int("axis", 0), data.shape.size());
  const tensor::Dim& length = data.shape[axis];
  const size_t count = context.outputs.size();
  const auto num_outputs = context.attributes.find_int("num_outputs");
  if (num_outputs && *num_outputs != int64_t(count)) {
    bad(context, "num_outputs is {}, found {} outputs", *num_outputs, count);
  }
  std::vector<tensor::Dim> parts;
  if (context.has_input(1)) {
    require_dtype(context, 1, tensor::DType::i64);
    if (const auto known = known_dims(context, 1)) {
      parts = *known;
      if (parts.size() != count) bad(context, "{} lengths for {} outputs", parts.size(), count);
      tensor::Dim sum;
      for (const tensor::Dim& part : parts) {
        if (part.constant().value_or(0) < 0) bad(context, "a length is {}", part.to_string());
        sum = sum + part;
      }
      require_dims_agree(context, "sum of the lengths", length, sum);
    }
  } else if (length.is_constant()) {
    for (const int64_t part : equal_parts(length.value(), int64_t(count))) parts.emplace_back(part);
  } else if (const auto part = divide_exactly(length, tensor::Dim(int64_t(count)))) {
    parts.assign(count, *part);
  }
  for (size_t i = 0; i < count; ++i) {
    tensor::Shape shape = data.shape;
    shape[axis] = parts.empty() ? unknown_dim(context, i) : parts[i];
    context.outputs[i] = {data.dtype, std::move(shape), std::nullopt};
  }
  const auto elements = known_dims(context, 0);
  if (!elements || data.shape.size() != 1) return;
  size_t begin = 0;
  for (TypeInfo& out : context.outputs) {
    const auto part = out.shape[0].constant();
    if (!part || begin + size_t(*part) > elements->size()) return;
    const auto from = elements->begin() + std::ptrdiff_t(begin);
    set_elements(out, std::vector<tensor::Dim>(from, from + std::ptrdiff_t(*part)));
    begin += size_t(*part);
  }
}

void evaluate_split(EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  const size_t axis = axis_index(context.attributes.get_int("axis", 0), data.rank());
  const std::vector<int64_t> parts = context.has_input(1)
                                         ? load<int64_t>(context.inputs[1])
                                         : equal_parts(data.dims()[axis], int64_t(context.outputs.size()));
  const tensor::Dims strides = contiguous_strides(data.dims());
  int64_t start = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    tensor::Dims dims = data.dims();
    dims[axis] = parts[i];
    context.outputs[i] = take_region(data, std::move(dims), {strides, start});
    start += parts[i] * strides[axis];
  }
}

}  // namespace

const OpDef& split_op() {
  static const OpDef def{
      .name = "Split",
      .min_inputs = 1,
      .max_inputs = 2,
      .min_outputs = 1,
      .max_outputs = kVariadic,
      .attributes = {{"axis", AttributeKind::integer}, {"num_outputs", AttributeKind::integer, false, 18}},
      .infer = infer_split,
      .evaluate = evaluate_split,
  };
  return def;
}

}  // namespace lathe::op

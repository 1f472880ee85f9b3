// A tensor as a sequence of its parts along an axis: of one length (the last may be shorter), of given lengths, or
// single indices, whose axis goes away unless keepdims.
#include <algorithm>

#include "op/copy_region.h"
#include "op/sequences.h"
#include "op/values.h"

namespace lathe::op {
namespace {

std::vector<int64_t> part_lengths(const DataContext& context, int64_t length) {
  if (!context.has_input(1)) return std::vector<int64_t>(size_t(length), 1);
  const tensor::Tensor& split = context.inputs[1].tensor();
  if (!tensor::is_integer(split.dtype()) || split.rank() > 1) {
    fail(ErrorCode::invalid_input, "split: expected integers, found {}{}", to_string(split.dtype()),
         tensor::to_string(std::span(split.dims())));
  }
  std::vector<int64_t> lengths = load<int64_t>(split);
  if (std::any_of(lengths.begin(), lengths.end(), [](int64_t part) { return part < 0; })) {
    fail(ErrorCode::invalid_input, "split: a negative length");
  }
  if (split.rank() == 0) {
    const int64_t part = lengths[0];
    if (part == 0) fail(ErrorCode::invalid_input, "split: parts of length 0");
    lengths.clear();
    for (int64_t at = 0; at < length; at += part) lengths.push_back(std::min(part, length - at));
  }
  int64_t left = length;
  for (const int64_t part : lengths) left = part <= left ? left - part : -1;
  if (left != 0) fail(ErrorCode::invalid_input, "split: the lengths do not add up to {}", length);
  return lengths;
}

void evaluate(DataContext& context) {
  const tensor::Tensor& data = context.inputs[0].tensor();
  const int64_t rank = data.rank();
  int64_t axis = context.attributes.get_int("axis", 0);
  if (axis < -rank || axis >= rank) fail(ErrorCode::invalid_input, "axis {} of rank {}", axis, rank);
  if (axis < 0) axis += rank;
  const bool keep = context.attributes.get_int("keepdims", 1) != 0 || context.has_input(1);
  const tensor::Dims strides = contiguous_strides(data.dims());
  std::vector<tensor::Tensor> parts;
  int64_t start = 0;
  for (const int64_t length : part_lengths(context, data.dims()[size_t(axis)])) {
    tensor::Dims dims = data.dims();
    dims[size_t(axis)] = length;
    tensor::Tensor part = take_region(data, dims, {strides, start * strides[size_t(axis)]});
    if (!keep) {
      dims.erase(dims.begin() + axis);
      part = part.reshaped(dims);
    }
    parts.push_back(std::move(part));
    start += length;
  }
  context.outputs[0] = Datum::sequence(std::move(parts));
}

}  // namespace

const OpDef& split_to_sequence_op() {
  static const OpDef def{
      .name = "SplitToSequence",
      .min_inputs = 1,
      .max_inputs = 2,
      .attributes = {{"axis", AttributeKind::integer}, {"keepdims", AttributeKind::integer}},
      .infers_any = true,
      .infer = [](InferContext& context) { context.outputs[0] = TypeInfo::sequence(context.input(0).dtype); },
      .evaluate_data = evaluate};
  return def;
}

}  // namespace lathe::op

// Ranges of some axes, with steps that may be negative; bounds count from the end when negative, and clamp.
#include <algorithm>

#include "op/copy_region.h"
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;

struct Range {
  int64_t start;
  int64_t count;
};

// Python's slice: the first index and how many there are.
Range slice_range(int64_t start, int64_t end, int64_t step, int64_t length) {
  const int64_t lowest = step > 0 ? 0 : -1;
  const int64_t highest = step > 0 ? length : length - 1;
  const auto clamp = [&](int64_t bound) {
    if (bound < 0) bound += length;
    return std::clamp(bound, lowest, std::max(lowest, highest));
  };
  const int64_t first = clamp(start);
  const int64_t last = clamp(end);
  // Distances fit: both bounds are within [-1, length]. A step of INT64_MIN counts as one element.
  if (step > 0) return {first, last > first ? (last - first - 1) / step + 1 : 0};
  if (last >= first) return {first, 0};
  return {first, step == INT64_MIN ? 1 : (first - last - 1) / -step + 1};
}

// A bound of a symbolic length as a position in [0, length], if it is certain where it lies.
std::optional<Dim> position(const Dim& bound, const Dim& length) {
  const auto number = bound.constant();
  Dim at = bound;
  if (number && *number < 0) {
    if (*number < -(int64_t{1} << 40)) return Dim(0);
    at = length + bound;
    return provably_at_least(at, Dim(0)) ? std::optional(at) : std::nullopt;
  }
  if (number && *number > (int64_t{1} << 40)) return length;
  if (provably_at_least(length, at) && provably_at_least(at, Dim(0))) return at;
  if (provably_at_least(at, length)) return length;
  return std::nullopt;
}

std::optional<Dim> sliced_length(const Dim& start, const Dim& end, int64_t step, const Dim& length) {
  if (start.is_constant() && end.is_constant() && length.is_constant()) {
    return Dim(slice_range(start.value(), end.value(), step, length.value()).count);
  }
  if (step != 1) return std::nullopt;
  const auto first = position(start, length);
  const auto last = position(end, length);
  if (!first || !last) return std::nullopt;
  if (provably_at_least(*last, *first)) return *last - *first;
  if (provably_at_least(*first, *last)) return Dim(0);
  return std::nullopt;
}

// What is asked of each axis named, as far as it is known.
struct Request {
  std::vector<size_t> axes;
  std::vector<std::optional<int64_t>> steps;
};

Request read_request(const InferContext& context, size_t rank) {
  Request request;
  const auto count = list_length(context, 1);
  LATHE_CHECK(count);
  for (size_t i = 2; i < 5; ++i) {
    if (!context.has_input(i)) continue;
    require_rank(context, i, 1);
    require_dims_agree(context, fmt::format("input {}", i), context.input(i).shape[0], Dim(*count));
  }
  std::vector<bool> seen(rank);
  const auto axes = known_ints(context, 3);
  const auto steps = known_ints(context, 4);
  for (int64_t i = 0; i < *count; ++i) {
    const size_t axis = axis_index(context, axes ? (*axes)[size_t(i)] : i, rank);
    if (seen[axis]) bad(context, "axis {} is named twice", axis);
    seen[axis] = true;
    request.axes.push_back(axis);
    request.steps.push_back(!context.has_input(4) ? std::optional<int64_t>(1)
                            : steps               ? std::optional((*steps)[size_t(i)])
                                                  : std::nullopt);
    if (request.steps.back() == 0) bad(context, "step 0 on axis {}", axis);
  }
  return request;
}

void infer_slice(InferContext& context) {
  const TypeInfo& data = require(context, 0, kAny);
  for (size_t i = 1; i < 5; ++i) {
    if (!context.has_input(i) && i > 2) continue;
    const tensor::DType dtype = context.input(i).dtype;
    if (dtype != tensor::DType::i64 && dtype != tensor::DType::i32)
      bad(context, "input {} must be i32 or i64", i);
  }
  require_rank(context, 1, 1);
  if (!list_length(context, 1) || (context.has_input(3) && !known_ints(context, 3))) {  // any axis may be cut
    context.outputs[0] = unknown_lengths(context, data.dtype, int64_t(data.shape.size()));
    return;
  }
  const Request request = read_request(context, data.shape.size());
  const auto starts = known_dims(context, 1);
  const auto ends = known_dims(context, 2);
  tensor::Shape shape = data.shape;
  for (size_t i = 0; i < request.axes.size(); ++i) {
    const size_t axis = request.axes[i];
    std::optional<Dim> length;
    if (starts && ends && request.steps[i]) {
      length = sliced_length((*starts)[i], (*ends)[i], *request.steps[i], data.shape[axis]);
    }
    shape[axis] = length.value_or(unknown_dim(context, axis));
  }
  context.outputs[0] = {data.dtype, std::move(shape), std::nullopt};
  const auto elements = known_dims(context, 0);
  if (!elements || data.shape.size() != 1 || request.axes.size() != 1 || !request.steps[0]) return;
  if (!starts || !ends || !(*starts)[0].is_constant() || !(*ends)[0].is_constant()) return;
  const Range range =
      slice_range((*starts)[0].value(), (*ends)[0].value(), *request.steps[0], int64_t(elements->size()));
  std::vector<Dim> taken;
  for (int64_t i = 0; i < range.count; ++i) {
    taken.push_back((*elements)[size_t(range.start + i * *request.steps[0])]);
  }
  set_elements(context.outputs[0], std::move(taken));
}

void evaluate_slice(EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  const std::vector<int64_t> starts = load<int64_t>(context.inputs[1]);
  const std::vector<int64_t> ends = load<int64_t>(context.inputs[2]);
  std::vector<int64_t> axes(starts.size());
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = int64_t(i);
  if (context.has_input(3)) axes = load<int64_t>(context.inputs[3]);
  std::vector<int64_t> steps(starts.size(), 1);
  if (context.has_input(4)) steps = load<int64_t>(context.inputs[4]);
  tensor::Dims dims = data.dims();
  tensor::Dims strides = contiguous_strides(dims);
  int64_t offset = 0;
  for (size_t i = 0; i < axes.size(); ++i) {
    const size_t axis = axis_index(axes[i], data.rank());
    const Range range = slice_range(starts[i], ends[i], steps[i], dims[axis]);
    dims[axis] = range.count;
    offset += range.start * strides[axis];
    strides[axis] = range.count > 1 ? strides[axis] * steps[i] : 0;
  }
  context.outputs[0] = take_region(data, std::move(dims), {std::move(strides), offset});
}

}  // namespace

const OpDef& slice_op() {
  static const OpDef def{
      .name = "Slice", .min_inputs = 3, .max_inputs = 5, .infer = infer_slice, .evaluate = evaluate_slice};
  return def;
}

}  // namespace lathe::op

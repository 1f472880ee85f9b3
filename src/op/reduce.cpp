#include "op/reduce.h"

#include <limits>

namespace lathe::op {
namespace {

using tensor::Dim;
using tensor::DType;

// Marks the axes that go. `axes` empty means all of them, or none with noop_with_empty_axes.
std::vector<bool> reduced_axes(const std::vector<int64_t>& axes, size_t rank, bool no_op_if_empty) {
  std::vector<bool> reduced(rank, axes.empty() && !no_op_if_empty);
  for (const int64_t axis : axes) {
    const int64_t index = axis < 0 ? axis + int64_t(rank) : axis;
    if (index < 0 || index >= int64_t(rank)) {
      fail(ErrorCode::invalid_input, "axis {} is outside of rank {}", axis, rank);
    }
    reduced[size_t(index)] = true;
  }
  return reduced;
}

}  // namespace

OpDef reduce_def(std::string_view name, void (*infer)(InferContext&), void (*evaluate)(EvaluateContext&),
                 int axes_input_since) {
  return {
      .name = name,
      .min_inputs = 1,
      .max_inputs = 2,
      .attributes = {{"keepdims", AttributeKind::integer},
                     {"noop_with_empty_axes", AttributeKind::integer, false, axes_input_since}},
      .axes_input_since = axes_input_since,
      .infer = infer,
      .evaluate = evaluate,
  };
}

void infer_reduce(InferContext& context, DTypeSet allowed) {
  const TypeInfo& data = require(context, 0, allowed);
  const size_t rank = data.shape.size();
  const bool keep = context.attributes.get_int("keepdims", 1) != 0;
  const bool no_op = context.attributes.get_int("noop_with_empty_axes", 0) != 0;
  TypeInfo& out = context.outputs[0];
  out = {data.dtype, {}, std::nullopt};
  std::vector<int64_t> axes;
  if (context.has_input(1)) {
    const TypeInfo& type = require_dtype(context, 1, DType::i64);
    const auto known = known_ints(context, 1);
    if (!known) {
      // Computed axes: the rank is known with keepdims, or from how many axes there are.
      const auto count = type.shape.empty() ? std::optional<int64_t>(1) : type.shape[0].constant();
      if (!keep && !count) {
        out = TypeInfo::unranked(data.dtype);
        return;
      }
      const size_t out_rank =
          keep ? rank : rank - std::min(rank, size_t(*count == 0 && !no_op ? rank : *count));
      for (size_t i = 0; i < out_rank; ++i) out.shape.push_back(unknown_dim(context, i));
      return;
    }
    axes = *known;
  }
  for (const int64_t axis : axes) axis_index(context, axis, rank);
  const std::vector<bool> reduced = reduced_axes(axes, rank, no_op);
  for (size_t i = 0; i < rank; ++i) {
    if (!reduced[i])
      out.shape.push_back(data.shape[i]);
    else if (keep)
      out.shape.emplace_back(1);
  }
}

Reduction plan_reduction(const EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  const bool keep = context.attributes.get_int("keepdims", 1) != 0;
  const bool no_op = context.attributes.get_int("noop_with_empty_axes", 0) != 0;
  std::vector<int64_t> axes;
  if (context.has_input(1)) axes = load<int64_t>(context.inputs[1]);
  const std::vector<bool> reduced = reduced_axes(axes, size_t(data.rank()), no_op);
  const tensor::Dims strides = contiguous_strides(data.dims());
  Reduction plan;
  plan.no_op = axes.empty() && no_op;
  for (size_t i = 0; i < reduced.size(); ++i) {
    if (reduced[i]) {
      plan.reduced_dims.push_back(data.dims()[i]);
      plan.reduced_strides.push_back(strides[i]);
      if (keep) plan.out_dims.push_back(1);
    } else {
      plan.kept_dims.push_back(data.dims()[i]);
      plan.kept_strides.push_back(strides[i]);
      plan.out_dims.push_back(data.dims()[i]);
    }
  }
  return plan;
}

double lowest_value(double, DType) {
  return -std::numeric_limits<double>::infinity();
}
double highest_value(double, DType) {
  return std::numeric_limits<double>::infinity();
}
int64_t lowest_value(int64_t, DType dtype) {
  return INT64_MIN >> (64 - tensor::bits(dtype));
}
int64_t highest_value(int64_t, DType dtype) {
  return INT64_MAX >> (64 - tensor::bits(dtype));
}
uint64_t lowest_value(uint64_t, DType) {
  return 0;
}
uint64_t highest_value(uint64_t, DType dtype) {
  return dtype == DType::boolean ? 1 : UINT64_MAX >> (64 - tensor::bits(dtype));
}

}  // namespace lathe::op

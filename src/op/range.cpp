// start, start + delta, start + 2 delta ... up to but not including limit.
#include <cmath>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;
__extension__ using Wide = __int128;

// How many numbers there are: max(0, ceil((limit - start) / delta)).
int64_t range_count(const tensor::Tensor& start, const tensor::Tensor& limit, const tensor::Tensor& delta) {
  if (tensor::is_float(start.dtype())) {
    const double step = load_double(delta);
    const double count = std::ceil((load_double(limit) - load_double(start)) / step);
    if (!(count < 0x1p48)) fail(ErrorCode::invalid_input, "Range: {} numbers", count);  // NaN: step 0
    return count > 0 ? int64_t(count) : 0;
  }
  const int64_t step = load_int(delta);
  if (step == 0) fail(ErrorCode::invalid_input, "Range: delta is 0");
  const Wide distance = Wide(load_int(limit)) - load_int(start);
  const Wide magnitude = step > 0 ? Wide(step) : -Wide(step);
  const Wide along = step > 0 ? distance : -distance;
  return along <= 0 ? 0 : int64_t((along + magnitude - 1) / magnitude);
}

void infer_range(InferContext& context) {
  const TypeInfo& start = require(context, 0, kNumeric);
  for (size_t i = 0; i < 3; ++i) {
    require_same_dtype(context, 0, i);
    const auto count = tensor::element_count(context.input(i).shape).constant();
    if (count && *count != 1)
      bad(context, "input {}: expected a scalar, found {}", i, to_string(context.input(i)));
  }
  TypeInfo& out = context.outputs[0];
  out = {start.dtype, {unknown_dim(context, 0)}, std::nullopt};
  const auto& constants = context.constants;
  if (constants.size() > 2 && constants[0] && constants[1] && constants[2]) {
    out.shape[0] = Dim(range_count(*constants[0], *constants[1], *constants[2]));
  }
  const auto first = known_dims(context, 0);
  const auto limit = known_dims(context, 1);
  const auto step = known_dims(context, 2);
  if (!first || !limit || !step) return;
  if (step->front() == Dim(1) && provably_at_least(limit->front(), first->front())) {
    out.shape[0] = limit->front() - first->front();
  }
  const auto count = out.shape[0].constant();
  if (!count || *count > 64) return;
  std::vector<Dim> elements;
  for (int64_t i = 0; i < *count; ++i) elements.push_back(first->front() + step->front() * Dim(i));
  set_elements(out, std::move(elements));
}

void evaluate_range(EvaluateContext& context) {
  const tensor::Tensor& start = context.inputs[0];
  const tensor::Tensor& delta = context.inputs[2];
  const int64_t count = range_count(start, context.inputs[1], delta);
  context.outputs[0] = with_compute_type(start.dtype(), [&](auto zero) {
    using V = decltype(zero);
    const V first = load<V>(start)[0];
    const V step = load<V>(delta)[0];
    std::vector<V> values(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      if constexpr (std::is_same_v<V, double>)
        values[size_t(i)] = first + double(i) * step;
      else
        values[size_t(i)] = V(uint64_t(first) + uint64_t(i) * uint64_t(step));
    }
    return store(start.dtype(), {count}, values);
  });
}

}  // namespace

const OpDef& range_op() {
  static const OpDef def{
      .name = "Range",
      .min_inputs = 3,
      .max_inputs = 3,
      .attributes = {{"stash_type", AttributeKind::integer, false, 27}},
      .infer = infer_range,
      .evaluate = evaluate_range,
  };
  return def;
}

}  // namespace lathe::op

// What CumSum and CumProd share: a value carried along an axis.
#pragma once

#include "op/elementwise.h"
#include "op/lines.h"

namespace lathe::op {

void infer_cumulative(InferContext& context);

// Each element becomes combine(all before it and itself), from `start` on; `exclusive` leaves the element itself out,
// `reverse` starts from the end.
template <class Combine>
void evaluate_cumulative(EvaluateContext& context, int start, Combine combine) {
  const tensor::Tensor& x = context.inputs[0];
  const size_t axis = axis_index(load_int(context.inputs[1]), x.rank());
  const bool exclusive = context.attributes.get_int("exclusive", 0) != 0;
  const bool reverse = context.attributes.get_int("reverse", 0) != 0;
  context.outputs[0] = with_compute_type(x.dtype(), [&](auto zero) {
    using V = decltype(zero);
    auto values = load<V>(x);
    for_each_line(x.dims(), axis, [&](const Line& line, int64_t) {
      auto total = V(start);
      for (int64_t j = 0; j < line.count; ++j) {
        auto& value = values[size_t(line.at(reverse ? line.count - 1 - j : j))];
        const auto before = total;
        total = combine(total, value);
        value = exclusive ? before : total;
      }
    });
    return store(x.dtype(), x.dims(), values);
  });
}

}  // namespace lathe::op

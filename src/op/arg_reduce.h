// What ArgMax and ArgMin share.
#pragma once

#include "op/inference.h"
#include "op/lines.h"

namespace lathe::op {

std::vector<AttributeSpec> arg_attributes();
void infer_arg(InferContext& context);
// Dims of the data with `axis` set to 1, or removed.
tensor::Dims arg_dims(const EvaluateContext& context, size_t axis);

// Output 0: the index along the axis of the element that is better(it, any other).
template <class Better>
void evaluate_arg(EvaluateContext& context, Better better) {
  const tensor::Tensor& data = context.inputs[0];
  const size_t axis = axis_index(context.attributes.get_int("axis", 0), data.rank());
  const bool last = context.attributes.get_int("select_last_index", 0) != 0;
  const tensor::Dims dims = arg_dims(context, axis);
  std::vector<int64_t> indices(size_t(tensor::element_count(std::span(dims))));
  with_compute_type(data.dtype(), [&](auto zero) {
    const auto values = load<decltype(zero)>(data);
    for_each_line(data.dims(), axis, [&](const Line& line, int64_t number) {
      if (line.count == 0) fail(ErrorCode::invalid_input, "ArgMax or ArgMin of an axis without elements");
      int64_t best = 0;
      for (int64_t j = 1; j < line.count; ++j) {
        const auto candidate = values[size_t(line.at(j))];
        const auto champion = values[size_t(line.at(best))];
        if (better(candidate, champion) || (last && !better(champion, candidate))) best = j;
      }
      indices[size_t(number)] = best;
    });
  });
  context.outputs[0] = store(tensor::DType::i64, dims, indices);
}

}  // namespace lathe::op

#include "op/convolution.h"

namespace lathe::op {

using tensor::Dim;

int64_t read_group(std::string_view op, const Attributes& attributes) {
  const int64_t group = attributes.get_int("group", 1);
  if (group < 1) fail(ErrorCode::invalid_input, "{}: group is {}", op, group);
  return group;
}

void require_vector(const InferContext& context, size_t i, const Dim& length) {
  if (!context.has_input(i)) return;
  require_rank(context, i, 1);
  require_dims_agree(context, fmt::format("input {}", i), context.input(i).shape[0], length);
}

tensor::Shape kernel_of(const tensor::Shape& w) {
  return {w.begin() + 2, w.end()};
}

tensor::Shape infer_convolution(const InferContext& context, size_t w_input) {
  const TypeInfo& x = context.input(0);
  const TypeInfo& w = context.input(w_input);
  const size_t rank = spatial_rank(context);
  require_rank(context, w_input, rank + 2);
  const int64_t group = read_group(context.op, context.attributes);
  require_dims_agree(context, fmt::format("channels of {} by {} in {} groups", to_string(x), to_string(w), group),
                     x.shape[1], w.shape[1] * Dim(group));
  const auto features = w.shape[0].constant();
  if (features && *features % group != 0) bad(context, "{} features in {} groups", *features, group);
  const tensor::Shape kernel = kernel_of(w.shape);
  const WindowSpec spec = read_windows(context.op, context.attributes, rank, &kernel);
  tensor::Shape shape{x.shape[0], w.shape[0]};
  for (size_t i = 0; i < rank; ++i) shape.push_back(window_count(context, spec, i, x.shape[i + 2]));
  return shape;
}

}  // namespace lathe::op

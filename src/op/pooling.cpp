#include "op/pooling.h"

namespace lathe::op {

tensor::Shape infer_pool(const InferContext& context) {
  const TypeInfo& x = context.input(0);
  const size_t rank = spatial_rank(context);
  const WindowSpec spec = read_windows(context.op, context.attributes, rank);
  tensor::Shape shape{x.shape[0], x.shape[1]};
  for (size_t i = 0; i < rank; ++i) shape.push_back(window_count(context, spec, i, x.shape[i + 2]));
  return shape;
}

tensor::Shape infer_global_pool(const InferContext& context) {
  const tensor::Shape& x = context.input(0).shape;
  const size_t rank = spatial_rank(context);
  tensor::Shape shape{x[0], x[1]};
  shape.insert(shape.end(), rank, tensor::Dim(1));
  return shape;
}

int64_t read_norm(std::string_view op, const Attributes& attributes) {
  const int64_t p = attributes.get_int("p", 2);
  if (p < 1) fail(ErrorCode::invalid_input, "{}: p is {}", op, p);
  return p;
}

}  // namespace lathe::op

#include "op/batched_products.h"

namespace lathe::op {

using tensor::Dim;
using tensor::Dims;

tensor::Shape product_shape(const InferContext& context, size_t a, size_t b) {
  tensor::Shape left = context.input(a).shape;
  tensor::Shape right = context.input(b).shape;
  if (left.empty() || right.empty()) bad(context, "scalars cannot be multiplied as matrices");
  const bool row = left.size() == 1, column = right.size() == 1;
  if (row) left.insert(left.begin(), Dim(1));
  if (column) right.emplace_back(1);
  require_dims_agree(context, fmt::format("{} times {}", to_string(context.input(a)), to_string(context.input(b))),
                     left.back(), right[right.size() - 2]);
  tensor::Shape shape = with_context(context.op, [&] {
    return tensor::broadcast(tensor::Shape(left.begin(), left.end() - 2),
                             tensor::Shape(right.begin(), right.end() - 2));
  });
  if (!row) shape.push_back(left[left.size() - 2]);
  if (!column) shape.push_back(right.back());
  return shape;
}

ProductPlan plan_product(const Dims& a, const Dims& b) {
  ProductPlan plan;
  plan.a_matrix = a;
  plan.b_matrix = b;
  if (a.size() == 1) plan.a_matrix.insert(plan.a_matrix.begin(), 1);
  if (b.size() == 1) plan.b_matrix.push_back(1);
  plan.m = plan.a_matrix[plan.a_matrix.size() - 2];
  plan.k = plan.a_matrix.back();
  plan.n = plan.b_matrix.back();
  plan.batch = broadcast_dims(std::span(plan.a_matrix).first(plan.a_matrix.size() - 2),
                              std::span(plan.b_matrix).first(plan.b_matrix.size() - 2));
  plan.dims = plan.batch;
  if (a.size() > 1) plan.dims.push_back(plan.m);
  if (b.size() > 1) plan.dims.push_back(plan.n);
  return plan;
}

void check_per_line(const InferContext& context, size_t parameter, size_t operand, int summed) {
  if (!context.has_input(parameter)) return;
  const tensor::Shape& shape = context.input(parameter).shape;
  const tensor::Shape& of = context.input(operand).shape;
  if (tensor::element_count(shape) == Dim(1)) return;
  const size_t kept = of.size() - (summed == -1 ? 2 : 1);  // the axis that has a parameter for each index
  if (of.size() == 2 && shape.size() == 1) {
    require_dims_agree(context, fmt::format("input {}", parameter), shape[0], of[kept]);
    return;
  }
  if (of.size() < 2) bad(context, "input {}: a vector has one number for all", parameter);
  require_rank(context, parameter, of.size());
  for (size_t i = 0; i < of.size(); ++i) {
    const bool sum_axis = i == of.size() - (summed == -1 ? 1 : 2);
    require_dims_agree(context, fmt::format("input {}, axis {}", parameter, i), shape[i], sum_axis ? Dim(1) : of[i]);
  }
}

std::vector<int64_t> per_line_index(const tensor::Tensor& parameter, const Dims& operand, int summed) {
  std::vector<int64_t> index(size_t(tensor::element_count(std::span(operand))), 0);
  if (parameter.size() == 1) return index;
  Dims shape = parameter.dims();
  if (shape.size() == 1 && operand.size() == 2) shape = summed == -1 ? Dims{shape[0], 1} : Dims{1, shape[0]};
  Walk walk(operand, broadcast_strides(shape, operand));
  for (int64_t& i : index) i = walk.next();
  return index;
}

}  // namespace lathe::op

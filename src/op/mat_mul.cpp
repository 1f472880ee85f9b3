// Matrix product over the last two axes, the others broadcast; a vector is a row on the left, a column on the
// right. Floats are summed in double and rounded once; integers wrap.
#include "op/inference.h"
#include "op/products.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_mat_mul(InferContext& context) {
  const TypeInfo& a = require(context, 0, kFloat | kInteger);
  const TypeInfo& b = require(context, 1, kFloat | kInteger);
  require_same_dtype(context, 0, 1);
  if (a.shape.empty() || b.shape.empty()) bad(context, "scalars cannot be multiplied as matrices");
  tensor::Shape left = a.shape;
  tensor::Shape right = b.shape;
  if (left.size() == 1) left.insert(left.begin(), tensor::Dim(1));
  if (right.size() == 1) right.emplace_back(1);
  require_dims_agree(context, fmt::format("{} times {}", to_string(a), to_string(b)), left.back(),
                     right[right.size() - 2]);
  tensor::Shape shape = with_context("MatMul", [&] {
    return tensor::broadcast(tensor::Shape(left.begin(), left.end() - 2),
                             tensor::Shape(right.begin(), right.end() - 2));
  });
  if (a.shape.size() > 1) shape.push_back(left[left.size() - 2]);
  if (b.shape.size() > 1) shape.push_back(right.back());
  context.outputs[0] = {a.dtype, std::move(shape), std::nullopt};
}

template <class T, class Sum>
tensor::Tensor multiply_all(const tensor::Tensor& a, const tensor::Tensor& b, const T* a_data,
                            const T* b_data) {
  tensor::Dims left = a.dims();
  tensor::Dims right = b.dims();
  if (left.size() == 1) left.insert(left.begin(), 1);
  if (right.size() == 1) right.push_back(1);
  const int64_t m = left[left.size() - 2];
  const int64_t k = left.back();
  const int64_t n = right.back();
  left.resize(left.size() - 2);
  right.resize(right.size() - 2);
  tensor::Dims dims = broadcast_dims(left, right);
  Walk walk_a(dims, broadcast_strides(left, dims));
  Walk walk_b(dims, broadcast_strides(right, dims));
  const int64_t batches = tensor::element_count(std::span<const int64_t>(dims));
  if (a.rank() > 1) dims.push_back(m);
  if (b.rank() > 1) dims.push_back(n);
  std::vector<Sum> values(size_t(tensor::element_count(std::span<const int64_t>(dims))));
  for (int64_t i = 0; i < batches; ++i) {
    multiply(a_data + walk_a.next() * m * k, k, 1, b_data + walk_b.next() * k * n, n, 1, m, k, n,
             values.data() + i * m * n);
  }
  return store(a.dtype(), std::move(dims), values);
}

void evaluate_mat_mul(EvaluateContext& context) {
  const tensor::Tensor& a = context.inputs[0];
  const tensor::Tensor& b = context.inputs[1];
  if (tensor::is_integer(a.dtype())) {
    const std::vector<uint64_t> left = load<uint64_t>(a);
    const std::vector<uint64_t> right = load<uint64_t>(b);
    context.outputs[0] = multiply_all<uint64_t, uint64_t>(a, b, left.data(), right.data());
  } else if (a.dtype() == tensor::DType::f64) {
    const RealView<double> left(a);
    const RealView<double> right(b);
    context.outputs[0] = multiply_all<double, double>(a, b, left.data(), right.data());
  } else {
    const RealView<float> left(a);
    const RealView<float> right(b);
    context.outputs[0] = multiply_all<float, double>(a, b, left.data(), right.data());
  }
}

}  // namespace

const OpDef& mat_mul_op() {
  static const OpDef def{.name = "MatMul",
                         .min_inputs = 2,
                         .max_inputs = 2,
                         .infer = infer_mat_mul,
                         .evaluate = evaluate_mat_mul};
  return def;
}

}  // namespace lathe::op

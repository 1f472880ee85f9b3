// alpha A' B' + beta C on matrices, A' and B' transposed if asked, C broadcast. Rounded once.
#include "op/inference.h"
#include "op/products.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_gemm(InferContext& context) {
  const TypeInfo& a = require(context, 0, kFloat | kInteger);
  const TypeInfo& b = require(context, 1, kFloat | kInteger);
  require_same_dtype(context, 0, 1);
  require_same_dtype(context, 0, 2);
  require_rank(context, 0, 2);
  require_rank(context, 1, 2);
  const bool trans_a = context.attributes.get_int("transA", 0) != 0;
  const bool trans_b = context.attributes.get_int("transB", 0) != 0;
  require_dims_agree(context, fmt::format("{} times {}", to_string(a), to_string(b)),
                     a.shape[trans_a ? 0 : 1], b.shape[trans_b ? 1 : 0]);
  tensor::Shape shape{a.shape[trans_a ? 1 : 0], b.shape[trans_b ? 0 : 1]};
  if (context.has_input(2)) {
    const tensor::Shape sum =
        with_context("Gemm", [&] { return tensor::broadcast(shape, context.input(2).shape); });
    for (size_t i = 0; i < 2; ++i) {
      if (sum.size() != 2) bad(context, "C {} does not broadcast to a matrix", to_string(context.input(2)));
      require_dims_agree(context, "C", sum[i], shape[i]);
    }
  }
  context.outputs[0] = {a.dtype, std::move(shape), std::nullopt};
}

// Everything in V: double, or uint64_t for integers, wrapping (alpha and beta act on the sum as a real
// number).
template <class V>
void compute(EvaluateContext& context) {
  const tensor::Tensor& a = context.inputs[0];
  const tensor::Tensor& b = context.inputs[1];
  const bool trans_a = context.attributes.get_int("transA", 0) != 0;
  const bool trans_b = context.attributes.get_int("transB", 0) != 0;
  const double alpha = context.attributes.get_float("alpha", 1);
  const double beta = context.attributes.get_float("beta", 1);
  const int64_t m = a.dims()[trans_a ? 1 : 0];
  const int64_t k = a.dims()[trans_a ? 0 : 1];
  const int64_t n = b.dims()[trans_b ? 0 : 1];
  const std::vector<V> left = load<V>(a);
  const std::vector<V> right = load<V>(b);
  std::vector<V> sums(size_t(count_of(std::vector<int64_t>{m, n}, 0, 2)));
  multiply(left.data(), trans_a ? 1 : k, trans_a ? m : 1, right.data(), trans_b ? 1 : n, trans_b ? k : 1, m,
           k, n, sums.data());
  if (alpha != 1) {
    for (V& sum : sums) sum = V(alpha * double(sum));
  }
  if (context.has_input(2) && beta != 0) {
    const tensor::Tensor& c = context.inputs[2];
    const std::vector<V> addend = load<V>(c);
    const tensor::Dims dims{m, n};
    Walk walk(dims, broadcast_strides(c.dims(), dims));
    for (V& sum : sums) {
      const V value = addend[size_t(walk.next())];
      sum += beta == 1 ? value : V(beta * double(value));
    }
  }
  context.outputs[0] = store(a.dtype(), {m, n}, sums);
}

}  // namespace

const OpDef& gemm_op() {
  static const OpDef def{
      .name = "Gemm",
      .min_inputs = 2,
      .max_inputs = 3,
      .attributes = {{"alpha", AttributeKind::real},
                     {"beta", AttributeKind::real},
                     {"transA", AttributeKind::integer},
                     {"transB", AttributeKind::integer}},
      .infer = infer_gemm,
      .evaluate =
          [](EvaluateContext& context) {
            if (tensor::is_float(context.inputs[0].dtype()))
              compute<double>(context);
            else
              compute<uint64_t>(context);
          },
  };
  return def;
}

}  // namespace lathe::op

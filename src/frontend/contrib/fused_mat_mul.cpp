// Products with transposed operands, a factor and an activation.
#include <numeric>

#include "base/error.h"
#include "frontend/contrib/parts.h"

namespace lathe::frontend {
namespace {

// Axes as FusedMatMul wants them: transBatch moves the first one before the last, then trans swaps the last two. A
// vector stays what it is.
Value transposed(const ContribNode& n, size_t i, std::string_view trans, std::string_view trans_batch) {
  const size_t rank = n.rank(i);
  const bool swap = n.get_bool(trans);
  const bool batch = !trans_batch.empty() && n.get_bool(trans_batch);
  if (rank < 2 || (!swap && !batch)) return n.in(i);
  std::vector<int64_t> axes(rank);
  std::iota(axes.begin(), axes.end(), 0);
  if (batch) std::rotate(axes.begin(), axes.begin() + 1, axes.end() - 1);
  if (swap) std::swap(axes[rank - 1], axes[rank - 2]);
  return n.b.transpose(n.in(i), axes);
}

Value scaled(const ContribNode& n, Value x) {
  const double alpha = n.get_float("alpha", 1);
  return alpha == 1 ? x : n.b.mul(x, n.b.scalar(alpha, n.dtype(0)));
}

// alpha A B
Value product(const ContribNode& n, bool batches) {
  const Value a = transposed(n, 0, "transA", batches ? "transBatchA" : "");
  const Value b = transposed(n, 1, "transB", batches ? "transBatchB" : "");
  return scaled(n, n.b.node("MatMul", {a, b}));
}

ActivationParameters activation_parameters(const ContribNode& n) {
  return {n.attributes().find_float("activation_alpha"), n.attributes().find_float("activation_beta")};
}

Results fused_mat_mul(const ContribNode& n) {
  return {product(n, true)};
}

Results transpose_mat_mul(const ContribNode& n) {
  return {product(n, false)};
}

Results fused_mat_mul_activation(const ContribNode& n) {
  return {activate(n.b, product(n, true), n.attributes().get_string("activation", ""), activation_parameters(n))};
}

// activation(alpha A B + beta C)
Results fused_gemm(const ContribNode& n) {
  std::vector<Value> inputs = {n.in(0), n.in(1)};
  if (n.has(2)) inputs.push_back(n.in(2));
  const Value y = n.b.node("Gemm", inputs, n.take({"alpha", "beta", "transA", "transB"}));
  return {activate(n.b, y, n.attributes().get_string("activation", ""), activation_parameters(n))};
}

constexpr ContribOp kOps[] = {
    {.name = "FusedMatMul",
     .inputs = "A B",
     .attributes = "alpha transA transB transBatchA transBatchB",
     .expand = fused_mat_mul},
    {.name = "TransposeMatMul", .inputs = "A B", .attributes = "alpha transA transB", .expand = transpose_mat_mul},
    {.name = "FusedMatMulActivation",
     .inputs = "A B",
     .attributes = "activation activation_alpha activation_beta alpha transA transB transBatchA transBatchB",
     .expand = fused_mat_mul_activation},
    {.name = "FusedGemm",
     .inputs = "A B C?",
     .attributes = "activation activation_alpha activation_beta alpha beta transA transB",
     .expand = fused_gemm},
};

}  // namespace

std::span<const ContribOp> fused_mat_mul_contrib() {
  return kOps;
}

}  // namespace lathe::frontend

// Matrix products of integers with scales: MatMulIntegerToFloat, DynamicQuantizeMatMul, QGemm, MatMulInteger16.
#include "base/error.h"
#include "frontend/contrib/integer_products.h"

namespace lathe::frontend {
namespace {

using tensor::DType;

// (A - za)(B - zb) (sa sb) + bias
Results mat_mul_integer_to_float(const ContribNode& n) {
  const Value y = integer_product(n, {0, 2, 4}, {1, 3, 5});
  return {n.has(6) ? n.b.add(y, n.in(6)) : y};
}

// The same of an A that is quantised to u8 by its own range.
Results dynamic_quantize_mat_mul(const ContribNode& n) {
  const Builder& b = n.b;
  const auto a = b.nodes("DynamicQuantizeLinear", {n.in(0)}, {}, 3);  // values, scale, zero point
  const Value sums = integer_product(b, a[0], a[2], n.in(1), n.in(3));
  const Value y = b.mul(b.cast(sums, DType::f32), b.mul(a[1], n.in(2)));
  return {n.has(4) ? b.add(y, n.in(4)) : y};
}

// ((A - za)(B - zb) + C) (alpha sa sb), as floats or quantised. A and B may be transposed.
Results q_gemm(const ContribNode& n) {
  enum Input : size_t { kA, kAScale, kAZero, kB, kBScale, kBZero, kC, kYScale, kYZero };
  const Builder& b = n.b;
  const auto operand = [&](size_t i, std::string_view trans) {
    return n.get_bool(trans) ? b.transpose(n.in(i), {1, 0}) : n.in(i);
  };
  n.require_rank(kA, {2});
  n.require_rank(kB, {2});
  Value sums = integer_product(b, operand(kA, "transA"), n.in(kAZero), operand(kB, "transB"), n.in(kBZero));
  if (n.has(kC)) sums = b.add(sums, n.in(kC));
  Value scale = b.mul(n.in(kAScale), n.in(kBScale));
  const double alpha = n.get_float("alpha", 1);
  if (alpha != 1) scale = b.mul(b.scalar(alpha, DType::f32), scale);
  const Value y = b.mul(b.cast(sums, DType::f32), scale);
  if (n.has(kYScale) != n.has(kYZero)) fail(ErrorCode::unsupported, "y_scale and y_zero_point go together");
  return {n.has(kYScale) ? b.node("QuantizeLinear", {y, n.in(kYScale), n.in(kYZero)}) : y};
}

// A B in 32 bits, unsigned only where both are.
Results mat_mul_integer16(const ContribNode& n) {
  const DType dtype = n.dtype(0) == DType::u16 && n.dtype(1) == DType::u16 ? DType::u32 : DType::i32;
  return {n.b.node("MatMul", {n.b.cast(n.in(0), dtype), n.b.cast(n.in(1), dtype)})};
}

constexpr ContribOp kOps[] = {
    {.name = "MatMulIntegerToFloat",
     .inputs = "A B a_scale b_scale a_zero_point? b_zero_point? bias?",
     .attributes = "",
     .expand = mat_mul_integer_to_float},
    {.name = "DynamicQuantizeMatMul",
     .inputs = "A B b_scale b_zero_point? bias?",
     .attributes = "",
     .expand = dynamic_quantize_mat_mul},
    {.name = "QGemm",
     .inputs = "A a_scale a_zero_point B b_scale b_zero_point C? y_scale? y_zero_point?",
     .attributes = "alpha transA transB",
     .expand = q_gemm},
    {.name = "MatMulInteger16", .inputs = "A B", .attributes = "", .expand = mat_mul_integer16},
};

}  // namespace

std::span<const ContribOp> integer_mat_mul_contrib() {
  return kOps;
}

}  // namespace lathe::frontend

// The matrix product of quantised a and b, requantised: ((a - za) sa)((b - zb) sb) / sy + zy, integers rounded to
// nearest even, all of them saturated. Integers with f32 scales are summed exactly and multiplied in f32 by sa sb / sy,
// as ONNX Runtime does.
#include <algorithm>
#include <cmath>

#include "op/batched_products.h"

namespace lathe::op {
namespace {

using tensor::Dim;
using tensor::DType;

enum Input : size_t { kA, kAScale, kAZero, kB, kBScale, kBZero, kYScale, kYZero };

bool is_quantised(DType dtype) {
  switch (dtype) {
    case DType::i8:
    case DType::u8:
    case DType::f8e4m3fn:
    case DType::f8e4m3fnuz:
    case DType::f8e5m2:
    case DType::f8e5m2fnuz:
      return true;
    default:
      return false;
  }
}

void infer_q_linear_mat_mul(InferContext& context) {
  for (const size_t i : {kA, kB, kYZero}) {
    if (!is_quantised(context.input(i).dtype))
      bad(context, "input {}: expected an 8-bit integer or float, found {}", i, to_string(context.input(i)));
  }
  require(context, kAScale, kF32 | kF16 | kBf16);
  require_same_dtype(context, kAScale, kBScale);
  require_same_dtype(context, kAScale, kYScale);
  require_same_dtype(context, kA, kAZero);
  require_same_dtype(context, kB, kBZero);
  tensor::Shape shape = product_shape(context, kA, kB);
  for (const size_t i : {kAScale, kAZero}) check_per_line(context, i, kA, -1);
  for (const size_t i : {kBScale, kBZero}) check_per_line(context, i, kB, -2);
  for (const size_t i : {kYScale, kYZero}) {
    if (tensor::element_count(context.input(i).shape) == Dim(1)) continue;
    require_rank(context, i, shape.size());
    for (size_t d = 0; d < shape.size(); ++d) {
      if (!(context.input(i).shape[d] == Dim(1)))
        require_dims_agree(context, fmt::format("input {}, axis {}", i, d), context.input(i).shape[d], shape[d]);
    }
  }
  context.outputs[0] = {context.input(kYZero).dtype, std::move(shape), std::nullopt};
}

// (x - zero) scale of an operand.
std::vector<double> load_real(const EvaluateContext& context, size_t operand, int summed) {
  const tensor::Tensor& x = context.inputs[operand];
  std::vector<double> values = load<double>(x);
  const std::vector<double> scales = load<double>(context.inputs[operand + 1]);
  const std::vector<double> zeros = load<double>(context.inputs[operand + 2]);
  const std::vector<int64_t> scale_of = per_line_index(context.inputs[operand + 1], x.dims(), summed);
  const std::vector<int64_t> zero_of = per_line_index(context.inputs[operand + 2], x.dims(), summed);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = (values[i] - zeros[size_t(zero_of[i])]) * scales[size_t(scale_of[i])];
  return values;
}

std::vector<int64_t> load_centred(const EvaluateContext& context, size_t operand, int summed) {
  std::vector<int64_t> values = load<int64_t>(context.inputs[operand]);
  const std::vector<int64_t> zeros = load<int64_t>(context.inputs[operand + 2]);
  const auto zero_of = per_line_index(context.inputs[operand + 2], context.inputs[operand].dims(), summed);
  for (size_t i = 0; i < values.size(); ++i) values[i] -= zeros[size_t(zero_of[i])];
  return values;
}

// The scale of each line of an operand whose summed axis has length 1.
std::vector<double> line_scales(const tensor::Tensor& scale, const tensor::Dims& dims, int summed) {
  const std::vector<double> scales = load<double>(scale);
  std::vector<double> lines;
  for (const int64_t i : per_line_index(scale, dims, summed)) lines.push_back(scales[size_t(i)]);
  return lines;
}

// sa sb for each element of the result, in f32.
std::vector<double> product_scales(const EvaluateContext& context) {
  tensor::Dims a = context.inputs[kA].dims(), b = context.inputs[kB].dims();
  a.back() = 1;
  b[b.size() - std::min<size_t>(b.size(), 2)] = 1;
  std::vector<double> scales = product(plan_product(a, b), line_scales(context.inputs[kAScale], a, -1),
                                       line_scales(context.inputs[kBScale], b, -2));
  for (double& scale : scales) scale = double(float(scale));
  return scales;
}

bool is_byte(const tensor::Tensor& x) {
  return x.dtype() == DType::i8 || x.dtype() == DType::u8;
}

void evaluate_q_linear_mat_mul(EvaluateContext& context) {
  const ProductPlan plan = plan_product(context.inputs[kA].dims(), context.inputs[kB].dims());
  const bool whole = is_byte(context.inputs[kA]) && is_byte(context.inputs[kB]) &&
                     context.inputs[kAScale].dtype() == DType::f32;
  std::vector<double> values;
  std::vector<double> factors;
  if (whole) {
    const auto sums = product(plan, load_centred(context, kA, -1), load_centred(context, kB, -2));
    for (const int64_t sum : sums) values.push_back(double(float(int32_t(uint32_t(sum)))));
    factors = product_scales(context);
  } else {
    values = product(plan, load_real(context, kA, -1), load_real(context, kB, -2));
  }
  const DType dtype = context.inputs[kYZero].dtype();
  const std::vector<double> scales = load<double>(context.inputs[kYScale]);
  const std::vector<double> zeros = load<double>(context.inputs[kYZero]);
  // One element of any rank stands for all; more are broadcast over the result.
  const auto walk = [&](const tensor::Tensor& parameter) {
    return parameter.size() == 1 ? Walk(plan.dims, tensor::Dims(plan.dims.size(), 0))
                                 : Walk(plan.dims, broadcast_strides(parameter.dims(), plan.dims));
  };
  Walk scale_of = walk(context.inputs[kYScale]);
  Walk zero_of = walk(context.inputs[kYZero]);
  const bool rounds = tensor::is_integer(dtype);
  const double lowest = dtype == DType::i8 ? -128 : 0;
  for (size_t i = 0; i < values.size(); ++i) {
    double& value = values[i];
    const double scale = scales[size_t(scale_of.next())];
    value = whole ? double(float(value) * (float(factors[i]) / float(scale))) : value / scale;
    const double zero = zeros[size_t(zero_of.next())];
    value = (rounds ? std::nearbyint(value) : value) + zero;
    if (rounds) value = std::isnan(value) ? lowest : std::clamp(value, lowest, lowest + 255);
  }
  context.outputs[0] = store(dtype, plan.dims, values);  // which saturates 8-bit floats
}

}  // namespace

const OpDef& q_linear_mat_mul_op() {
  static const OpDef def{
      .name = "QLinearMatMul",
      .min_inputs = 8,
      .max_inputs = 8,
      .infer = infer_q_linear_mat_mul,
      .evaluate = evaluate_q_linear_mat_mul,
  };
  return def;
}

}  // namespace lathe::op

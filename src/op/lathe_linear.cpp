// residual + activation(norm(x) [w_0; w_1; ...]' + biases): what backend/cpu/linear.h computes.
//
// Inputs: x f32 [.., K], residual? f32 [.., M], norm_scale? [K], norm_bias? [K], then `parts` weights
// w_i [N_i, K], then, if any is there, `parts` biases b_i? [N_i]. Output f32 [.., M]; M is the sum of the
// N_i, or N_0 when the activation gates part 1 by part 0. `compute` says how norm(x) is rounded before the
// products, `weights` how the weights are ("bf16", "f16"; else as they are).
#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/numbers.h"
#include "op/inference.h"
#include "op/products.h"
#include "op/rounded.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;
using tensor::DType;

enum Input : size_t { kX, kResidual, kNormScale, kNormBias, kWeights };

bool one_of(std::string_view text, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), text) != names.end();
}

bool is_gate(std::string_view activation) {
  return one_of(activation, {"silu_gate", "gelu_gate", "gelu_tanh_gate"});
}

void check_attributes(const InferContext& context) {
  const Attributes& a = context.attributes;
  const int64_t parts = a.get_int("parts", 1);
  const int64_t given = int64_t(context.inputs.size());
  if (parts < 1 || parts > 64) bad(context, "parts is {}", parts);
  if (given != int64_t(kWeights) + parts && given != int64_t(kWeights) + 2 * parts) {
    bad(context, "{} inputs do not fit {} parts", given, parts);
  }
  const std::string norm = a.get_string("norm", "none");
  if (!one_of(norm, {"none", "rms", "layer"})) bad(context, "norm \"{}\"", norm);
  if (norm == "none" && (context.has_input(kNormScale) || context.has_input(kNormBias)))
    bad(context, "norm inputs without a norm");
  if (norm == "rms" && context.has_input(kNormBias)) bad(context, "an rms norm has no bias");
  const std::string activation = a.get_string("activation", "none");
  if (!is_gate(activation) && !one_of(activation, {"none", "gelu", "gelu_tanh", "silu", "relu"})) {
    bad(context, "activation \"{}\"", activation);
  }
  if (is_gate(activation) && parts != 2) bad(context, "{} needs 2 parts, found {}", activation, parts);
  const std::string compute = a.get_string("compute", "f32");
  if (!one_of(compute, {"f32", "bf16", "f16", "i8", "i16"})) bad(context, "compute \"{}\"", compute);
  check_rounding(context, "weights");
}

void infer_linear(InferContext& context) {
  const TypeInfo& x = require_dtype(context, kX, DType::f32);
  check_attributes(context);
  if (x.shape.empty()) bad(context, "x is a scalar");
  const Dim columns = x.shape.back();
  for (const size_t i : {kNormScale, kNormBias}) {
    if (!context.has_input(i)) continue;
    require(context, i, kFloat);
    require_rank(context, i, 1);
    require_dims_agree(context, "norm", context.input(i).shape[0], columns);
  }
  const size_t parts = size_t(context.attributes.get_int("parts", 1));
  Dim rows;
  for (size_t i = 0; i < parts; ++i) {
    const TypeInfo& w = require(context, kWeights + i, kFloat);
    require_rank(context, kWeights + i, 2);
    require_dims_agree(context, fmt::format("columns of weight {}", i), w.shape[1], columns);
    rows = rows + w.shape[0];
    if (!context.has_input(kWeights + parts + i)) continue;
    require(context, kWeights + parts + i, kFloat);
    require_rank(context, kWeights + parts + i, 1);
    require_dims_agree(context, fmt::format("bias {}", i), context.input(kWeights + parts + i).shape[0],
                       w.shape[0]);
  }
  if (is_gate(context.attributes.get_string("activation", "none"))) {
    rows = context.input(kWeights).shape[0];
    require_dims_agree(context, "rows of the gated parts", rows, context.input(kWeights + 1).shape[0]);
  }
  tensor::Shape shape = x.shape;
  shape.back() = rows;
  if (context.has_input(kResidual)) {
    require_dtype(context, kResidual, DType::f32);
    require_rank(context, kResidual, shape.size());
    for (size_t i = 0; i < shape.size(); ++i) {
      require_dims_agree(context, "residual", context.input(kResidual).shape[i], shape[i]);
    }
  }
  context.outputs[0] = {DType::f32, std::move(shape), std::nullopt};
}

// Normalises one row in place, in double.
void normalise(const EvaluateContext& context, std::span<double> row) {
  const std::string norm = context.attributes.get_string("norm", "none");
  if (norm == "none") return;
  const double epsilon = float(context.attributes.get_float("epsilon", 0));
  double mean = 0;
  if (norm == "layer") {
    for (const double value : row) mean += value;
    mean /= double(row.size());
  }
  double squares = 0;
  for (const double value : row) squares += (value - mean) * (value - mean);
  const double inverse = 1 / std::sqrt(squares / double(row.size()) + epsilon);
  for (double& value : row) value = (value - mean) * inverse;
  if (context.has_input(kNormScale)) {
    const std::vector<double> scale = load<double>(context.inputs[kNormScale]);
    for (size_t i = 0; i < row.size(); ++i) row[i] *= scale[i];
  }
  if (context.has_input(kNormBias)) {
    const std::vector<double> bias = load<double>(context.inputs[kNormBias]);
    for (size_t i = 0; i < row.size(); ++i) row[i] += bias[i];
  }
}

// Rounds to integers up to `limit` with one f32 scale for each 32 columns, and back.
void round_to_integer_blocks(std::span<double> row, float limit) {
  constexpr size_t kBlock = 32;
  for (size_t begin = 0; begin < row.size(); begin += kBlock) {
    const auto block = row.subspan(begin, std::min(kBlock, row.size() - begin));
    float largest = 0;
    for (const double value : block) largest = std::max(largest, std::fabs(float(value)));
    const float scale = largest / limit;
    const float inverse = largest > 0 ? limit / largest : 0;
    for (double& value : block) {
      const float quantised = std::clamp(std::nearbyint(float(value) * inverse), -limit, limit);
      value = double(quantised) * double(scale);
    }
  }
}

void round_row(std::string_view compute, std::span<double> row) {
  if (compute == "i8") round_to_integer_blocks(row, 127);
  if (compute == "i16") round_to_integer_blocks(row, 32767);
  for (double& value : row) {
    if (compute == "bf16") value = bf16_to_f32(f32_to_bf16(float(value)));
    if (compute == "f16") value = f16_to_f32(f32_to_f16(float(value)));
  }
}

double activate(std::string_view name, double x) {
  if (name.starts_with("silu")) return x / (1 + std::exp(-x));
  if (name.starts_with("gelu_tanh")) {
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
  }
  if (name.starts_with("gelu")) return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2));
  if (name == "relu") return x < 0 ? 0 : x;
  return x;
}

// norm(x) w' + bias of part i, [rows of x, N_i].
std::vector<double> multiply_part(const EvaluateContext& context, size_t i, const std::vector<double>& x,
                                  int64_t rows) {
  const tensor::Tensor w = rounded_to(context.attributes.get_string("weights", "f32"), context.inputs[kWeights + i]);
  const int64_t outputs = w.dims()[0];
  const int64_t columns = w.dims()[1];
  std::vector<double> products(size_t(rows * outputs));
  const auto multiply_by = [&](const auto& weights) {
    multiply(x.data(), columns, 1, weights.data(), 1, columns, rows, columns, outputs, products.data());
  };
  if (w.dtype() == DType::f64)
    multiply_by(RealView<double>(w));
  else
    multiply_by(RealView<float>(w));
  const size_t bias = kWeights + size_t(context.attributes.get_int("parts", 1)) + i;
  if (context.has_input(bias)) {
    const std::vector<double> values = load<double>(context.inputs[bias]);
    for (size_t j = 0; j < products.size(); ++j) products[j] += values[j % values.size()];
  }
  return products;
}

void evaluate_linear(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[kX];
  const int64_t columns = x.dims().back();
  const int64_t rows = count_of(x.dims(), 0, x.dims().size() - 1);
  const std::string activation = context.attributes.get_string("activation", "none");
  const std::string compute = context.attributes.get_string("compute", "f32");
  std::vector<double> normal = load<double>(x);
  for (int64_t r = 0; r < rows; ++r) {
    const std::span row(normal.data() + r * columns, size_t(columns));
    normalise(context, row);
    round_row(compute, row);
  }
  const size_t parts = size_t(context.attributes.get_int("parts", 1));
  std::vector<std::vector<double>> results;
  for (size_t i = 0; i < parts; ++i) results.push_back(multiply_part(context, i, normal, rows));
  tensor::Dims dims = x.dims();
  dims.back() = 0;
  const bool gate = is_gate(activation);
  for (size_t i = 0; i < (gate ? 1 : parts); ++i) dims.back() += context.inputs[kWeights + i].dims()[0];
  std::vector<double> values(size_t(rows * dims.back()));
  int64_t start = 0;
  for (size_t i = 0; i < (gate ? 1 : parts); ++i) {
    const int64_t outputs = context.inputs[kWeights + i].dims()[0];
    for (int64_t j = 0; j < rows * outputs; ++j) {
      double value = activate(activation, results[i][size_t(j)]);
      if (gate) value *= results[1][size_t(j)];
      values[size_t(j / outputs * dims.back() + start + j % outputs)] = value;
    }
    start += outputs;
  }
  if (context.has_input(kResidual)) {
    const auto residual = load<double>(context.inputs[kResidual]);
    for (size_t i = 0; i < values.size(); ++i) values[i] += residual[i];
  }
  context.outputs[0] = store(DType::f32, dims, values);
}

}  // namespace

const OpDef& lathe_linear_op() {
  static const OpDef def{
      .name = "lathe.Linear",
      .min_inputs = 5,
      .max_inputs = kVariadic,
      .attributes = {{"activation", AttributeKind::string},
                     {"compute", AttributeKind::string},
                     {"epsilon", AttributeKind::real},
                     {"norm", AttributeKind::string},
                     {"parts", AttributeKind::integer},
                     {"weights", AttributeKind::string}},
      .infer = infer_linear,
      .evaluate = evaluate_linear,
  };
  return def;
}

}  // namespace lathe::op

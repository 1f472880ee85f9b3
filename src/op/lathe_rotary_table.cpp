// Cosines and sines for rotary embedding: inputs positions [..] i64 and inv_freq [R/2] f32; outputs cos and
// sin, f32 [.., R/2]. The angle is float(position) * inv_freq rounded to f32, as checkpoints were trained
// with; its cosine is taken in double, multiplied by `scale` and rounded once.
//
// With `dynamic_factor` f, `trained_length` n and `theta` (dynamic NTK scaling) inv_freq only says how many
// there are: with L = max(largest position + 1, n) the frequencies are those of the base
// theta * (f L / n - (f - 1)) ^ (R / (R - 2)). They depend on the longest sequence in the step, as in
// transformers.
#include <algorithm>
#include <cmath>
#include <utility>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_rotary_table(InferContext& context) {
  require_dtype(context, 0, tensor::DType::i64);
  require_dtype(context, 1, tensor::DType::f32);
  require_rank(context, 1, 1);
  tensor::Shape shape = context.input(0).shape;
  shape.push_back(context.input(1).shape[0]);
  for (TypeInfo& out : context.outputs) out = {tensor::DType::f32, shape, std::nullopt};
}

std::vector<float> dynamic_frequencies(const Attributes& attributes, std::span<const int64_t> positions,
                                       size_t half) {
  const double factor = attributes.get_float("dynamic_factor", 1);
  const double trained = attributes.get_float("trained_length", 1);
  const double dims = double(2 * half);
  const auto last = std::max_element(positions.begin(), positions.end());
  const double length = std::max(last == positions.end() ? 0 : double(*last) + 1, trained);
  const double base = attributes.get_float("theta", 10000) *
                      std::pow(factor * length / trained - (factor - 1), dims / (dims - 2));
  std::vector<float> frequencies;
  for (size_t i = 0; i < half; ++i) {
    frequencies.push_back(1.0f / float(std::pow(base, double(float(2 * i) / float(dims)))));
  }
  return frequencies;
}

void evaluate_rotary_table(EvaluateContext& context) {
  const auto positions = std::as_const(context.inputs[0]).data<int64_t>();
  const auto given = std::as_const(context.inputs[1]).data<float>();
  std::vector<float> frequencies(given.begin(), given.end());
  if (context.attributes.has("dynamic_factor")) {
    frequencies = dynamic_frequencies(context.attributes, positions, frequencies.size());
  }
  const double scale = context.attributes.get_float("scale", 1);
  tensor::Dims dims = context.inputs[0].dims();
  dims.push_back(int64_t(frequencies.size()));
  std::vector<double> cosines;
  std::vector<double> sines;
  for (const int64_t position : positions) {
    for (const float frequency : frequencies) {
      const float angle = float(position) * frequency;
      cosines.push_back(std::cos(double(angle)) * scale);
      sines.push_back(std::sin(double(angle)) * scale);
    }
  }
  context.outputs[0] = store(tensor::DType::f32, dims, cosines);
  context.outputs[1] = store(tensor::DType::f32, dims, sines);
}

}  // namespace

const OpDef& lathe_rotary_table_op() {
  static const OpDef def{
      .name = "lathe.RotaryTable",
      .min_inputs = 2,
      .max_inputs = 2,
      .min_outputs = 2,
      .max_outputs = 2,
      .attributes = {{"scale", AttributeKind::real},
                     {"dynamic_factor", AttributeKind::real},
                     {"trained_length", AttributeKind::real},
                     {"theta", AttributeKind::real}},
      .infer = infer_rotary_table,
      .evaluate = evaluate_rotary_table,
  };
  return def;
}

}  // namespace lathe::op

// Cosines and sines for rotary embedding: inputs positions [T] i64 and inv_freq [R/2] f32; outputs cos and
// sin, f32 [T, R/2]. The angle is float(position) * inv_freq rounded to f32, as checkpoints were trained
// with; its cosine is taken in double, multiplied by `scale` and rounded once.
#include <cmath>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_rotary_table(InferContext& context) {
  require_dtype(context, 0, tensor::DType::i64);
  require_dtype(context, 1, tensor::DType::f32);
  require_rank(context, 0, 1);
  require_rank(context, 1, 1);
  const tensor::Shape shape{context.input(0).shape[0], context.input(1).shape[0]};
  for (TypeInfo& out : context.outputs) out = {tensor::DType::f32, shape, std::nullopt};
}

void evaluate_rotary_table(EvaluateContext& context) {
  const auto positions = context.inputs[0].data<int64_t>();
  const auto frequencies = context.inputs[1].data<float>();
  const double scale = context.attributes.get_float("scale", 1);
  const tensor::Dims dims{int64_t(positions.size()), int64_t(frequencies.size())};
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
      .attributes = {{"scale", AttributeKind::real}},
      .infer = infer_rotary_table,
      .evaluate = evaluate_rotary_table,
  };
  return def;
}

}  // namespace lathe::op

// Convolution of 8-bit integers with scales: summed exactly, multiplied in f32 by x_scale w_scale / y_scale as ONNX
// Runtime does, rounded to nearest even, saturated.
#include <algorithm>
#include <cmath>

#include "op/convolution.h"
#include "op/quantized_convolution.h"
#include "op/values.h"

namespace lathe::op {
namespace {

// Inputs: x, its scale and zero point; w, its scale and zero point (one or one a feature); y's scale and zero
// point; bias in i32, its scale x_scale * w_scale.
enum Input : size_t { kX, kXScale, kXZero, kW, kWScale, kWZero, kYScale, kYZero, kBias };

void infer_q_linear_conv(InferContext& context) {
  for (const size_t i : {kX, kW, kYZero}) require_bytes(context, i);
  for (const size_t i : {kXScale, kWScale, kYScale}) require_dtype(context, i, tensor::DType::f32);
  require_same_dtype(context, kX, kXZero);
  require_same_dtype(context, kW, kWZero);
  for (const size_t i : {kXScale, kXZero, kYScale, kYZero}) require_single(context, i);
  tensor::Shape shape = infer_convolution(context, kW);
  require_single_or_vector(context, kWScale, shape[1]);
  require_single_or_vector(context, kWZero, shape[1]);
  if (context.has_input(kBias)) require_dtype(context, kBias, tensor::DType::i32);
  require_vector(context, kBias, shape[1]);
  context.outputs[0] = {context.input(kYZero).dtype, std::move(shape), std::nullopt};
}

void evaluate_q_linear_conv(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[kX];
  const tensor::Tensor& w = context.inputs[kW];
  const Windows windows = quantized_windows("QLinearConv", context.attributes, x, w);
  const int64_t batch = x.dims()[0];
  const int64_t features = w.dims()[0];
  std::vector<int64_t> sums =
      convolve(windows, load_less_zero(x, context.inputs[kXZero]), batch, x.dims()[1],
               load_less_zero(w, context.inputs[kWZero]), features, read_group("QLinearConv", context.attributes));
  if (context.has_input(kBias)) add_bias(sums, load<int64_t>(context.inputs[kBias]), batch);
  const float x_scale = float(load_double(context.inputs[kXScale]));
  const float y_scale = float(load_double(context.inputs[kYScale]));
  const std::vector<double> w_scales = load<double>(context.inputs[kWScale]);
  const tensor::Tensor& zero = context.inputs[kYZero];
  const double shift = load_double(zero);
  const double lowest = zero.dtype() == tensor::DType::i8 ? -128 : 0;
  const int64_t count = windows.count();
  std::vector<double> y(sums.size());
  for (size_t i = 0; i < y.size(); ++i) {
    const size_t feature = i / size_t(count) % size_t(features);
    const float scale = x_scale * float(w_scales[w_scales.size() == 1 ? 0 : feature]) / y_scale;
    const double value = std::nearbyint(float(int32_t(uint32_t(sums[i]))) * scale) + shift;
    y[i] = std::isnan(value) ? lowest : std::clamp(value, lowest, lowest + 255);
  }
  context.outputs[0] = store(zero.dtype(), window_dims(batch, features, windows.counts), y);
}

}  // namespace

const OpDef& q_linear_conv_op() {
  static const OpDef def{
      .name = "QLinearConv",
      .min_inputs = 8,
      .max_inputs = 9,
      .attributes = {{"auto_pad", AttributeKind::string},
                     {"dilations", AttributeKind::integers},
                     {"group", AttributeKind::integer},
                     {"kernel_shape", AttributeKind::integers},
                     {"pads", AttributeKind::integers},
                     {"strides", AttributeKind::integers}},
      .infer = infer_q_linear_conv,
      .evaluate = evaluate_q_linear_conv,
  };
  return def;
}

}  // namespace lathe::op

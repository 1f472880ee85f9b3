// What lathe.QConv and lathe.QLinear share: their inputs, and what happens to a sum of products of bytes.
//
// For x and w of 8-bit integers, feature m and s = sum of (x - x_zero)(w - w_zero[m]) in 32 bits that wrap:
//   without scale           y = s + bias[m]                                        i32
//   with scale, no y_zero   y = activation(v + residual), or activation(v) + residual with residual_last
//   with scale and y_zero   y = round(clamp(v)) + y_zero, saturated                the type of y_zero
//   and a residual of bytes m = round(clamp(v)), within [middle_low, middle_high]
//                           y = round(sum_clamp(m * middle_scale + (residual - residual_zero) * residual_scale))
//                               + y_zero, saturated
// where v = (s + bias[m]) * (x_scale * scale[m]) for a bias of i32, s * (x_scale * scale[m]) + bias[m] for one of f32.
// Each of these operations rounds once, to f32; round is to the nearest integer, ties to even; a NaN becomes the lowest
// value. So kernels can give the same bits.
#pragma once

#include <string>
#include <vector>

#include "op/inference.h"
#include "op/op.h"

namespace lathe::op {

enum QuantizedInput : size_t {
  kQX,         // u8 or i8
  kQWeights,   // u8 or i8, features first
  kQXZero,     // ? of x's type, one
  kQWZero,     // ? of the weights' type, one or one for each feature
  kQScale,     // ? f32, one or one for each feature
  kQXScale,    // ? f32, one
  kQBias,      // ? i32, or f32 with scale; one for each feature
  kQResidual,  // ? f32 as the output, or u8 or i8 of its shape
  kQYZero,     // ? u8 or i8, one
  kQInputs
};

// The output's type, after everything but the shapes of x and w has been checked.
TypeInfo infer_quantized_product(const InferContext& context, tensor::Shape shape, const tensor::Dim& features);

// The weights less their zero points, by feature.
std::vector<int64_t> load_quantized_weights(const EvaluateContext& context);
// x less its zero point.
std::vector<int64_t> load_quantized_x(const EvaluateContext& context);
// From sums to the output of these dims; a feature has `inner` elements in a row.
tensor::Tensor finish_quantized_product(const EvaluateContext& context, const std::vector<int64_t>& sums,
                                        const tensor::Dims& dims, int64_t features, int64_t inner);

// The attributes of a residual of bytes.
struct QuantizedSum {
  float middle_low, middle_high, middle_scale;
  float residual_zero, residual_scale;
  std::string activation;
};
QuantizedSum quantized_sum(const Attributes& attributes);
std::vector<AttributeSpec> quantized_attributes();  // of both operators

// The clamp that `activation` ("", "Relu 0" or "Clip 0 #low #high") is; throws invalid_input for any other.
struct QuantizedClamp {
  float low;
  float high;
};
QuantizedClamp quantized_clamp(std::string_view activation);

}  // namespace lathe::op

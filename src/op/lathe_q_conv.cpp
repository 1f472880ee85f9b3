// A convolution of 8-bit integers with what follows it: sums, floats, or bytes again (op/quantized_product.h). Padding
// is x's zero point.
//
// Inputs: x [N, C, spatial...], w [M, C / group, kernel...], then those of quantized_product.h. Attributes: those of
// Conv; `activation` and `residual_last` as lathe.Conv has them, `activation` a clamp in steps of y where y is bytes.
#include "op/convolution.h"
#include "op/quantized_convolution.h"
#include "op/quantized_product.h"

namespace lathe::op {
namespace {

void infer_lathe_q_conv(InferContext& context) {
  tensor::Shape shape = infer_convolution(context, kQWeights);
  const tensor::Dim features = shape[1];
  context.outputs[0] = infer_quantized_product(context, std::move(shape), features);
}

void evaluate_lathe_q_conv(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[kQX];
  const tensor::Tensor& w = context.inputs[kQWeights];
  const Windows windows = quantized_windows("lathe.QConv", context.attributes, x, w);
  const int64_t batch = x.dims()[0], features = w.dims()[0];
  const std::vector<int64_t> sums =
      convolve(windows, load_quantized_x(context), batch, x.dims()[1], load_quantized_weights(context), features,
               read_group("lathe.QConv", context.attributes));
  context.outputs[0] =
      finish_quantized_product(context, sums, window_dims(batch, features, windows.counts), features, windows.count());
}

std::vector<AttributeSpec> attributes() {
  std::vector<AttributeSpec> all = quantized_attributes();
  all.insert(all.end(), {{"auto_pad", AttributeKind::string},
                         {"dilations", AttributeKind::integers},
                         {"group", AttributeKind::integer},
                         {"kernel_shape", AttributeKind::integers},
                         {"pads", AttributeKind::integers},
                         {"strides", AttributeKind::integers}});
  return all;
}

}  // namespace

const OpDef& lathe_q_conv_op() {
  static const OpDef def{
      .name = "lathe.QConv",
      .min_inputs = 2,
      .max_inputs = kQInputs,
      .attributes = attributes(),
      .infer = infer_lathe_q_conv,
      .evaluate = evaluate_lathe_q_conv,
  };
  return def;
}

}  // namespace lathe::op

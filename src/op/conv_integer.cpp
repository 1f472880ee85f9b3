// Convolution of 8-bit integers less their zero points, in 32 bits that wrap; padding is the zero point.
#include "op/convolution.h"
#include "op/quantized_convolution.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_conv_integer(InferContext& context) {
  require_bytes(context, 0);
  require_bytes(context, 1);
  require_same_dtype(context, 0, 2);
  require_same_dtype(context, 1, 3);
  tensor::Shape shape = infer_convolution(context, 1);
  require_single(context, 2);
  require_single_or_vector(context, 3, shape[1]);
  context.outputs[0] = {tensor::DType::i32, std::move(shape), std::nullopt};
}

void evaluate_conv_integer(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const tensor::Tensor& w = context.inputs[1];
  const tensor::Tensor none;
  const Windows windows = quantized_windows("ConvInteger", context.attributes, x, w);
  const std::vector<int64_t> y =
      convolve(windows, load_less_zero(x, context.has_input(2) ? context.inputs[2] : none), x.dims()[0], x.dims()[1],
               load_less_zero(w, context.has_input(3) ? context.inputs[3] : none), w.dims()[0],
               read_group("ConvInteger", context.attributes));
  context.outputs[0] = store(tensor::DType::i32, window_dims(x.dims()[0], w.dims()[0], windows.counts), y);
}

}  // namespace

const OpDef& conv_integer_op() {
  static const OpDef def{
      .name = "ConvInteger",
      .min_inputs = 2,
      .max_inputs = 4,
      .attributes = {{"auto_pad", AttributeKind::string},
                     {"dilations", AttributeKind::integers},
                     {"group", AttributeKind::integer},
                     {"kernel_shape", AttributeKind::integers},
                     {"pads", AttributeKind::integers},
                     {"strides", AttributeKind::integers}},
      .infer = infer_conv_integer,
      .evaluate = evaluate_conv_integer,
  };
  return def;
}

}  // namespace lathe::op

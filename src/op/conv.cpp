// Convolution: windows of x times the weights of each feature, summed over channels and kernel. Rounded once.
#include "op/convolution.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_conv(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat);
  require_same_dtype(context, 0, 1);
  require_same_dtype(context, 0, 2);
  tensor::Shape shape = infer_convolution(context, 1);
  require_vector(context, 2, shape[1]);
  context.outputs[0] = {x.dtype, std::move(shape), std::nullopt};
}

void evaluate_conv(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const tensor::Tensor& w = context.inputs[1];
  const tensor::Shape kernel = kernel_of(tensor::to_shape(w.dims()));
  const Windows windows = plan_windows("Conv", context.attributes, x, &kernel);
  const int64_t batch = x.dims()[0];
  const int64_t features = w.dims()[0];
  std::vector<double> y = convolve(windows, load<double>(x), batch, x.dims()[1], load<double>(w), features,
                                   read_group("Conv", context.attributes));
  if (context.has_input(2)) add_bias(y, load<double>(context.inputs[2]), batch);
  context.outputs[0] = store(x.dtype(), window_dims(batch, features, windows.counts), y);
}

}  // namespace

const OpDef& conv_op() {
  static const OpDef def{
      .name = "Conv",
      .min_inputs = 2,
      .max_inputs = 3,
      .attributes = {{"auto_pad", AttributeKind::string},
                     {"dilations", AttributeKind::integers},
                     {"group", AttributeKind::integer},
                     {"kernel_shape", AttributeKind::integers},
                     {"pads", AttributeKind::integers},
                     {"strides", AttributeKind::integers}},
      .infer = infer_conv,
      .evaluate = evaluate_conv,
  };
  return def;
}

}  // namespace lathe::op

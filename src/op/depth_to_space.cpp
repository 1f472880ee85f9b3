// Moves channels into blocks of pixels: [n, c, h, w] to [n, c / b^2, h * b, w * b].
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;

void infer_depth_to_space(InferContext& context) {
  const TypeInfo& x = require(context, 0, kAny);
  require_rank(context, 0, 4);
  const std::string mode = context.attributes.get_string("mode", "DCR");
  if (mode != "DCR" && mode != "CRD") bad(context, "mode \"{}\"", mode);
  const int64_t block = context.attributes.find_int("blocksize").value();
  if (block < 1 || block > INT32_MAX) bad(context, "blocksize is {}", block);
  const auto channels = divide_exactly(x.shape[1], Dim(block * block));
  if (!channels && x.shape[1].is_constant()) bad(context, "{} channels in blocks of {}", x.shape[1].value(), block);
  context.outputs[0] = {
      x.dtype,
      {x.shape[0], channels ? *channels : unknown_dim(context, 1), x.shape[2] * Dim(block), x.shape[3] * Dim(block)},
      std::nullopt};
}

void evaluate_depth_to_space(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const int64_t block = context.attributes.find_int("blocksize").value();
  const bool depth_first = context.attributes.get_string("mode", "DCR") == "DCR";
  const int64_t channels = x.dims()[1] / (block * block);
  const tensor::Dims s = contiguous_strides(x.dims());  // [n, c, h, w]
  // Channel = (row of the block * b + column) * channels + c with DCR, else (c * b + row) * b + column.
  const int64_t row = depth_first ? block * channels * s[1] : block * s[1];
  const int64_t column = depth_first ? channels * s[1] : s[1];
  const int64_t channel = depth_first ? s[1] : block * block * s[1];
  Walk walk({x.dims()[0], channels, x.dims()[2], block, x.dims()[3], block}, {s[0], channel, s[2], row, s[3], column});
  context.outputs[0] =
      take(x, {x.dims()[0], channels, x.dims()[2] * block, x.dims()[3] * block}, [&] { return walk.next(); });
}

}  // namespace

const OpDef& depth_to_space_op() {
  static const OpDef def{
      .name = "DepthToSpace",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"blocksize", AttributeKind::integer, true}, {"mode", AttributeKind::string}},
      .infer = infer_depth_to_space,
      .evaluate = evaluate_depth_to_space,
  };
  return def;
}

}  // namespace lathe::op

// Moves blocks of pixels into channels: [n, c, h, w] to [n, c * b^2, h / b, w / b].
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;

void infer_space_to_depth(InferContext& context) {
  const TypeInfo& x = require(context, 0, kAny);
  require_rank(context, 0, 4);
  const int64_t block = context.attributes.find_int("blocksize").value();
  if (block < 1 || block > INT32_MAX) bad(context, "blocksize is {}", block);
  tensor::Shape shape{x.shape[0], x.shape[1] * Dim(block * block)};
  for (size_t i = 2; i < 4; ++i) {
    const auto count = divide_exactly(x.shape[i], Dim(block));
    if (!count && x.shape[i].is_constant()) bad(context, "{} pixels in blocks of {}", x.shape[i].value(), block);
    shape.push_back(count ? *count : unknown_dim(context, i));
  }
  context.outputs[0] = {x.dtype, std::move(shape), std::nullopt};
}

void evaluate_space_to_depth(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const int64_t block = context.attributes.find_int("blocksize").value();
  const int64_t height = x.dims()[2] / block;
  const int64_t width = x.dims()[3] / block;
  const tensor::Dims s = contiguous_strides(x.dims());
  // New channel = (row of the block * b + column) * channels + c.
  Walk walk({x.dims()[0], block, block, x.dims()[1], height, width},
            {s[0], s[2], s[3], s[1], block * s[2], block * s[3]});
  context.outputs[0] = take(x, {x.dims()[0], x.dims()[1] * block * block, height, width}, [&] { return walk.next(); });
}

}  // namespace

const OpDef& space_to_depth_op() {
  static const OpDef def{
      .name = "SpaceToDepth",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"blocksize", AttributeKind::integer, true}},
      .infer = infer_space_to_depth,
      .evaluate = evaluate_space_to_depth,
  };
  return def;
}

}  // namespace lathe::op

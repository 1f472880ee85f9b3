// The input repeated along every axis.
#include "base/checked.h"
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_tile(InferContext& context) {
  const TypeInfo& data = require(context, 0, kAny);
  require_dtype(context, 1, tensor::DType::i64);
  require_rank(context, 1, 1);
  require_dims_agree(context, "repeats", context.input(1).shape[0], tensor::Dim(int64_t(data.shape.size())));
  const auto repeats = known_dims(context, 1);
  tensor::Shape shape;
  for (size_t i = 0; i < data.shape.size(); ++i) {
    if (repeats && (*repeats)[i].constant().value_or(0) < 0)
      bad(context, "repeats {} times", (*repeats)[i].to_string());
    shape.push_back(repeats ? data.shape[i] * (*repeats)[i] : unknown_dim(context, i));
  }
  context.outputs[0] = {data.dtype, std::move(shape), std::nullopt};
}

void evaluate_tile(EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  const std::vector<int64_t> repeats = load<int64_t>(context.inputs[1]);
  tensor::Dims dims = data.dims();
  for (size_t i = 0; i < dims.size(); ++i) dims[i] = checked_mul(dims[i], repeats[i], "tiled dimension");
  const tensor::Dims strides = contiguous_strides(data.dims());
  Walk walk(dims, tensor::Dims(dims.size(), 0));
  context.outputs[0] = take(data, dims, [&] {
    int64_t from = 0;
    for (size_t i = 0; i < strides.size(); ++i) from += walk.index()[i] % data.dims()[i] * strides[i];
    walk.next();
    return from;
  });
}

}  // namespace

const OpDef& tile_op() {
  static const OpDef def{
      .name = "Tile", .min_inputs = 2, .max_inputs = 2, .infer = infer_tile, .evaluate = evaluate_tile};
  return def;
}

}  // namespace lathe::op

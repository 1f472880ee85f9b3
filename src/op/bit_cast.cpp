// The same bits read as another type of the same width.
#include <algorithm>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;

DType target(const Attributes& attributes) {
  const int64_t to = attributes.get_int("to", 0);
  if (to < int64_t(DType::f32) || to > int64_t(DType::i2)) {
    fail(ErrorCode::invalid_input, "BitCast: {} is no data type", to);
  }
  return DType(to);
}

void infer_bit_cast(InferContext& context) {
  const TypeInfo& x = require(context, 0, kAny & ~kString);
  const DType to = target(context.attributes);
  if (to == DType::string || tensor::bits(to) != tensor::bits(x.dtype)) {
    bad(context, "{} bits of {} cannot be read as {}", tensor::bits(x.dtype), to_string(x), tensor::to_string(to));
  }
  context.outputs[0] = {to, x.shape, std::nullopt};
}

void evaluate_bit_cast(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  tensor::Tensor result(target(context.attributes), x.dims());
  const auto to = result.mutable_bytes();
  std::copy(x.bytes().begin(), x.bytes().end(), to.begin());
  // A boolean is 0 or 1 in memory, whatever the byte was: C++ gives others no meaning.
  if (result.dtype() == DType::boolean) {
    for (std::byte& byte : to) byte = std::byte(byte != std::byte{0});
  }
  context.outputs[0] = std::move(result);
}

}  // namespace

const OpDef& bit_cast_op() {
  static const OpDef def{
      .name = "BitCast",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"to", AttributeKind::integer, true}},
      .since = 26,
      .elementwise = true,
      .infer = infer_bit_cast,
      .evaluate = evaluate_bit_cast,
  };
  return def;
}

}  // namespace lathe::op

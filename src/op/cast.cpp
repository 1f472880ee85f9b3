// The elements in another type, given by its ONNX number.
#include "op/casting.h"
#include "op/inference.h"

namespace lathe::op {
namespace {

tensor::DType target(const Attributes& attributes) {
  const int64_t to = attributes.get_int("to", 0);
  if (to < int64_t(tensor::DType::f32) || to > int64_t(tensor::DType::i2)) {
    fail(ErrorCode::invalid_input, "Cast: {} is no data type", to);
  }
  return tensor::DType(to);
}

void infer_cast(InferContext& context) {
  const TypeInfo& x = require(context, 0, kAny);
  const tensor::DType to = target(context.attributes);
  if (to != x.dtype && ((set_of(to) | set_of(x.dtype)) & kComplex))
    bad(context, "no casts of complex numbers");
  context.outputs[0] = {to, x.shape, std::nullopt};
  if (set_of(to) & kInteger) set_elements(context.outputs[0], known_dims(context, 0));
}

}  // namespace

const OpDef& cast_op() {
  static const OpDef def{
      .name = "Cast",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"to", AttributeKind::integer, true},
                     {"saturate", AttributeKind::integer, false, 19},
                     {"round_mode", AttributeKind::string, false, 24}},
      .infer = infer_cast,
      .evaluate =
          [](EvaluateContext& context) {
            context.outputs[0] =
                cast_elements(context.inputs[0], target(context.attributes), context.attributes);
          },
  };
  return def;
}

}  // namespace lathe::op

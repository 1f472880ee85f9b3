// The elements in the type of the second input.
#include "op/casting.h"
#include "op/inference.h"

namespace lathe::op {
namespace {

void infer_cast_like(InferContext& context) {
  const TypeInfo& x = require(context, 0, kAny & ~kComplex);
  const TypeInfo& like = require(context, 1, kAny & ~kComplex);
  context.outputs[0] = {like.dtype, x.shape, std::nullopt};
  if (set_of(like.dtype) & kInteger) set_elements(context.outputs[0], known_dims(context, 0));
}

}  // namespace

const OpDef& cast_like_op() {
  static const OpDef def{
      .name = "CastLike",
      .min_inputs = 2,
      .max_inputs = 2,
      .attributes = {{"saturate", AttributeKind::integer, false, 19}, {"round_mode", AttributeKind::string, false, 24}},
      .since = 15,
      .infer = infer_cast_like,
      .evaluate =
          [](EvaluateContext& context) {
            context.outputs[0] =
                cast_elements(context.inputs[0], context.inputs[1].dtype(), context.attributes);
          },
  };
  return def;
}

}  // namespace lathe::op

// Unsigned integers with their bits moved to the left or right by as many places as the second input says.
#include "op/bitwise.h"

namespace lathe::op {
namespace {

void infer_bit_shift(InferContext& context) {
  infer_binary(context, kUnsigned);
  const std::string direction = context.attributes.get_string("direction", "");
  if (direction != "LEFT" && direction != "RIGHT") {
    bad(context, "direction: expected LEFT or RIGHT, found \"{}\"", direction);
  }
}

// Shifts by the width of the type or more leave nothing; in C++ those from 64 on would be undefined. (A narrower
// type loses its upper bits when the result is stored.)
void evaluate_bit_shift(EvaluateContext& context) {
  const bool left = context.attributes.get_string("direction", "") == "LEFT";
  evaluate_bits(context, [&](uint64_t x, uint64_t places) -> uint64_t {
    if (places >= 64) return 0;
    return left ? x << places : x >> places;
  });
}

}  // namespace

const OpDef& bit_shift_op() {
  static const OpDef def{
      .name = "BitShift",
      .min_inputs = 2,
      .max_inputs = 2,
      .attributes = {{"direction", AttributeKind::string, true}},
      .elementwise = true,
      .infer = infer_bit_shift,
      .evaluate = evaluate_bit_shift,
  };
  return def;
}

}  // namespace lathe::op

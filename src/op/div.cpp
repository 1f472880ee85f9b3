// a / b, broadcast; integers truncate towards zero and may not be divided by 0.
#include "op/elementwise.h"

namespace lathe::op {
namespace {

struct Divide {
  double operator()(double a, double b) const { return a / b; }
  uint64_t operator()(uint64_t a, uint64_t b) const {
    check(b != 0);
    return a / b;
  }
  int64_t operator()(int64_t a, int64_t b) const {
    check(b != 0);
    return b == -1 ? int64_t(0 - uint64_t(a)) : a / b;  // the most negative number divided by -1 wraps
  }
  static void check(bool good) {
    if (!good) fail(ErrorCode::invalid_input, "Div: integer division by zero");
  }
};

}  // namespace

const OpDef& div_op() {
  static const OpDef def{
      .name = "Div",
      .min_inputs = 2,
      .max_inputs = 2,
      .elementwise = true,
      .infer =
          [](InferContext& context) {
            infer_binary(context, kNumeric);
            combine_elements(context,
                             [](const tensor::Dim& a, const tensor::Dim& b) -> std::optional<tensor::Dim> {
                               if (a.is_constant() && b.is_constant() && b.value() != 0)
                                 return tensor::Dim(a.value() / b.value());
                               return divide_exactly(a, b);
                             });
          },
      .evaluate = [](EvaluateContext& context) { evaluate_binary(context, Divide{}); },
  };
  return def;
}

}  // namespace lathe::op

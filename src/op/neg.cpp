// -x.
#include "op/elementwise.h"

namespace lathe::op {
namespace {

struct Negate {
  double operator()(double x) const { return -x; }
  int64_t operator()(int64_t x) const { return int64_t(0 - uint64_t(x)); }
  uint64_t operator()(uint64_t x) const { return 0 - x; }
};

}  // namespace

const OpDef& neg_op() {
  static const OpDef def{
      .name = "Neg",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer =
          [](InferContext& context) {
            infer_unary(context, kFloat | kSigned);
            if (const auto x = known_ints(context, 0)) {
              std::vector<tensor::Dim> elements;
              for (const int64_t value : *x) elements.emplace_back(Negate{}(value));
              set_elements(context.outputs[0], std::move(elements));
            }
          },
      .evaluate =
          [](EvaluateContext& context) {
            context.outputs[0] = map(context.inputs[0], context.inputs[0].dtype(), Negate{});
          },
  };
  return def;
}

}  // namespace lathe::op

// x times the normal distribution's cumulative density: exact with erf, or its approximation with tanh.
#include <cmath>
#include <numbers>

#include "op/elementwise.h"

namespace lathe::op {
namespace {

double gelu_exact(double x) {
  return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2));
}

// sqrt(2 / pi) (x + 0.044715 x^3)
double gelu_tanh(double x) {
  const double inner = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  return 0.5 * x * (1 + std::tanh(inner));
}

}  // namespace

const OpDef& gelu_op() {
  static const OpDef def{
      .name = "Gelu",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"approximate", AttributeKind::string}},
      .since = 20,
      .elementwise = true,
      .infer =
          [](InferContext& context) {
            infer_unary(context, kFloat);
            const std::string mode = context.attributes.get_string("approximate", "none");
            if (mode != "none" && mode != "tanh")
              bad(context, "approximate: expected none or tanh, found {}", mode);
          },
      .evaluate =
          [](EvaluateContext& context) {
            const bool tanh = context.attributes.get_string("approximate", "none") == "tanh";
            evaluate_real(context, tanh ? gelu_tanh : gelu_exact);
          },
  };
  return def;
}

}  // namespace lathe::op

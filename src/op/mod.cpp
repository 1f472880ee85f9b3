// The remainder of a / b: with the sign of b, or of a if fmod is 1 (floats must set it).
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
namespace {

struct Remainder {
  bool fmod;

  double operator()(double a, double b) const {
    const double remainder = std::fmod(a, b);
    return !fmod && remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
  }
  uint64_t operator()(uint64_t a, uint64_t b) const {
    check(b != 0);
    return a % b;
  }
  int64_t operator()(int64_t a, int64_t b) const {
    check(b != 0);
    const int64_t remainder = b == -1 ? 0 : a % b;
    return !fmod && remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
  }
  static void check(bool good) {
    if (!good) fail(ErrorCode::invalid_input, "Mod: integer division by zero");
  }
};

}  // namespace

const OpDef& mod_op() {
  static const OpDef def{
      .name = "Mod",
      .min_inputs = 2,
      .max_inputs = 2,
      .attributes = {{"fmod", AttributeKind::integer}},
      .elementwise = true,
      .infer =
          [](InferContext& context) {
            infer_binary(context, kNumeric);
            const bool fmod = context.attributes.get_int("fmod", 0) != 0;
            if (!fmod && tensor::is_float(context.input(0).dtype)) bad(context, "floats need fmod = 1");
            combine_elements(context,
                             [&](const tensor::Dim& a, const tensor::Dim& b) -> std::optional<tensor::Dim> {
                               if (!a.is_constant() || !b.is_constant() || b.value() == 0)
                                 return std::nullopt;
                               return tensor::Dim(Remainder{fmod}(a.value(), b.value()));
                             });
          },
      .evaluate =
          [](EvaluateContext& context) {
            evaluate_binary(context, Remainder{context.attributes.get_int("fmod", 0) != 0});
          },
  };
  return def;
}

}  // namespace lathe::op

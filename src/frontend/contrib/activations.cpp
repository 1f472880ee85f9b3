// Gelu in its fused forms, QuickGelu, and the sums of a bias that are named after what comes next.
#include "frontend/contrib.h"

namespace lathe::frontend {
namespace {

// Input `i`, where there is one, added to x.
Value plus(const ContribNode& n, Value x, size_t i) {
  return n.has(i) ? n.b.add(x, n.in(i)) : x;
}

Value tanh_gelu(const ContribNode& n, Value x) {
  return n.b.node("Gelu", {x}, {{"approximate", std::string("tanh")}});
}

Results gelu(const ContribNode& n) {
  return {n.b.node("Gelu", {n.in(0)})};
}

// Gelu(A + B)
Results bias_gelu(const ContribNode& n) {
  return {n.b.node("Gelu", {n.b.add(n.in(0), n.in(1))})};
}

// x/2 (1 + tanh(0.797885 x + 0.035677 x^3)) of x = X + bias: sqrt(2/pi) and 0.044715 sqrt(2/pi), to six digits
Results fast_gelu(const ContribNode& n) {
  return {tanh_gelu(n, plus(n, n.in(0), 1))};
}

// FastGelu(X W + bias)
Results gemm_fast_gelu(const ContribNode& n) {
  return {tanh_gelu(n, plus(n, n.b.node("MatMul", {n.in(0), n.in(1)}), 2))};
}

// x sigmoid(alpha x)
Results quick_gelu(const ContribNode& n) {
  return {n.b.node("Swish", {n.in(0)}, {{"alpha", n.get_float("alpha", double(1.702f))}})};
}

// left * Gelu(right) of the two halves of X + bias
Results bias_split_gelu(const ContribNode& n) {
  const auto halves =
      n.b.nodes("Split", {n.b.add(n.in(0), n.in(1))}, {{"axis", int64_t{-1}}, {"num_outputs", int64_t{2}}}, 2);
  return {n.b.mul(halves[0], n.b.node("Gelu", {halves[1]}))};
}

// X + bias + skip
Results bias_add(const ContribNode& n) {
  return {n.b.add(n.b.add(n.in(0), n.in(1)), n.in(2))};
}

constexpr ContribOp kOps[] = {
    {.name = "Gelu", .inputs = "X", .attributes = "", .expand = gelu},
    {.name = "BiasGelu", .inputs = "A B", .attributes = "", .expand = bias_gelu},
    {.name = "FastGelu", .inputs = "X bias?", .attributes = "", .expand = fast_gelu},
    {.name = "GemmFastGelu", .inputs = "X W bias?", .attributes = "", .expand = gemm_fast_gelu},
    {.name = "QuickGelu", .inputs = "X", .attributes = "alpha", .expand = quick_gelu},
    {.name = "BiasSplitGelu", .inputs = "X bias", .attributes = "", .expand = bias_split_gelu},
    {.name = "BiasAdd", .inputs = "X bias skip", .attributes = "", .expand = bias_add},
};

}  // namespace

std::span<const ContribOp> activations_contrib() {
  return kOps;
}

}  // namespace lathe::frontend

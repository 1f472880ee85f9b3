// Layer and RMS normalisation, alone and after a sum.
#include "frontend/contrib.h"

namespace lathe::frontend {
namespace {

using tensor::DType;

constexpr double kSkipEpsilon = 1e-12;

// 1 / sqrt(mean(x^2) + epsilon) over the axes from `axis` on, in f32.
Value inverse_root_mean_square(const Builder& b, Value x, int64_t axis, double epsilon) {
  const int64_t rank = int64_t(b.graph().type(x).shape.size());
  std::vector<int64_t> axes;
  for (int64_t i = axis < 0 ? axis + rank : axis; i < rank; ++i) axes.push_back(i);
  const Value wide = b.cast(x, DType::f32);
  const Value mean = b.node("ReduceMean", {b.mul(wide, wide), b.ints(axes)}, {{"keepdims", int64_t{1}}});
  return b.node("Reciprocal", {b.node("Sqrt", {b.add(mean, b.scalar(epsilon, DType::f32))})});
}

// x / sqrt(mean(x^2) + epsilon) * scale
Results simplified_layer_normalization(const ContribNode& n) {
  n.only("stash_type", 1, "only a stash in f32 has an expansion");
  const double epsilon = n.get_float("epsilon", 1e-5f);
  const int64_t axis = n.get_int("axis", -1);
  n.type(0);
  const Value y = n.b.node("RMSNormalization", {n.in(0), n.in(1)}, {{"axis", axis}, {"epsilon", epsilon}});
  return {y, n.wants(1) ? inverse_root_mean_square(n.b, n.in(0), axis, epsilon) : Value()};
}

// input + skip + bias
Value skip_sum(const ContribNode& n, size_t bias) {
  n.require_rank(0, {2, 3});
  const Value sum = n.b.add(n.in(0), n.in(1));
  return n.has(bias) ? n.b.add(sum, n.in(bias)) : sum;
}

// LayerNormalization(input + skip + bias), its mean and deviation, and the sum
Results skip_layer_normalization(const ContribNode& n) {
  const Value sum = skip_sum(n, 4);
  const double epsilon = n.get_float("epsilon", kSkipEpsilon);
  std::vector<Value> inputs = {sum, n.in(2)};
  if (n.has(3)) inputs.push_back(n.in(3));
  const int outputs = std::min(n.outputs(), 3);
  Results results = n.b.nodes("LayerNormalization", inputs, {{"axis", int64_t{-1}}, {"epsilon", epsilon}}, outputs);
  results.resize(3);
  results.push_back(sum);
  return results;
}

// RMSNormalization(input + skip + bias), nothing for the mean, the inverse deviation, and the sum
Results skip_simplified_layer_normalization(const ContribNode& n) {
  const Value sum = skip_sum(n, 3);
  const double epsilon = n.get_float("epsilon", kSkipEpsilon);
  const Value y = n.b.node("RMSNormalization", {sum, n.in(2)}, {{"axis", int64_t{-1}}, {"epsilon", epsilon}});
  return {y, Value(), Value(), sum};
}

constexpr ContribOp kOps[] = {
    {.name = "SimplifiedLayerNormalization",
     .inputs = "X scale",
     .attributes = "axis epsilon stash_type",
     .outputs = 2,
     .expand = simplified_layer_normalization,
     .standard_domain = true},
    {.name = "SkipLayerNormalization",
     .inputs = "input skip gamma beta? bias?",
     .attributes = "epsilon",
     .outputs = 4,
     .expand = skip_layer_normalization},
    {.name = "SkipSimplifiedLayerNormalization",
     .inputs = "input skip gamma bias?",
     .attributes = "epsilon",
     .outputs = 4,
     .expand = skip_simplified_layer_normalization},
};

}  // namespace

std::span<const ContribOp> normalizations_contrib() {
  return kOps;
}

}  // namespace lathe::frontend

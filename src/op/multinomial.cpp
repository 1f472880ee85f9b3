// Samples of class indices [batch, sample_size] by the unnormalised log probabilities of the classes
// [batch, classes].
#include <algorithm>
#include <cmath>

#include "op/inference.h"
#include "op/random.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;

void infer_multinomial(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat);
  require_rank(context, 0, 2);
  const int64_t samples = context.attributes.get_int("sample_size", 1);
  if (samples < 0) bad(context, "sample_size is {}", samples);
  const int64_t asked = context.attributes.get_int("dtype", int64_t(DType::i32));
  if (asked != int64_t(DType::i32) && asked != int64_t(DType::i64))
    bad(context, "dtype: expected i32 or i64, found {}", asked);
  context.outputs[0] = {DType(asked), {x.shape[0], tensor::Dim(samples)}, std::nullopt};
}

// Sums of the classes' weights up to and including each; the largest weight is 1.
std::vector<double> cumulative_weights(const double* logs, int64_t classes) {
  std::vector<double> sums(logs, logs + classes);
  const double largest = sums.empty() ? 0 : *std::max_element(sums.begin(), sums.end());
  double total = 0;
  for (double& sum : sums) sum = total += std::exp(sum - largest);
  if (!(total > 0))
    fail(ErrorCode::invalid_input, "Multinomial: the probabilities of {} classes sum up to {}", classes, total);
  return sums;
}

void evaluate_multinomial(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const int64_t samples = context.attributes.get_int("sample_size", 1);
  const int64_t classes = x.dims()[1];
  const tensor::Dims dims{x.dims()[0], samples};
  const std::vector<double> logs = load<double>(x);
  std::vector<int64_t> drawn(size_t(tensor::element_count(std::span(dims))));
  RandomStream stream(context.attributes);
  auto out = drawn.begin();
  for (int64_t b = 0; b < dims[0] && samples > 0; ++b) {
    const std::vector<double> sums = cumulative_weights(logs.data() + b * classes, classes);
    for (int64_t i = 0; i < samples; ++i) {
      const double at = stream.uniform() * sums.back();
      // Rounding may put it on the last sum, which no class lies above.
      *out++ = std::min(std::upper_bound(sums.begin(), sums.end(), at) - sums.begin(), std::ptrdiff_t(classes - 1));
    }
  }
  context.outputs[0] = store(drawn_dtype(context.attributes, DType::i32), dims, drawn);
}

}  // namespace

const OpDef& multinomial_op() {
  static const OpDef def{
      .name = "Multinomial",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"dtype", AttributeKind::integer},
                     {"sample_size", AttributeKind::integer},
                     {"seed", AttributeKind::real}},
      .infer = infer_multinomial,
      .evaluate = evaluate_multinomial,
  };
  return def;
}

}  // namespace lathe::op

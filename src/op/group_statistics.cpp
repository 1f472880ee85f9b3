#include "op/group_statistics.h"

#include <cmath>

#include "op/values.h"

namespace lathe::op {

void infer_group_statistics(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat);
  if (x.shape.size() < 2) bad(context, "input 0: expected [batch, channels, ...], found {}", to_string(x));
  for (size_t i = 1; i < 3; ++i) {
    require_same_dtype(context, 0, i);
    require_channel_vector(context, i, x.shape[1]);
  }
  context.outputs[0] = {x.dtype, x.shape, std::nullopt};
}

void normalize_groups(EvaluateContext& context, int64_t groups) {
  const tensor::Tensor& x = context.inputs[0];
  const int64_t channels = x.dims()[1];
  const int64_t inner = count_of(x.dims(), 2, x.dims().size());
  const double epsilon = read_epsilon(context.attributes);
  const std::vector<double> scale = load<double>(context.inputs[1]);
  const std::vector<double> bias = load<double>(context.inputs[2]);
  std::vector<double> values = load<double>(x);
  if (values.empty()) groups = 0;
  const int64_t size = groups == 0 ? 0 : channels / groups * inner;
  for (int64_t g = 0; g < x.dims()[0] * groups; ++g) {
    double* group = values.data() + g * size;
    const Moments found = moments(size, [&](int64_t i) { return group[i]; });
    const double inverse = 1 / std::sqrt(found.variance + epsilon);
    for (int64_t i = 0; i < size; ++i) {
      const size_t channel = size_t((g * size + i) / inner % channels);
      group[i] = (group[i] - found.mean) * inverse * scale[channel] + bias[channel];
    }
  }
  context.outputs[0] = store(x.dtype(), x.dims(), values);
}

}  // namespace lathe::op

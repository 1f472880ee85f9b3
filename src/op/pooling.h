// What the pools share: shapes, and a loop that gives each window of each channel one number.
#pragma once

#include <vector>

#include "op/values.h"
#include "op/sliding_windows.h"

namespace lathe::op {

// [batch, channels, counts...] for the windows that the attributes of a pool describe; kernel_shape is required.
tensor::Shape infer_pool(const InferContext& context);
// [batch, channels, 1...]
tensor::Shape infer_global_pool(const InferContext& context);

// Output 0 = reduce(channel, taps, padded) for every window of every channel of input 0, computed in double. `channel`
// points to the channel's elements, `padded` counts the window's elements with those in the padding.
template <class Reduce>
void evaluate_pool(std::string_view op, EvaluateContext& context, Reduce&& reduce) {
  const tensor::Tensor& x = context.inputs[0];
  const Windows windows = plan_windows(op, context.attributes, x);
  const int64_t channels = count_of(x.dims(), 0, 2);
  const int64_t size = windows.input_size();
  const tensor::Dims dims = window_dims(x.dims()[0], x.dims()[1], windows.counts);
  const int64_t count = windows.count();
  const std::vector<double> values = load<double>(x);
  std::vector<double> y(size_t(tensor::element_count(std::span<const int64_t>(dims))));
  for_each_window(windows, [&](int64_t o, std::span<const Tap> taps, int64_t padded) {
    for (int64_t c = 0; c < channels; ++c) y[size_t(c * count + o)] = reduce(values.data() + c * size, taps, padded);
  });
  context.outputs[0] = store(x.dtype(), dims, y);
}

// Output 0 = reduce(channel) for every channel of input 0, computed in double; `channel` is its elements.
template <class Reduce>
void evaluate_global_pool(EvaluateContext& context, Reduce&& reduce) {
  const tensor::Tensor& x = context.inputs[0];
  const int64_t channels = count_of(x.dims(), 0, 2);
  const int64_t size = count_of(x.dims(), 2, x.dims().size());
  const std::vector<double> values = load<double>(x);
  std::vector<double> y(static_cast<size_t>(channels));
  for (int64_t c = 0; c < channels; ++c) y[size_t(c)] = reduce(std::span(values.data() + c * size, size_t(size)));
  tensor::Dims dims(x.dims().size(), 1);
  dims[0] = x.dims()[0];
  dims[1] = x.dims()[1];
  context.outputs[0] = store(x.dtype(), dims, y);
}

// Attribute p of a norm, at least 1.
int64_t read_norm(std::string_view op, const Attributes& attributes);

}  // namespace lathe::op

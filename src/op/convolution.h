// What the convolutions share: the types and shapes of x, w and the bias, and the sum of products itself.
#pragma once

#include <vector>

#include "op/sliding_windows.h"

namespace lathe::op {

// Checks x (input 0) [batch, channels, spatial...] and w (input `w`) [features, channels / group, kernel...]; gives
// the result's shape [batch, features, counts...].
tensor::Shape infer_convolution(const InferContext& context, size_t w);
// Attribute group, which must be at least 1.
int64_t read_group(std::string_view op, const Attributes& attributes);
// Throws unless input i is absent or has the shape [length].
void require_vector(const InferContext& context, size_t i, const tensor::Dim& length);
// The spatial lengths of weights [features, channels / group, kernel...].
tensor::Shape kernel_of(const tensor::Shape& w);

// y[n, m, o] = sum over c, k of x[n, c, o * stride - pad + k * dilation] * w[m, c, k]; padding adds nothing.
// x is [batch, channels, spatial...], w [features, channels / group, kernel...], y [batch, features, counts...].
template <class V>
std::vector<V> convolve(const Windows& windows, const std::vector<V>& x, int64_t batch, int64_t channels,
                        const std::vector<V>& w, int64_t features, int64_t group) {
  const int64_t count = windows.count();
  const int64_t input_size = windows.input_size();
  const int64_t kernel_size = windows.kernel_size();
  const int64_t per_group = channels / group;
  const tensor::Dims dims{batch, features, count};
  std::vector<V> y(size_t(tensor::element_count(std::span<const int64_t>(dims))));
  for_each_window(windows, [&](int64_t o, std::span<const Tap> taps, int64_t) {
    for (int64_t n = 0; n < batch; ++n) {
      for (int64_t m = 0; m < features; ++m) {
        const int64_t first = m / (features / group) * per_group;
        V sum{};
        for (int64_t c = 0; c < per_group; ++c) {
          const V* image = x.data() + (n * channels + first + c) * input_size;
          const V* kernel = w.data() + (m * per_group + c) * kernel_size;
          for (const Tap& tap : taps) sum += image[tap.input] * kernel[tap.kernel];
        }
        y[size_t((n * features + m) * count + o)] = sum;
      }
    }
  });
  return y;
}

// y[n, m, ...] += bias[m]
template <class V>
void add_bias(std::vector<V>& y, const std::vector<V>& bias, int64_t batch) {
  const size_t features = bias.size();
  if (y.empty() || features == 0) return;
  const size_t inner = y.size() / (size_t(batch) * features);
  for (size_t i = 0; i < y.size(); ++i) y[i] += bias[i / inner % features];
}

}  // namespace lathe::op

// The windows that convolutions and pools slide over the spatial axes: their attributes, how many there are, and
// which elements of the input each of them sees.
#pragma once

#include <span>
#include <vector>

#include "op/inference.h"
#include "op/op.h"

namespace lathe::op {

// What attributes say of the windows; one number per spatial axis, pads two (all begins, then all ends).
struct WindowSpec {
  tensor::Shape kernel;
  std::vector<int64_t> strides;
  std::vector<int64_t> dilations;
  std::vector<int64_t> pads;  // zeros with auto_pad
  enum class Auto { notset, same_upper, same_lower, valid } auto_pad = Auto::notset;
  bool ceil = false;
};

// Attributes kernel_shape (unless `kernel` gives the lengths, which it must agree with), strides, dilations, pads,
// auto_pad and ceil_mode for `rank` spatial axes. Throws invalid_input for wrong counts and values.
WindowSpec read_windows(std::string_view op, const Attributes& attributes, size_t rank,
                        const tensor::Shape* kernel = nullptr);
// Input 0 of shape [batch, channels, spatial...], of at least one spatial axis: how many of those.
size_t spatial_rank(const InferContext& context);
// Windows along spatial axis i of this length; a symbol of its own where no expression tells.
tensor::Dim window_count(const InferContext& context, const WindowSpec& spec, size_t i, const tensor::Dim& length);
// floor(a / b) for positive b; nullopt where the symbols do not tell.
std::optional<tensor::Dim> divide_floor(const tensor::Dim& a, int64_t b);

// The same with all lengths known.
struct Windows {
  tensor::Dims lengths;  // of the input's spatial axes
  tensor::Dims kernel;
  tensor::Dims strides;
  tensor::Dims dilations;
  tensor::Dims begins;  // padding before the first and after the last element
  tensor::Dims ends;
  tensor::Dims counts;  // windows per axis

  int64_t kernel_size() const { return tensor::element_count(std::span<const int64_t>(kernel)); }
  int64_t input_size() const { return tensor::element_count(std::span<const int64_t>(lengths)); }
  int64_t count() const { return tensor::element_count(std::span<const int64_t>(counts)); }
};
// `dims` are those of x, [batch, channels, spatial...].
Windows plan_windows(std::string_view op, const Attributes& attributes, std::span<const int64_t> dims,
                     const tensor::Shape* kernel = nullptr);
inline Windows plan_windows(std::string_view op, const Attributes& attributes, const tensor::Tensor& x,
                            const tensor::Shape* kernel = nullptr) {
  return plan_windows(op, attributes, std::span<const int64_t>(x.dims()), kernel);
}

// An element that a window sees: where in the kernel, where in the input's spatial axes (both row-major).
struct Tap {
  int64_t kernel;
  int64_t input;
};

// Fills `taps` with the elements that the window at `index` (one number per axis) sees, in row-major order, padding
// left out. Returns how many there are with the padding asked for counted, but not what lies beyond it.
int64_t window_taps(const Windows& windows, std::span<const int64_t> index, std::vector<Tap>& taps);

// Calls body(number, taps, padded) for every window in row-major order; padded as window_taps returns.
template <class Body>
void for_each_window(const Windows& windows, Body&& body) {
  const int64_t count = windows.count();
  tensor::Dims index(windows.counts.size(), 0);
  std::vector<Tap> taps;
  for (int64_t number = 0; number < count; ++number) {
    const int64_t padded = window_taps(windows, index, taps);
    body(number, std::span<const Tap>(taps), padded);
    for (size_t i = index.size(); i-- > 0;) {
      if (++index[i] < windows.counts[i]) break;
      index[i] = 0;
    }
  }
}

// [batch, channels, counts...]
tensor::Dims window_dims(int64_t batch, int64_t channels, const tensor::Dims& spatial);

}  // namespace lathe::op

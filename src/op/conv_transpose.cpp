// The transpose of a convolution: every element of x adds its multiple of the kernel to y. Rounded once.
#include <algorithm>

#include "base/checked.h"
#include "op/convolution.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;
using Auto = WindowSpec::Auto;

// Along one spatial axis: the result's length, and how much is cut off before it.
struct Axis {
  Dim length;
  int64_t begin = 0;  // known where x's length is
};

// Non-negative numbers of attribute `name`, one per spatial axis; zeros when it is absent.
std::vector<int64_t> read_numbers(std::string_view op, const Attributes& attributes, std::string_view name,
                                  size_t rank) {
  const auto values = attributes.find_ints(name);
  if (!values) return std::vector<int64_t>(rank, 0);
  if (values->size() != rank) {
    fail(ErrorCode::invalid_input, "{}: {}: expected {} numbers, found {}", op, name, rank, values->size());
  }
  for (const int64_t value : *values) {
    if (value < 0 || value > INT32_MAX) fail(ErrorCode::invalid_input, "{}: {} of {}", op, name, value);
  }
  return *values;
}

std::vector<Axis> plan(std::string_view op, const Attributes& attributes, const tensor::Shape& x,
                       const tensor::Shape& w) {
  const size_t rank = x.size() - 2;
  const tensor::Shape kernel = kernel_of(w);
  const WindowSpec spec = read_windows(op, attributes, rank, &kernel);
  const std::vector<int64_t> extra = read_numbers(op, attributes, "output_padding", rank);
  const bool fixed = attributes.has("output_shape");
  const std::vector<int64_t> wanted = read_numbers(op, attributes, "output_shape", rank);
  std::vector<Axis> axes;
  for (size_t i = 0; i < rank; ++i) {
    if (extra[i] >= std::max(spec.strides[i], spec.dilations[i])) {
      fail(ErrorCode::invalid_input, "{}: output_padding of {} with stride {} and dilation {}", op, extra[i],
           spec.strides[i], spec.dilations[i]);
    }
    const bool same = spec.auto_pad == Auto::same_upper || spec.auto_pad == Auto::same_lower;
    const Dim stride(spec.strides[i]);
    const Dim reach = (spec.kernel[i] - Dim(1)) * Dim(spec.dilations[i]) + Dim(1);
    const Dim full = stride * (x[i + 2] - Dim(1)) + Dim(extra[i]) + reach;
    Axis axis{full - Dim(spec.pads[i] + spec.pads[i + rank]), spec.pads[i]};
    if (fixed || same) {
      axis.length = fixed ? Dim(wanted[i]) : x[i + 2] * stride;
      // What is cut off is shared between both ends; what is missing is zeros at the end.
      const int64_t total = std::max<int64_t>(0, (full - axis.length).constant().value_or(0));
      axis.begin = spec.auto_pad == Auto::same_upper ? total / 2 : total - total / 2;
    }
    const auto length = axis.length.constant();
    if (length && *length < 0) fail(ErrorCode::invalid_input, "{}: axis {} would get length {}", op, i + 2, *length);
    axes.push_back(axis);
  }
  return axes;
}

void infer_conv_transpose(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat);
  require_same_dtype(context, 0, 1);
  require_same_dtype(context, 0, 2);
  const TypeInfo& w = context.input(1);  // [channels, features / group, kernel...]
  require_rank(context, 1, spatial_rank(context) + 2);
  const int64_t group = read_group(context.op, context.attributes);
  require_dims_agree(context, fmt::format("channels of {} by {}", to_string(x), to_string(w)), x.shape[1], w.shape[0]);
  const auto channels = x.shape[1].constant();
  if (channels && *channels % group != 0) bad(context, "{} channels in {} groups", *channels, group);
  tensor::Shape shape{x.shape[0], w.shape[1] * Dim(group)};
  require_vector(context, 2, shape[1]);
  for (const Axis& axis : plan(context.op, context.attributes, x.shape, w.shape)) shape.push_back(axis.length);
  context.outputs[0] = {x.dtype, std::move(shape), std::nullopt};
}

// The convolution that this is the transpose of: its input is y, its windows are the elements of x.
Windows transposed_windows(const Attributes& attributes, const tensor::Tensor& x, const tensor::Tensor& w) {
  const tensor::Shape x_shape = tensor::to_shape(x.dims());
  const tensor::Shape w_shape = tensor::to_shape(w.dims());
  const tensor::Shape kernel = kernel_of(w_shape);
  const WindowSpec spec = read_windows("ConvTranspose", attributes, x_shape.size() - 2, &kernel);
  Windows windows;
  windows.kernel = *tensor::to_dims(kernel);
  windows.strides = spec.strides;
  windows.dilations = spec.dilations;
  windows.counts.assign(x.dims().begin() + 2, x.dims().end());
  windows.ends.assign(windows.counts.size(), 0);
  for (const Axis& axis : plan("ConvTranspose", attributes, x_shape, w_shape)) {
    windows.lengths.push_back(axis.length.value());
    windows.begins.push_back(axis.begin);
  }
  return windows;
}

void evaluate_conv_transpose(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const tensor::Tensor& w = context.inputs[1];
  const int64_t group = read_group("ConvTranspose", context.attributes);
  const Windows windows = transposed_windows(context.attributes, x, w);
  const int64_t batch = x.dims()[0];
  const int64_t channels = x.dims()[1];
  const int64_t per_group = w.dims()[1];
  const int64_t features = checked_mul(per_group, group, "features");
  const tensor::Dims dims = window_dims(batch, features, windows.lengths);
  const std::vector<double> from = load<double>(x);
  const std::vector<double> weights = load<double>(w);
  std::vector<double> y(size_t(tensor::element_count(std::span<const int64_t>(dims))));
  const int64_t count = windows.count();
  const int64_t y_size = windows.input_size();
  const int64_t kernel_size = windows.kernel_size();
  for_each_window(windows, [&](int64_t o, std::span<const Tap> taps, int64_t) {
    for (int64_t n = 0; n < batch; ++n) {
      for (int64_t c = 0; c < channels; ++c) {
        const double value = from[size_t((n * channels + c) * count + o)];
        const int64_t first = c / (channels / group) * per_group;
        for (int64_t m = 0; m < per_group; ++m) {
          double* to = y.data() + (n * features + first + m) * y_size;
          const double* kernel = weights.data() + (c * per_group + m) * kernel_size;
          for (const Tap& tap : taps) to[tap.input] += value * kernel[tap.kernel];
        }
      }
    }
  });
  if (context.has_input(2)) add_bias(y, load<double>(context.inputs[2]), batch);
  context.outputs[0] = store(x.dtype(), dims, y);
}

}  // namespace

const OpDef& conv_transpose_op() {
  static const OpDef def{
      .name = "ConvTranspose",
      .min_inputs = 2,
      .max_inputs = 3,
      .attributes = {{"auto_pad", AttributeKind::string},
                     {"dilations", AttributeKind::integers},
                     {"group", AttributeKind::integer},
                     {"kernel_shape", AttributeKind::integers},
                     {"output_padding", AttributeKind::integers},
                     {"output_shape", AttributeKind::integers},
                     {"pads", AttributeKind::integers},
                     {"strides", AttributeKind::integers}},
      .infer = infer_conv_transpose,
      .evaluate = evaluate_conv_transpose,
  };
  return def;
}

}  // namespace lathe::op

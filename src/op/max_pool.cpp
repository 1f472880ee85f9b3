// The largest element of each window and, as second output, where in x it is (the first one among equals).
#include <cmath>

#include "op/pooling.h"
#include "op/reduce.h"

namespace lathe::op {
namespace {

void infer_max_pool(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat | kInteger);
  if (tensor::is_integer(x.dtype) && tensor::bits(x.dtype) != 8) bad(context, "input 0 is {}", to_string(x));
  const int64_t order = context.attributes.get_int("storage_order", 0);
  if (order != 0 && order != 1) bad(context, "storage_order is {}", order);
  const tensor::Shape shape = infer_pool(context);
  context.outputs[0] = {x.dtype, shape, std::nullopt};
  if (context.outputs.size() > 1) context.outputs[1] = {tensor::DType::i64, shape, std::nullopt};
}

// Offset `at`, row-major in `dims`, as it would be with the first axis fastest.
int64_t column_major(int64_t at, const tensor::Dims& dims) {
  int64_t result = 0;
  int64_t stride = 1;
  for (const int64_t length : dims) stride *= length;
  for (size_t i = dims.size(); i-- > 0;) {
    stride /= dims[i];
    result += at % dims[i] * stride;
    at /= dims[i];
  }
  return result;
}

template <class V>
void compute(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const Windows windows = plan_windows("MaxPool", context.attributes, x);
  const bool by_column = context.attributes.get_int("storage_order", 0) != 0;
  const int64_t channels = count_of(x.dims(), 0, 2);
  const int64_t size = windows.input_size();
  const int64_t count = windows.count();
  const tensor::Dims dims = window_dims(x.dims()[0], x.dims()[1], windows.counts);
  const std::vector<V> values = load<V>(x);
  // A window that sees nothing but padding has the lowest value and the index -1.
  std::vector<V> y(size_t(tensor::element_count(std::span<const int64_t>(dims))), lowest_value(V{}, x.dtype()));
  std::vector<int64_t> indices(y.size(), -1);
  for_each_window(windows, [&](int64_t o, std::span<const Tap> taps, int64_t) {
    for (int64_t c = 0; c < channels; ++c) {
      const V* channel = values.data() + c * size;
      int64_t best = -1;
      for (const Tap& tap : taps) {  // NaN is above all
        const V value = channel[tap.input];
        if (best < 0 || value > channel[best] || (std::isnan(double(value)) && !std::isnan(double(channel[best]))))
          best = tap.input;
      }
      if (best < 0) continue;
      y[size_t(c * count + o)] = channel[best];
      indices[size_t(c * count + o)] = c * size + (by_column ? column_major(best, windows.lengths) : best);
    }
  });
  context.outputs[0] = store(x.dtype(), dims, y);
  if (context.outputs.size() > 1) context.outputs[1] = store(tensor::DType::i64, dims, indices);
}

}  // namespace

const OpDef& max_pool_op() {
  static const OpDef def{
      .name = "MaxPool",
      .min_inputs = 1,
      .max_inputs = 1,
      .min_outputs = 1,
      .max_outputs = 2,
      .attributes = {{"auto_pad", AttributeKind::string},
                     {"ceil_mode", AttributeKind::integer},
                     {"dilations", AttributeKind::integers},
                     {"kernel_shape", AttributeKind::integers, true},
                     {"pads", AttributeKind::integers},
                     {"storage_order", AttributeKind::integer},
                     {"strides", AttributeKind::integers}},
      .infer = infer_max_pool,
      .evaluate =
          [](EvaluateContext& context) {
            with_compute_type(context.inputs[0].dtype(), [&](auto zero) { compute<decltype(zero)>(context); });
          },
  };
  return def;
}

}  // namespace lathe::op

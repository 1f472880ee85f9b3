// Convolution whose kernel elements read x where offsets move them, between elements linearly, times a mask.
#include "base/checked.h"
#include "op/convolution.h"
#include "op/sampling.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;

enum Input : size_t { kX, kW, kOffset, kBias, kMask };

int64_t read_offset_group(std::string_view op, const Attributes& attributes) {
  const int64_t group = attributes.get_int("offset_group", 1);
  if (group < 1) fail(ErrorCode::invalid_input, "{}: offset_group is {}", op, group);
  return group;
}

// Input i must be [batch, offset groups * kernel elements * numbers, counts...].
void check_per_window(const InferContext& context, size_t i, const tensor::Shape& y, const Dim& numbers) {
  if (!context.has_input(i)) return;
  require_same_dtype(context, kX, i);
  require_rank(context, i, y.size());
  const tensor::Shape& shape = context.input(i).shape;
  require_dims_agree(context, fmt::format("input {}: batch", i), shape[0], y[0]);
  require_dims_agree(context, fmt::format("input {}: axis 1", i), shape[1], numbers);
  for (size_t d = 2; d < y.size(); ++d)
    require_dims_agree(context, fmt::format("input {}: axis {}", i, d), shape[d], y[d]);
}

void infer_deform_conv(InferContext& context) {
  const TypeInfo& x = require(context, kX, kFloat);
  for (const size_t i : {kW, kOffset, kBias}) require_same_dtype(context, kX, i);
  tensor::Shape shape = infer_convolution(context, kW);
  require_vector(context, kBias, shape[1]);
  const int64_t groups = read_offset_group(context.op, context.attributes);
  const auto channels = x.shape[1].constant();
  if (channels && *channels % groups != 0) bad(context, "{} channels in {} offset groups", *channels, groups);
  const tensor::Shape kernel = kernel_of(context.input(kW).shape);
  const Dim elements = Dim(groups) * tensor::element_count(kernel);
  check_per_window(context, kOffset, shape, elements * Dim(int64_t(kernel.size())));
  check_per_window(context, kMask, shape, elements);
  context.outputs[0] = {x.dtype, std::move(shape), std::nullopt};
}

// Everything a sample needs to know of the run.
struct Deformation {
  Windows windows;
  int64_t groups;               // of offsets
  std::vector<double> offsets;  // [batch, groups, kernel elements, axes, windows]
  std::vector<double> masks;    // [batch, groups, kernel elements, windows], or empty

  // The elements of x that kernel element `k` reads for window `o` at `index`, mask included.
  std::vector<WeightedTap> taps(int64_t n, int64_t group, int64_t k, int64_t o, const tensor::Dims& index) const;
};

std::vector<WeightedTap> Deformation::taps(int64_t n, int64_t group, int64_t k, int64_t o,
                                           const tensor::Dims& index) const {
  const int64_t elements = windows.kernel_size();
  const int64_t rank = int64_t(windows.kernel.size());
  const int64_t count = windows.count();
  const int64_t number = (n * groups + group) * elements + k;
  std::vector<WeightedTap> result{{0, masks.empty() ? 1 : masks[size_t(number * count + o)]}};
  int64_t inner = elements;  // kernel elements of the axes from here on
  for (int64_t i = 0; i < rank && !result.empty(); ++i) {
    const size_t axis = size_t(i);
    inner /= windows.kernel[axis];
    const int64_t along = k / inner % windows.kernel[axis];
    const int64_t place = index[axis] * windows.strides[axis] - windows.begins[axis] + along * windows.dilations[axis];
    const double x = double(place) + offsets[size_t((number * rank + i) * count + o)];
    extend_taps(result, linear_taps_or_zero(x, windows.lengths[axis]), windows.lengths[axis]);
  }
  return result;
}

// Adds window o of image n to y [batch, features, windows]; samples are [channels, kernel elements].
void multiply_window(const std::vector<double>& samples, const std::vector<double>& w, int64_t features, int64_t group,
                     int64_t per_feature, int64_t first, int64_t count, std::vector<double>& y) {
  for (int64_t m = 0; m < features; ++m) {
    const double* kernel = w.data() + m * per_feature;
    const double* read = samples.data() + m / (features / group) * per_feature;
    double sum = 0;
    for (int64_t i = 0; i < per_feature; ++i) sum += kernel[i] * read[i];
    y[size_t(first + m * count)] = sum;
  }
}

void evaluate_deform_conv(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[kX];
  const tensor::Tensor& w = context.inputs[kW];
  const tensor::Shape kernel = kernel_of(tensor::to_shape(w.dims()));
  Deformation deformation{plan_windows("DeformConv", context.attributes, x, &kernel),
                          read_offset_group("DeformConv", context.attributes),
                          load<double>(context.inputs[kOffset]),
                          {}};
  if (context.has_input(kMask)) deformation.masks = load<double>(context.inputs[kMask]);
  const Windows& windows = deformation.windows;
  const int64_t batch = x.dims()[0];
  const int64_t channels = x.dims()[1];
  const int64_t features = w.dims()[0];
  const int64_t group = read_group("DeformConv", context.attributes);
  const int64_t elements = windows.kernel_size();
  const int64_t count = windows.count();
  const int64_t size = windows.input_size();
  const std::vector<double> values = load<double>(x);
  const std::vector<double> weights = load<double>(w);
  const tensor::Dims dims = window_dims(batch, features, windows.counts);
  std::vector<double> y(size_t(tensor::element_count(std::span<const int64_t>(dims))));
  std::vector<double> samples(size_t(checked_mul(channels, elements, "samples")));
  for (int64_t n = 0; n < batch; ++n) {
    Walk walk(windows.counts, tensor::Dims(windows.counts.size(), 0));
    for (int64_t o = 0; o < count; ++o, walk.next()) {
      for (int64_t g = 0; g < deformation.groups; ++g) {
        const int64_t per_group = channels / deformation.groups;
        for (int64_t k = 0; k < elements; ++k) {
          const std::vector<WeightedTap> taps = deformation.taps(n, g, k, o, walk.index());
          for (int64_t c = g * per_group; c < (g + 1) * per_group; ++c)
            samples[size_t(c * elements + k)] = weighted_sum(values.data() + (n * channels + c) * size, taps);
        }
      }
      multiply_window(samples, weights, features, group, channels / group * elements, n * features * count + o, count,
                      y);
    }
  }
  if (context.has_input(kBias)) add_bias(y, load<double>(context.inputs[kBias]), batch);
  context.outputs[0] = store(x.dtype(), dims, y);
}

}  // namespace

const OpDef& deform_conv_op() {
  static const OpDef def{
      .name = "DeformConv",
      .min_inputs = 3,
      .max_inputs = 5,
      .attributes = {{"dilations", AttributeKind::integers},
                     {"group", AttributeKind::integer},
                     {"kernel_shape", AttributeKind::integers},
                     {"offset_group", AttributeKind::integer},
                     {"pads", AttributeKind::integers},
                     {"strides", AttributeKind::integers}},
      .since = 19,
      .infer = infer_deform_conv,
      .evaluate = evaluate_deform_conv,
  };
  return def;
}

}  // namespace lathe::op

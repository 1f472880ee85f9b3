// A tensor with other lengths: every element a nearest one, or a linear or cubic mixture of those around it.
#include <cmath>

#include "op/inference.h"
#include "op/resize_axis.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;

enum Input : size_t { kX, kRoi, kScales, kSizes };

// An input that is there and not an empty tensor, which older exporters write for "none".
bool given(const InferContext& context, size_t i) {
  return context.has_input(i) && context.input(i).shape != tensor::Shape{Dim(0)};
}

std::vector<double> reals(const tensor::Tensor* values) {
  return values ? load<double>(*values) : std::vector<double>{};
}

const tensor::Tensor* constant(const InferContext& context, size_t i) {
  return given(context, i) && i < context.constants.size() ? context.constants[i] : nullptr;
}

void check_numbers(const InferContext& context, size_t i, size_t count) {
  require_rank(context, i, 1);
  require_dims_agree(context, fmt::format("input {}", i), context.input(i).shape[0], Dim(int64_t(count)));
}

// The new length of axis spec.axes[i] where its old one is a symbol or the inputs come from the run.
Dim symbolic_length(const InferContext& context, const ResizeSpec& spec, size_t i) {
  const Dim& length = context.input(kX).shape[spec.axes[i]];
  if (given(context, kSizes)) {
    const auto sizes = known_dims(context, kSizes);
    if (sizes && spec.policy == "stretch") return (*sizes)[i];
  } else {
    const std::vector<double> scales = reals(constant(context, kScales));
    // Exact in f32 for lengths up to 2^24, as plan_resize counts.
    if (!scales.empty() && scales[i] == std::floor(scales[i]) && scales[i] > 0 && scales[i] < 0x1p20)
      return length * Dim(int64_t(scales[i]));
  }
  return unknown_dim(context, spec.axes[i]);
}

void infer_resize(InferContext& context) {
  const TypeInfo& x = context.input(kX);
  const ResizeSpec spec = read_resize(context.attributes, x.shape.size());
  require(context, kX, spec.mode == "nearest" ? kAny & ~(kSmallInt | kSmallFloat) : kNumeric | kBool);
  const bool by_scale = given(context, kScales);
  if (by_scale == given(context, kSizes))
    bad(context, "expected scales or sizes, found {}", by_scale ? "both" : "none");
  check_numbers(context, by_scale ? kScales : kSizes, spec.axes.size());
  require_dtype(context, by_scale ? kScales : kSizes, by_scale ? tensor::DType::f32 : tensor::DType::i64);
  if (spec.crops()) {
    if (!given(context, kRoi)) bad(context, "tf_crop_and_resize needs a region (input 1)");
    require(context, kRoi, kF16 | kF32 | kF64);
    check_numbers(context, kRoi, 2 * spec.axes.size());
  }
  context.outputs[0] = {x.dtype, x.shape, std::nullopt};
  tensor::Shape& shape = context.outputs[0].shape;
  const auto dims = tensor::to_dims(x.shape);
  const std::vector<double> scales = by_scale ? reals(constant(context, kScales)) : std::vector<double>{};
  const auto sizes = by_scale ? std::nullopt : known_ints(context, kSizes);
  const std::vector<double> roi = spec.crops() ? reals(constant(context, kRoi)) : std::vector<double>{};
  const bool known = dims && (by_scale ? !scales.empty() : sizes.has_value()) && (!spec.crops() || !roi.empty());
  if (known) {
    const auto axes = plan_resize(spec, *dims, roi, scales, sizes.value_or(std::vector<int64_t>{}));
    for (size_t i = 0; i < axes.size(); ++i) shape[i] = Dim(axes[i].count);
  } else {
    for (size_t i = 0; i < spec.axes.size(); ++i) shape[spec.axes[i]] = symbolic_length(context, spec, i);
  }
}

// Nearest: copies elements of any type. `sources` are the indices along each axis.
tensor::Tensor gather(const tensor::Tensor& x, const tensor::Dims& dims,
                      const std::vector<std::vector<std::vector<WeightedTap>>>& taps) {
  const tensor::Dims strides = contiguous_strides(x.dims());
  Walk walk(dims, tensor::Dims(dims.size(), 0));
  return take(x, dims, [&] {
    int64_t from = 0;
    for (size_t d = 0; d < dims.size(); ++d) from += taps[d][size_t(walk.index()[d])][0].at * strides[d];
    walk.next();
    return from;
  });
}

// Replaces axis `axis` of values [dims] by the samples that `taps` describe.
void resample(std::vector<double>& values, tensor::Dims& dims, size_t axis,
              const std::vector<std::vector<WeightedTap>>& taps) {
  const int64_t outer = count_of(dims, 0, axis);
  const int64_t inner = count_of(dims, axis + 1, dims.size());
  const int64_t length = dims[axis];
  dims[axis] = int64_t(taps.size());
  std::vector<double> result(size_t(tensor::element_count(std::span<const int64_t>(dims))));
  size_t to = 0;
  for (int64_t o = 0; o < outer; ++o) {
    for (const std::vector<WeightedTap>& sample : taps) {
      for (int64_t i = 0; i < inner; ++i) {
        double sum = 0;
        for (const WeightedTap& tap : sample) sum += tap.weight * values[size_t((o * length + tap.at) * inner + i)];
        result[to++] = sum;
      }
    }
  }
  values.swap(result);
}

bool is_identity(const std::vector<std::vector<WeightedTap>>& taps, int64_t length) {
  if (int64_t(taps.size()) != length) return false;
  for (size_t i = 0; i < taps.size(); ++i) {
    if (taps[i].size() != 1 || taps[i][0].at != int64_t(i) || taps[i][0].weight != 1) return false;
  }
  return true;
}

void evaluate_resize(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[kX];
  const ResizeSpec spec = read_resize(context.attributes, x.dims().size());
  const auto input = [&](size_t i) { return context.has_input(i) ? &context.inputs[i] : nullptr; };
  std::vector<int64_t> sizes;
  if (context.has_input(kSizes)) sizes = load<int64_t>(context.inputs[kSizes]);
  const auto axes = plan_resize(spec, x.dims(), spec.crops() ? reals(input(kRoi)) : std::vector<double>{},
                                reals(input(kScales)), sizes);
  tensor::Dims dims;
  for (const ResizeAxis& axis : axes) dims.push_back(axis.count);
  const int64_t size = tensor::element_count(std::span<const int64_t>(dims));
  if (size == 0) {
    context.outputs[0] = tensor::Tensor(x.dtype(), dims);
    return;
  }
  std::vector<std::vector<std::vector<WeightedTap>>> taps(axes.size());  // axis, output index, elements
  std::vector<std::vector<bool>> outside(axes.size());
  for (size_t d = 0; d < axes.size(); ++d) {
    for (int64_t i = 0; i < axes[d].count; ++i) {
      const double at = resize_coordinate(spec, axes[d], i);
      taps[d].push_back(resize_taps(spec, axes[d], at));
      outside[d].push_back(spec.crops() && (at < 0 || at > double(axes[d].length - 1)));
    }
  }
  tensor::Tensor result;
  if (spec.mode == "nearest") {
    result = gather(x, dims, taps);
  } else {
    std::vector<double> values = load<double>(x);
    tensor::Dims current = x.dims();
    for (size_t d = 0; d < axes.size(); ++d) {
      if (!is_identity(taps[d], axes[d].length)) resample(values, current, d, taps[d]);
    }
    result = store(x.dtype(), dims, values);
  }
  if (spec.crops() && set_of(x.dtype()) & (kNumeric | kBool)) {
    const tensor::Tensor fill = store(x.dtype(), {}, std::vector<double>{spec.extrapolation});
    ElementCopier copier(fill, result);
    Walk walk(dims, tensor::Dims(dims.size(), 0));
    for (int64_t i = 0; i < size; ++i, walk.next()) {
      bool beyond = false;
      for (size_t d = 0; d < dims.size(); ++d) beyond = beyond || outside[d][size_t(walk.index()[d])];
      if (beyond) copier.copy(0, i);
    }
  }
  context.outputs[0] = std::move(result);
}

}  // namespace

const OpDef& resize_op() {
  static const OpDef def{
      .name = "Resize",
      .min_inputs = 1,
      .max_inputs = 4,
      .attributes = {{"antialias", AttributeKind::integer, false, 18},
                     {"axes", AttributeKind::integers, false, 18},
                     {"coordinate_transformation_mode", AttributeKind::string},
                     {"cubic_coeff_a", AttributeKind::real},
                     {"exclude_outside", AttributeKind::integer},
                     {"extrapolation_value", AttributeKind::real},
                     {"keep_aspect_ratio_policy", AttributeKind::string, false, 18},
                     {"mode", AttributeKind::string},
                     {"nearest_mode", AttributeKind::string}},
      .infer = infer_resize,
      .evaluate = evaluate_resize,
  };
  return def;
}

}  // namespace lathe::op

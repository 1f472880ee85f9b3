#include "op/resize_axis.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace lathe::op {
namespace {

// A word out of a list; the first is the default.
std::string read_word(const Attributes& attributes, std::string_view name, std::vector<std::string_view> words) {
  std::string word = attributes.get_string(name, words.front());
  if (std::find(words.begin(), words.end(), word) == words.end())
    fail(ErrorCode::invalid_input, "Resize: {} \"{}\"", name, word);
  return word;
}

// A length as an integer. Throws invalid_input for what is negative, not a number or beyond 2^53.
int64_t to_length(double length, size_t axis) {
  if (!(length >= 0 && length < 0x1p53))
    fail(ErrorCode::invalid_input, "Resize: axis {} would get length {}", axis, length);
  return int64_t(length);
}

void set_scale(ResizeAxis& axis, size_t number, double scale) {
  if (!(scale > 0 && std::isfinite(scale))) fail(ErrorCode::invalid_input, "Resize: a scale of {}", scale);
  axis.scale = float(scale);
  // Counted in f32, the type of the scales: 0.7 of 10 is 7, though the nearest f32 to 0.7 is less. A region does not
  // shorten it, whatever ONNX's formula says: neither its shape inference nor any runtime does that.
  axis.width = double(float(axis.length) * *axis.scale);
  axis.count = to_length(std::floor(axis.width), number);
}

// Sizes that keep the aspect ratio: one scale for all axes, the smallest or the largest.
void set_common_scale(const ResizeSpec& spec, std::vector<ResizeAxis>& axes, const std::vector<int64_t>& sizes) {
  size_t chosen = 0;
  const auto ratio = [&](size_t i) { return double(sizes[i]) / double(axes[spec.axes[i]].length); };
  for (size_t i = 1; i < sizes.size(); ++i) {
    if (spec.policy == "not_larger" ? ratio(i) < ratio(chosen) : ratio(i) > ratio(chosen)) chosen = i;
  }
  const double numerator = double(sizes[chosen]);
  const double denominator = double(axes[spec.axes[chosen]].length);
  for (const size_t i : spec.axes) {
    axes[i].numerator = numerator;
    axes[i].denominator = denominator;
    axes[i].width = double(axes[i].length) * numerator / denominator;
    axes[i].count = to_length(std::floor(axes[i].width + 0.5), i);
  }
}

// v divided by the axis' scale. Nearest elements are a matter of one bit at ties: there the quotient is taken in the
// type of the scale, as runtimes that compute in f32 do, so that 1.5 / 0.6 is 2.5.
double unscale(const ResizeSpec& spec, const ResizeAxis& axis, double v) {
  if (!axis.scale) return v * axis.denominator / axis.numerator;
  return spec.mode == "nearest" ? double(float(v) / *axis.scale) : v / double(*axis.scale);
}

double nearest_index(const std::string& mode, double x) {
  if (mode == "floor") return std::floor(x);
  if (mode == "ceil") return std::ceil(x);
  return mode == "round_prefer_ceil" ? std::floor(x + 0.5) : std::ceil(x - 0.5);
}

}  // namespace

ResizeSpec read_resize(const Attributes& attributes, size_t rank) {
  ResizeSpec spec;
  spec.mode = read_word(attributes, "mode", {"nearest", "linear", "cubic"});
  spec.coordinates = read_word(attributes, "coordinate_transformation_mode",
                               {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
                                "asymmetric", "tf_crop_and_resize"});
  spec.nearest = read_word(attributes, "nearest_mode", {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"});
  spec.policy = read_word(attributes, "keep_aspect_ratio_policy", {"stretch", "not_larger", "not_smaller"});
  spec.antialias = attributes.get_int("antialias", 0) != 0;
  spec.exclude_outside = attributes.get_int("exclude_outside", 0) != 0;
  spec.cubic_a = attributes.get_float("cubic_coeff_a", -0.75);
  spec.extrapolation = attributes.get_float("extrapolation_value", 0);
  std::vector<int64_t> axes(rank);
  for (size_t i = 0; i < rank; ++i) axes[i] = int64_t(i);
  axes = attributes.find_ints("axes").value_or(std::move(axes));
  for (const int64_t axis : axes) {
    const int64_t index = axis < 0 ? axis + int64_t(rank) : axis;
    if (index < 0 || index >= int64_t(rank))
      fail(ErrorCode::invalid_input, "Resize: axis {} is outside of rank {}", axis, rank);
    if (std::find(spec.axes.begin(), spec.axes.end(), size_t(index)) != spec.axes.end())
      fail(ErrorCode::invalid_input, "Resize: axis {} twice", axis);
    spec.axes.push_back(size_t(index));
  }
  return spec;
}

std::vector<ResizeAxis> plan_resize(const ResizeSpec& spec, const tensor::Dims& dims, const std::vector<double>& roi,
                                    const std::vector<double>& scales, const std::vector<int64_t>& sizes) {
  std::vector<ResizeAxis> axes;
  for (const int64_t length : dims) {
    ResizeAxis& axis = axes.emplace_back();
    axis.length = axis.count = length;
    axis.width = double(length);
  }
  const size_t count = spec.axes.size();
  for (size_t i = 0; i < count; ++i) {
    ResizeAxis& axis = axes[spec.axes[i]];
    if (spec.crops()) {
      axis.start = roi.at(i);
      axis.end = roi.at(i + count);
      if (!std::isfinite(axis.start) || !std::isfinite(axis.end))
        fail(ErrorCode::invalid_input, "Resize: a region from {} to {}", axis.start, axis.end);
    }
    if (!scales.empty()) set_scale(axis, spec.axes[i], scales[i]);
    if (sizes.empty()) continue;
    if (sizes[i] < 0 || (sizes[i] > 0 && axis.length == 0))
      fail(ErrorCode::invalid_input, "Resize: axis {} from length {} to {}", spec.axes[i], axis.length, sizes[i]);
    axis.count = sizes[i];
    axis.width = axis.numerator = double(sizes[i]);
    axis.denominator = double(axis.length);
  }
  bool empty = false;
  for (size_t i = 0; i < sizes.size(); ++i) empty = empty || sizes[i] == 0 || axes[spec.axes[i]].length == 0;
  if (!sizes.empty() && spec.policy != "stretch" && !empty) set_common_scale(spec, axes, sizes);
  return axes;
}

double resize_coordinate(const ResizeSpec& spec, const ResizeAxis& axis, int64_t i) {
  const double x = double(i);
  const double last = double(axis.length - 1);
  if (spec.coordinates == "asymmetric") return unscale(spec, axis, x);
  // ONNX's tests want the width before it was rounded here.
  if (spec.coordinates == "align_corners") return axis.count <= 1 ? 0 : x * last / (axis.width - 1);
  if (spec.crops()) {
    if (axis.count <= 1) return 0.5 * (axis.start + axis.end) * last;
    return axis.start * last + x * (axis.end - axis.start) * last / double(axis.count - 1);
  }
  if (spec.coordinates == "pytorch_half_pixel" && axis.count <= 1) return 0;
  // Symmetric: centre on centre, also when the width was rounded.
  if (spec.coordinates == "half_pixel_symmetric")
    return last / 2 + unscale(spec, axis, x + 0.5 - double(axis.count) / 2);
  return unscale(spec, axis, x + 0.5) - 0.5;
}

std::vector<WeightedTap> resize_taps(const ResizeSpec& spec, const ResizeAxis& axis, double x) {
  const double last = double(axis.length - 1);
  const auto inside = [&](double at) { return int64_t(std::clamp(at, 0.0, last)); };
  if (spec.mode == "nearest") return {{inside(nearest_index(spec.nearest, x)), 1}};
  const double scale = axis.scale ? double(*axis.scale) : axis.numerator / axis.denominator;
  const double shrink = spec.antialias ? std::min(1.0, scale) : 1.0;
  const double support = (spec.mode == "linear" ? 1 : 2) / shrink;
  if (support > 4 * double(axis.length) + 4)
    fail(ErrorCode::invalid_input, "Resize: a scale of {} on {} elements", scale, axis.length);
  x = std::clamp(x, -support - 1, double(axis.length) + support);  // beyond there is nothing but the edge
  std::vector<WeightedTap> taps;
  double sum = 0;
  for (double at = std::ceil(x - support); at <= x + support; ++at) {
    const double d = (at - x) * shrink;
    const double weight = spec.mode == "linear" ? linear_weight(d) : cubic_weight(d, spec.cubic_a);
    if (weight == 0 || (spec.exclude_outside && (at < 0 || at > last))) continue;
    sum += weight;
    taps.push_back({inside(at), weight});
  }
  if (sum == 0) return {{inside(x), 1}};
  for (WeightedTap& tap : taps) tap.weight /= sum;
  return taps;
}

}  // namespace lathe::op

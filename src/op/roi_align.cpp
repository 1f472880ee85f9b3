// Cells of a grid laid over each region of interest, each the mean or the largest of points read linearly.
#include <algorithm>
#include <cmath>

#include "op/inference.h"
#include "op/regions.h"
#include "op/sampling.h"
#include "op/values.h"

namespace lathe::op {
namespace {

// Points a cell may have along an axis; beyond, a region is not one that anything meant.
constexpr double kMostPoints = 1 << 14;

void infer_roi_align(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat);
  const TypeInfo& rois = context.input(1);
  require_same_dtype(context, 0, 1);
  require_dtype(context, 2, tensor::DType::i64);
  require_rank(context, 0, 4);
  require_rank(context, 1, 2);
  require_rank(context, 2, 1);
  require_dims_agree(context, "regions of [x1, y1, x2, y2]", rois.shape[1], tensor::Dim(4));
  require_dims_agree(context, "batch_indices", context.input(2).shape[0], rois.shape[0]);
  const std::string mode = context.attributes.get_string("mode", "avg");
  if (mode != "avg" && mode != "max") bad(context, "mode \"{}\"", mode);
  const std::string coordinates = context.attributes.get_string("coordinate_transformation_mode", "half_pixel");
  if (coordinates != "half_pixel" && coordinates != "output_half_pixel")
    bad(context, "coordinate_transformation_mode \"{}\"", coordinates);
  const int64_t height = context.attributes.get_int("output_height", 1);
  const int64_t width = context.attributes.get_int("output_width", 1);
  const int64_t ratio = context.attributes.get_int("sampling_ratio", 0);
  if (height < 1 || width < 1) bad(context, "an output of {} by {}", height, width);
  if (ratio < 0 || double(ratio) > kMostPoints) bad(context, "sampling_ratio is {}", ratio);
  context.outputs[0] = {x.dtype, {rois.shape[0], x.shape[1], height, width}, std::nullopt};
}

// Along one axis: for each cell its points, and for each of those the elements it is read from.
using Points = std::vector<std::vector<WeightedTap>>;

// Points up to one element outside of the axis read its edge, those beyond read nothing.
std::vector<WeightedTap> point_taps(double x, int64_t length) {
  if (x < -1 || x > double(length)) return {};
  std::vector<WeightedTap> taps = linear_taps_or_zero(std::clamp(x, 0.0, double(length - 1)), length);
  if (taps.size() == 1) taps.push_back({length - 1, 0});  // always two: the maximum looks at each
  return taps;
}

std::vector<Points> plan_axis(const EvaluateContext& context, double low, double high, int64_t cells, int64_t length) {
  const Attributes& attributes = context.attributes;
  const bool half_pixel = attributes.get_string("coordinate_transformation_mode", "half_pixel") == "half_pixel";
  const double scale = attributes.get_float("spatial_scale", 1);
  const double shift = half_pixel ? 0.5 : 0;
  const double start = low * scale - shift;
  double span = high * scale - shift - start;
  if (!half_pixel) span = std::max(span, 1.0);
  const double size = span / double(cells);
  double count = double(attributes.get_int("sampling_ratio", 0));
  if (count == 0) count = std::ceil(size);
  if (count > kMostPoints)
    fail(ErrorCode::invalid_input, "RoiAlign: a region from {} to {} has {} points in a cell", low, high, count);
  std::vector<Points> axis(static_cast<size_t>(cells));
  for (int64_t cell = 0; cell < cells; ++cell) {
    for (double i = 0; i < count && length > 0; ++i)
      axis[size_t(cell)].push_back(point_taps(start + (double(cell) + (i + 0.5) / count) * size, length));
  }
  return axis;
}

double mean_of_points(const double* image, const Points& rows, const Points& columns, int64_t width) {
  double sum = 0;
  for (const auto& row : rows) {
    for (const auto& column : columns) {
      for (const WeightedTap& r : row) sum += r.weight * weighted_sum(image + r.at * width, column);
    }
  }
  return sum / double(std::max<size_t>(1, rows.size() * columns.size()));
}

// ONNX's maximum goes over the weighted elements themselves, not over the points that they add up to.
double largest_share(const double* image, const Points& rows, const Points& columns, int64_t width) {
  double best = -INFINITY;
  for (const auto& row : rows) {
    for (const auto& column : columns) {
      if (row.empty() || column.empty()) best = std::max(best, 0.0);
      for (const WeightedTap& r : row) {
        for (const WeightedTap& c : column) best = std::max(best, r.weight * c.weight * image[r.at * width + c.at]);
      }
    }
  }
  return best == -INFINITY ? 0 : best;
}

void evaluate_roi_align(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const std::vector<double> rois = load_regions("RoiAlign", context.inputs[1]);
  const std::vector<int64_t> batches = load<int64_t>(context.inputs[2]);
  const int64_t out_height = context.attributes.get_int("output_height", 1);
  const int64_t out_width = context.attributes.get_int("output_width", 1);
  const bool largest = context.attributes.get_string("mode", "avg") == "max";
  const int64_t channels = x.dims()[1];
  const int64_t height = x.dims()[2];
  const int64_t width = x.dims()[3];
  const std::vector<double> values = load<double>(x);
  const tensor::Dims dims{int64_t(batches.size()), channels, out_height, out_width};
  std::vector<double> y(size_t(tensor::element_count(std::span<const int64_t>(dims))));
  size_t to = 0;
  for (size_t r = 0; r < batches.size(); ++r) {
    const double* roi = rois.data() + r * 4;  // x1, y1, x2, y2
    const int64_t batch = region_batch("RoiAlign", double(batches[r]), x.dims()[0]);
    const std::vector<Points> columns = plan_axis(context, roi[0], roi[2], out_width, width);
    const std::vector<Points> rows = plan_axis(context, roi[1], roi[3], out_height, height);
    for (int64_t c = 0; c < channels; ++c) {
      const double* image = values.data() + (batch * channels + c) * height * width;
      for (const Points& row : rows) {
        for (const Points& column : columns)
          y[to++] = largest ? largest_share(image, row, column, width) : mean_of_points(image, row, column, width);
      }
    }
  }
  context.outputs[0] = store(x.dtype(), dims, y);
}

}  // namespace

const OpDef& roi_align_op() {
  static const OpDef def{
      .name = "RoiAlign",
      .min_inputs = 3,
      .max_inputs = 3,
      .attributes = {{"coordinate_transformation_mode", AttributeKind::string, false, 16},
                     {"mode", AttributeKind::string},
                     {"output_height", AttributeKind::integer},
                     {"output_width", AttributeKind::integer},
                     {"sampling_ratio", AttributeKind::integer},
                     {"spatial_scale", AttributeKind::real}},
      .infer = infer_roi_align,
      .evaluate = evaluate_roi_align,
  };
  return def;
}

}  // namespace lathe::op

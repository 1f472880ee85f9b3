// The largest element of each cell of a grid laid over each region of interest.
#include <algorithm>
#include <cmath>

#include "op/elementwise.h"
#include "op/regions.h"

namespace lathe::op {
namespace {

void infer_max_roi_pool(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat);
  const TypeInfo& rois = context.input(1);
  require_same_dtype(context, 0, 1);
  require_rank(context, 0, 4);
  require_rank(context, 1, 2);
  require_dims_agree(context, "regions of [batch, x1, y1, x2, y2]", rois.shape[1], tensor::Dim(5));
  const auto pooled = context.attributes.find_ints("pooled_shape").value();
  if (pooled.size() != 2 || pooled[0] < 1 || pooled[1] < 1) {
    bad(context, "pooled_shape: expected [height, width], found {}", tensor::to_string(std::span(pooled)));
  }
  context.outputs[0] = {x.dtype, {rois.shape[0], x.shape[1], pooled[0], pooled[1]}, std::nullopt};
}

// The elements [first, last) of an axis that cell `i` of `cells` covers; the region is [low, high], both inclusive.
std::pair<int64_t, int64_t> cell_range(double low, double high, int64_t i, int64_t cells, int64_t length) {
  const double size = std::max(high - low + 1, 1.0) / double(cells);
  const double first = std::floor(double(i) * size) + low;
  const double last = std::ceil(double(i + 1) * size) + low;
  return {int64_t(std::clamp(first, 0.0, double(length))), int64_t(std::clamp(last, 0.0, double(length)))};
}

void evaluate_max_roi_pool(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const double scale = context.attributes.get_float("spatial_scale", 1);
  const auto pooled = context.attributes.find_ints("pooled_shape").value();
  const int64_t height = x.dims()[2];
  const int64_t width = x.dims()[3];
  const int64_t channels = x.dims()[1];
  const int64_t count = context.inputs[1].dims()[0];
  const std::vector<double> rois = load_regions("MaxRoiPool", context.inputs[1]);
  const std::vector<double> values = load<double>(x);
  const tensor::Dims dims{count, channels, pooled[0], pooled[1]};
  std::vector<double> y(size_t(tensor::element_count(std::span<const int64_t>(dims))));
  size_t to = 0;
  for (int64_t r = 0; r < count; ++r) {
    const double* roi = rois.data() + r * 5;
    const int64_t batch = region_batch("MaxRoiPool", roi[0], x.dims()[0]);
    double edges[4];  // x1, y1, x2, y2
    for (int i = 0; i < 4; ++i) edges[i] = std::round(roi[i + 1] * scale);
    for (int64_t c = 0; c < channels; ++c) {
      const double* image = values.data() + (batch * channels + c) * height * width;
      for (int64_t i = 0; i < pooled[0]; ++i) {
        const auto [top, bottom] = cell_range(edges[1], edges[3], i, pooled[0], height);
        for (int64_t j = 0; j < pooled[1]; ++j) {
          const auto [left, right] = cell_range(edges[0], edges[2], j, pooled[1], width);
          double best = top < bottom && left < right ? -INFINITY : 0;  // a cell outside of x is 0
          for (int64_t row = top; row < bottom; ++row) {
            for (int64_t column = left; column < right; ++column) best = NanMax()(image[row * width + column], best);
          }
          y[to++] = best;
        }
      }
    }
  }
  context.outputs[0] = store(x.dtype(), dims, y);
}

}  // namespace

const OpDef& max_roi_pool_op() {
  static const OpDef def{
      .name = "MaxRoiPool",
      .min_inputs = 2,
      .max_inputs = 2,
      .attributes = {{"pooled_shape", AttributeKind::integers, true}, {"spatial_scale", AttributeKind::real}},
      .infer = infer_max_roi_pool,
      .evaluate = evaluate_max_roi_pool,
  };
  return def;
}

}  // namespace lathe::op

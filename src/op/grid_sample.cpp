// Reads x at the places that a grid names, nearest, linear or cubic; x may lie in zeros, go on or be mirrored.
#include <algorithm>
#include <cmath>

#include "op/inference.h"
#include "op/sampling.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;

std::string read_mode(std::string_view op, const Attributes& attributes, std::string_view name,
                      std::vector<std::string_view> words) {
  std::string word = attributes.get_string(name, words.front());
  if (std::find(words.begin(), words.end(), word) == words.end())
    fail(ErrorCode::invalid_input, "{}: {} \"{}\"", op, name, word);
  return word;
}

struct Sampler {
  std::string mode;
  std::string padding;
  bool align_corners;

  explicit Sampler(const Attributes& attributes)
      : mode(read_mode("GridSample", attributes, "mode", {"linear", "nearest", "cubic"})),
        padding(read_mode("GridSample", attributes, "padding_mode", {"zeros", "border", "reflection"})),
        align_corners(attributes.get_int("align_corners", 0) != 0) {}

  int64_t index(double at, int64_t length) const;
  std::vector<WeightedTap> taps(double position, int64_t length) const;
};

// The element at integer `at`, which may lie outside of the axis; -1 for none.
int64_t Sampler::index(double at, int64_t length) const {
  const double last = double(length - 1);
  if (at >= 0 && at <= last) return int64_t(at);
  if (padding == "zeros") return -1;
  if (padding == "border") return at < 0 ? 0 : length - 1;
  // Mirrored at the outer elements' centres or at their outer edges.
  const double low = align_corners ? 0 : -0.5;
  const double span = align_corners ? last : double(length);
  if (span == 0) return 0;
  const double folded = std::fmod(std::abs(at - low), 2 * span);
  return int64_t(std::clamp(low + (folded > span ? 2 * span - folded : folded), 0.0, last));
}

// The elements that make up a sample at `position`, where -1 and 1 are the ends of the axis.
std::vector<WeightedTap> Sampler::taps(double position, int64_t length) const {
  if (std::isnan(position)) position = -1;
  const double count = double(length);
  double x = align_corners ? (position + 1) / 2 * (count - 1) : ((position + 1) * count - 1) / 2;
  x = std::clamp(x, -0x1p50, 0x1p50);  // so that neighbours differ
  std::vector<WeightedTap> result;
  const auto add = [&](double at, double weight) {
    const int64_t i = index(at, length);
    if (i >= 0) result.push_back({i, weight});
  };
  const double floor = std::floor(x);
  if (mode == "nearest") {
    add(std::nearbyint(x), 1);
  } else if (mode == "linear") {
    for (int i = 0; i < 2; ++i) add(floor + i, linear_weight(floor + i - x));
  } else {
    for (int i = -1; i < 3; ++i) add(floor + i, cubic_weight(floor + i - x, -0.75));
  }
  return result;
}

void infer_grid_sample(InferContext& context) {
  const Sampler sampler(context.attributes);
  const TypeInfo& x =
      require(context, 0, sampler.mode == "nearest" ? kAny & ~(kSmallInt | kSmallFloat) : kNumeric | kBool);
  const TypeInfo& grid = require(context, 1, kFloat);
  const size_t rank = x.shape.size();
  if (rank < 3) bad(context, "input 0: expected [batch, channels, spatial...], found {}", to_string(x));
  require_rank(context, 1, rank);
  require_dims_agree(context, "batch", x.shape[0], grid.shape[0]);
  require_dims_agree(context, "the grid's last axis", grid.shape[rank - 1], Dim(int64_t(rank - 2)));
  tensor::Shape shape{x.shape[0], x.shape[1]};
  shape.insert(shape.end(), grid.shape.begin() + 1, grid.shape.end() - 1);
  context.outputs[0] = {x.dtype, std::move(shape), std::nullopt};
}

// The elements that make up the sample at each point of the grid: body(image, point, taps).
template <class Body>
void for_each_point(const EvaluateContext& context, Body&& body) {
  const tensor::Tensor& x = context.inputs[0];
  const Sampler sampler(context.attributes);
  const size_t rank = x.dims().size() - 2;
  const std::vector<double> grid = load<double>(context.inputs[1]);
  const int64_t batch = x.dims()[0];
  const int64_t points = count_of(context.inputs[1].dims(), 1, rank + 1);
  const bool empty = count_of(x.dims(), 2, x.dims().size()) == 0;
  std::vector<WeightedTap> taps;
  for (int64_t n = 0; n < batch; ++n) {
    for (int64_t p = 0; p < points; ++p) {
      const double* place = grid.data() + (n * points + p) * int64_t(rank);  // innermost axis first
      taps.assign(empty ? 0 : 1, WeightedTap{0, 1});
      for (size_t i = 0; i < rank && !taps.empty(); ++i) {
        const int64_t length = x.dims()[i + 2];
        extend_taps(taps, sampler.taps(place[rank - 1 - i], length), length);
      }
      body(n, p, taps);
    }
  }
}

void evaluate_grid_sample(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const tensor::Dims& grid = context.inputs[1].dims();
  const int64_t channels = x.dims()[1];
  const int64_t size = count_of(x.dims(), 2, x.dims().size());
  const int64_t points = count_of(grid, 1, grid.size() - 1);
  tensor::Dims dims{x.dims()[0], channels};
  dims.insert(dims.end(), grid.begin() + 1, grid.end() - 1);
  if (Sampler(context.attributes).mode == "nearest") {
    tensor::Tensor result(x.dtype(), dims);  // zeros, or empty strings
    ElementCopier copier(x, result);
    for_each_point(context, [&](int64_t n, int64_t p, const std::vector<WeightedTap>& taps) {
      for (int64_t c = 0; c < channels && !taps.empty(); ++c)
        copier.copy((n * channels + c) * size + taps[0].at, (n * channels + c) * points + p);
    });
    context.outputs[0] = std::move(result);
    return;
  }
  const std::vector<double> values = load<double>(x);
  std::vector<double> y(size_t(tensor::element_count(std::span<const int64_t>(dims))));
  for_each_point(context, [&](int64_t n, int64_t p, const std::vector<WeightedTap>& taps) {
    for (int64_t c = 0; c < channels; ++c)
      y[size_t((n * channels + c) * points + p)] = weighted_sum(values.data() + (n * channels + c) * size, taps);
  });
  context.outputs[0] = store(x.dtype(), dims, y);
}

}  // namespace

const OpDef& grid_sample_op() {
  static const OpDef def{
      .name = "GridSample",
      .min_inputs = 2,
      .max_inputs = 2,
      .attributes = {{"align_corners", AttributeKind::integer},
                     {"mode", AttributeKind::string},
                     {"padding_mode", AttributeKind::string}},
      .since = 16,
      .infer = infer_grid_sample,
      .evaluate = evaluate_grid_sample,
  };
  return def;
}

}  // namespace lathe::op

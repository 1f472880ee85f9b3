// The grid of places that an affine matrix gives for each element of an image, as GridSample reads it.
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;

// theta is [batch, 2, 3] or [batch, 3, 4]; size [batch, channels, spatial...]; the result [batch, spatial..., 2 or 3].
void infer_affine_grid(InferContext& context) {
  const TypeInfo& theta = require(context, 0, kFloat);
  require_dtype(context, 1, tensor::DType::i64);
  require_rank(context, 0, 3);
  require_rank(context, 1, 1);
  const auto rank = theta.shape[1].constant();
  if (!rank || (*rank != 2 && *rank != 3))
    bad(context, "expected matrices [batch, 2, 3] or [batch, 3, 4], found {}", to_string(theta));
  require_dims_agree(context, "columns", theta.shape[2], Dim(*rank + 1));
  require_dims_agree(context, "size", context.input(1).shape[0], Dim(*rank + 2));
  tensor::Shape shape{theta.shape[0]};
  const auto size = known_dims(context, 1);
  if (size) require_dims_agree(context, "batch", theta.shape[0], size->front());
  for (int64_t i = 0; i < *rank; ++i) {
    shape.push_back(size ? (*size)[size_t(i + 2)] : unknown_dim(context, size_t(i)));
    if (shape.back().constant().value_or(0) < 0) bad(context, "size of {}", shape.back().to_string());
  }
  shape.emplace_back(*rank);
  context.outputs[0] = {theta.dtype, std::move(shape), std::nullopt};
}

// Element i of an axis in [-1, 1]: the ends are the outer elements' centres or their outer edges.
double position(int64_t i, int64_t length, bool align_corners) {
  if (!align_corners) return double(2 * i + 1 - length) / double(length);
  return length == 1 ? 0 : double(2 * i - (length - 1)) / double(length - 1);
}

void evaluate_affine_grid(EvaluateContext& context) {
  const tensor::Tensor& theta = context.inputs[0];
  const bool align_corners = context.attributes.get_int("align_corners", 0) != 0;
  const int64_t rank = theta.dims()[1];
  const std::vector<int64_t> size = load<int64_t>(context.inputs[1]);
  if (size[0] != theta.dims()[0])
    fail(ErrorCode::invalid_input, "AffineGrid: {} matrices for a batch of {}", theta.dims()[0], size[0]);
  const tensor::Dims spatial(size.begin() + 2, size.end());
  tensor::Dims dims{size[0]};
  dims.insert(dims.end(), spatial.begin(), spatial.end());
  dims.push_back(rank);
  std::vector<double> grid(size_t(tensor::element_count(std::span<const int64_t>(dims))));
  const std::vector<double> matrices = load<double>(theta);
  const int64_t points = tensor::element_count(std::span<const int64_t>(spatial));
  size_t to = 0;
  for (int64_t n = 0; n < size[0]; ++n) {
    Walk walk(spatial, tensor::Dims(spatial.size(), 0));
    for (int64_t p = 0; p < points; ++p, walk.next()) {
      for (int64_t row = 0; row < rank; ++row) {
        const double* r = matrices.data() + (n * rank + row) * (rank + 1);
        double sum = r[rank];
        for (int64_t j = 0; j < rank; ++j) {  // column j belongs to x, y, z: the innermost axis first
          const size_t axis = size_t(rank - 1 - j);
          sum += r[j] * position(walk.index()[axis], spatial[axis], align_corners);
        }
        grid[to++] = sum;
      }
    }
  }
  context.outputs[0] = store(theta.dtype(), dims, grid);
}

}  // namespace

const OpDef& affine_grid_op() {
  static const OpDef def{
      .name = "AffineGrid",
      .min_inputs = 2,
      .max_inputs = 2,
      .attributes = {{"align_corners", AttributeKind::integer}},
      .since = 20,
      .infer = infer_affine_grid,
      .evaluate = evaluate_affine_grid,
  };
  return def;
}

}  // namespace lathe::op

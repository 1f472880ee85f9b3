// Slices of the data: the last dimension of the indices holds their coordinates, after `batch_dims` dimensions that
// data and indices share.
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_gather_nd(InferContext& context) {
  const TypeInfo& data = require(context, 0, kAny);
  const TypeInfo& indices = require_dtype(context, 1, tensor::DType::i64);
  const int64_t batch = context.attributes.get_int("batch_dims", 0);
  const int64_t rank = int64_t(data.shape.size());
  if (batch < 0 || batch >= rank || batch >= int64_t(indices.shape.size())) {
    bad(context, "batch_dims {}: expected less than the ranks of {} and {}", batch, to_string(data),
        to_string(indices));
  }
  const auto depth = indices.shape.back().constant();
  if (!depth || *depth < 1 || *depth > rank - batch) {
    bad(context, "last dimension of indices {}: expected 1 to {}", to_string(indices), rank - batch);
  }
  for (size_t i = 0; i < size_t(batch); ++i) {
    require_dims_agree(context, fmt::format("batch dimension {}", i), data.shape[i], indices.shape[i]);
  }
  // [batch..., rest of the indices..., rest of the data...]
  tensor::Shape shape(indices.shape.begin(), indices.shape.end() - 1);
  shape.insert(shape.end(), data.shape.begin() + std::ptrdiff_t(batch + *depth), data.shape.end());
  context.outputs[0] = {data.dtype, std::move(shape), std::nullopt};
}

void evaluate_gather_nd(EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  const tensor::Tensor& indices = context.inputs[1];
  const size_t batch = size_t(context.attributes.get_int("batch_dims", 0));
  const size_t depth = size_t(indices.dims().back());
  const std::vector<int64_t> coordinates = load<int64_t>(indices);
  const tensor::Dims strides = contiguous_strides(data.dims());
  const int64_t slice = count_of(data.dims(), batch + depth, data.dims().size());
  const int64_t in_batch = count_of(data.dims(), batch, data.dims().size());
  const int64_t batches = count_of(data.dims(), 0, batch);
  const int64_t per_batch = count_of(indices.dims(), batch, indices.dims().size() - 1);
  tensor::Dims dims(indices.dims().begin(), indices.dims().end() - 1);
  dims.insert(dims.end(), data.dims().begin() + std::ptrdiff_t(batch + depth), data.dims().end());
  tensor::Tensor result(data.dtype(), std::move(dims));
  ElementCopier copier(data, result);
  size_t at = 0;
  int64_t to = 0;
  for (int64_t b = 0; b < batches; ++b) {
    for (int64_t i = 0; i < per_batch; ++i) {
      int64_t from = b * in_batch;
      for (size_t d = batch; d < batch + depth; ++d) {
        const int64_t index = coordinates[at++];
        const int64_t length = data.dims()[d];
        if (index < -length || index >= length) {
          fail(ErrorCode::invalid_input, "GatherND: index {} is outside of length {}", index, length);
        }
        from += (index < 0 ? index + length : index) * strides[d];
      }
      for (int64_t j = 0; j < slice; ++j) copier.copy(from + j, to++);
    }
  }
  context.outputs[0] = std::move(result);
}

}  // namespace

const OpDef& gather_nd_op() {
  static const OpDef def{
      .name = "GatherND",
      .min_inputs = 2,
      .max_inputs = 2,
      .attributes = {{"batch_dims", AttributeKind::integer}},
      .infer = infer_gather_nd,
      .evaluate = evaluate_gather_nd,
  };
  return def;
}

}  // namespace lathe::op

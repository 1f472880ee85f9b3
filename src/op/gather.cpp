// Slices of an axis by index: rows of an embedding, an element of a shape.
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_gather(InferContext& context) {
  const TypeInfo& data = require(context, 0, kAny);
  const TypeInfo& indices = require(context, 1, kSigned);
  const size_t axis = axis_index(context, context.attributes.get_int("axis", 0), data.shape.size());
  tensor::Shape shape(data.shape.begin(), data.shape.begin() + std::ptrdiff_t(axis));
  shape.insert(shape.end(), indices.shape.begin(), indices.shape.end());
  shape.insert(shape.end(), data.shape.begin() + std::ptrdiff_t(axis) + 1, data.shape.end());
  context.outputs[0] = {data.dtype, std::move(shape), std::nullopt};
  const auto elements = known_dims(context, 0);
  const auto wanted = known_ints(context, 1);
  if (!elements || !wanted || data.shape.size() != 1) return;
  std::vector<tensor::Dim> taken;
  for (const int64_t index : *wanted)
    taken.push_back((*elements)[axis_index(context, index, elements->size())]);
  set_elements(context.outputs[0], std::move(taken));
}

void evaluate_gather(EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  const tensor::Tensor& indices = context.inputs[1];
  const size_t axis = axis_index(context.attributes.get_int("axis", 0), data.rank());
  const int64_t length = data.dims()[axis];
  std::vector<int64_t> rows = load<int64_t>(indices);
  for (int64_t& row : rows) {
    if (row < -length || row >= length) {
      fail(ErrorCode::invalid_input, "Gather: index {} is outside of axis {} of {}", row, axis,
           tensor::to_string(std::span(data.dims())));
    }
    if (row < 0) row += length;
  }
  tensor::Dims dims(data.dims().begin(), data.dims().begin() + std::ptrdiff_t(axis));
  dims.insert(dims.end(), indices.dims().begin(), indices.dims().end());
  dims.insert(dims.end(), data.dims().begin() + std::ptrdiff_t(axis) + 1, data.dims().end());
  const int64_t inner = count_of(data.dims(), axis + 1, data.dims().size());
  const int64_t outer = count_of(data.dims(), 0, axis);
  tensor::Tensor result(data.dtype(), std::move(dims));
  ElementCopier copier(data, result);
  int64_t to = 0;
  for (int64_t o = 0; o < outer; ++o) {
    for (const int64_t row : rows) {
      for (int64_t i = 0; i < inner; ++i) copier.copy((o * length + row) * inner + i, to++);
    }
  }
  context.outputs[0] = std::move(result);
}

}  // namespace

const OpDef& gather_op() {
  static const OpDef def{
      .name = "Gather",
      .min_inputs = 2,
      .max_inputs = 2,
      .attributes = {{"axis", AttributeKind::integer}},
      .infer = infer_gather,
      .evaluate = evaluate_gather,
  };
  return def;
}

}  // namespace lathe::op

// Puts the elements that a MaxPool kept back where they were; all others are 0.
#include <algorithm>

#include "base/checked.h"
#include "op/pooling.h"

namespace lathe::op {
namespace {

using tensor::Dim;

// The shape whose pool has x's: (length - 1) * stride + kernel - pads along each spatial axis.
tensor::Shape unpooled(std::string_view op, const Attributes& attributes, const tensor::Shape& x) {
  const size_t rank = x.size() - 2;
  const WindowSpec spec = read_windows(op, attributes, rank);
  tensor::Shape shape{x[0], x[1]};
  for (size_t i = 0; i < rank; ++i) {
    shape.push_back((x[i + 2] - Dim(1)) * Dim(spec.strides[i]) + spec.kernel[i] -
                    Dim(spec.pads[i] + spec.pads[i + rank]));
    const auto length = shape.back().constant();
    if (length && *length < 0) fail(ErrorCode::invalid_input, "{}: axis {} would get length {}", op, i + 2, *length);
  }
  return shape;
}

void infer_max_unpool(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat);
  const TypeInfo& indices = require_dtype(context, 1, tensor::DType::i64);
  const size_t rank = spatial_rank(context) + 2;
  require_rank(context, 1, rank);
  for (size_t i = 0; i < rank; ++i) require_dims_agree(context, "indices", x.shape[i], indices.shape[i]);
  tensor::Shape shape = unpooled(context.op, context.attributes, x.shape);
  if (context.has_input(2)) {
    require_dtype(context, 2, tensor::DType::i64);
    require_rank(context, 2, 1);
    require_dims_agree(context, "output_shape", context.input(2).shape[0], Dim(int64_t(rank)));
    const auto wanted = known_dims(context, 2);
    for (size_t i = 0; i < rank; ++i) {
      const Dim least = shape[i];
      shape[i] = wanted ? (*wanted)[i] : unknown_dim(context, i);
      const auto spare = (shape[i] - least).constant();
      if (spare && (*spare < 0 || (i < 2 && *spare != 0))) {
        bad(context, "output_shape: axis {}: expected {}{}, found {}", i, i < 2 ? "" : "at least ", least.to_string(),
            shape[i].to_string());
      }
    }
  }
  context.outputs[0] = {x.dtype, std::move(shape), std::nullopt};
}

void evaluate_max_unpool(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  // ONNX's tests count the indices in the shape that the attributes tell, also where output_shape is larger.
  const tensor::Dims dims = *tensor::to_dims(unpooled("MaxUnpool", context.attributes, tensor::to_shape(x.dims())));
  const int64_t size = tensor::element_count(std::span<const int64_t>(dims));
  tensor::Dims wanted = dims;
  if (context.has_input(2)) wanted = load<int64_t>(context.inputs[2]);
  for (size_t i = 0; i < dims.size(); ++i) {
    if (wanted[i] < dims[i]) {
      fail(ErrorCode::invalid_input, "MaxUnpool: output_shape: axis {} is {}, the pool had {}", i, wanted[i], dims[i]);
    }
  }
  const tensor::Dims strides = contiguous_strides(wanted);
  const std::vector<int64_t> indices = load<int64_t>(context.inputs[1]);
  tensor::Tensor result(x.dtype(), wanted);
  ElementCopier copier(x, result);
  for (size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] < 0 || indices[i] >= size) {
      fail(ErrorCode::invalid_input, "MaxUnpool: index {} into {} elements", indices[i], size);
    }
    int64_t rest = indices[i];
    int64_t to = 0;
    for (size_t d = dims.size(); d-- > 0;) {
      to += rest % dims[d] * strides[d];
      rest /= dims[d];
    }
    copier.copy(int64_t(i), to);
  }
  context.outputs[0] = std::move(result);
}

}  // namespace

const OpDef& max_unpool_op() {
  static const OpDef def{
      .name = "MaxUnpool",
      .min_inputs = 2,
      .max_inputs = 3,
      .attributes = {{"kernel_shape", AttributeKind::integers, true},
                     {"pads", AttributeKind::integers},
                     {"strides", AttributeKind::integers}},
      .infer = infer_max_unpool,
      .evaluate = evaluate_max_unpool,
  };
  return def;
}

}  // namespace lathe::op

// The data with slices replaced (or added to, multiplied by ...): row i of indices says where updates[i]
// goes.
#include "op/elementwise.h"

namespace lathe::op {
namespace {

void infer_scatter_nd(InferContext& context) {
  const TypeInfo& data = require(context, 0, kAny);
  const TypeInfo& indices = require_dtype(context, 1, tensor::DType::i64);
  const TypeInfo& updates = require(context, 2, kAny);
  require_same_dtype(context, 0, 2);
  const std::string reduction = context.attributes.get_string("reduction", "none");
  if (reduction != "none" && reduction != "add" && reduction != "mul" && reduction != "max" &&
      reduction != "min") {
    bad(context, "unknown reduction \"{}\"", reduction);
  }
  if (reduction != "none") require(context, 0, kNumeric);
  if (indices.shape.empty() || data.shape.empty()) bad(context, "data and indices must not be scalars");
  const auto depth = indices.shape.back().constant();
  if (!depth || *depth > int64_t(data.shape.size())) {
    bad(context, "last dimension of indices {}: expected at most {}", to_string(indices), data.shape.size());
  }
  tensor::Shape expected(indices.shape.begin(), indices.shape.end() - 1);
  expected.insert(expected.end(), data.shape.begin() + std::ptrdiff_t(*depth), data.shape.end());
  require_rank(context, 2, expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    require_dims_agree(context, fmt::format("dimension {} of updates", i), expected[i], updates.shape[i]);
  }
  context.outputs[0] = {data.dtype, data.shape, std::nullopt};
}

// Offsets into the data of each slice that the indices name.
std::vector<int64_t> slice_offsets(const tensor::Tensor& data, const tensor::Tensor& indices) {
  const std::vector<int64_t> coordinates = load<int64_t>(indices);
  const size_t depth = size_t(indices.dims().back());
  const tensor::Dims strides = contiguous_strides(data.dims());
  std::vector<int64_t> offsets(size_t(count_of(indices.dims(), 0, indices.dims().size() - 1)));
  for (size_t i = 0; i < offsets.size(); ++i) {
    for (size_t d = 0; d < depth; ++d) {
      int64_t index = coordinates[i * depth + d];
      const int64_t length = data.dims()[d];
      if (index < -length || index >= length) {
        fail(ErrorCode::invalid_input, "ScatterND: index {} is outside of length {}", index, length);
      }
      offsets[i] += (index < 0 ? index + length : index) * strides[d];
    }
  }
  return offsets;
}

template <class F>
tensor::Tensor scatter_with(const EvaluateContext& context, const std::vector<int64_t>& offsets,
                            int64_t slice, F combine) {
  const tensor::Tensor& data = context.inputs[0];
  return with_compute_type(data.dtype(), [&](auto zero) {
    auto values = load<decltype(zero)>(data);
    const auto updates = load<decltype(zero)>(context.inputs[2]);
    for (size_t i = 0; i < offsets.size(); ++i) {
      for (int64_t j = 0; j < slice; ++j) {
        auto& value = values[size_t(offsets[i] + j)];
        value = combine(value, updates[i * size_t(slice) + size_t(j)]);
      }
    }
    return store(data.dtype(), data.dims(), values);
  });
}

void evaluate_scatter_nd(EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  const std::vector<int64_t> offsets = slice_offsets(data, context.inputs[1]);
  const int64_t slice = count_of(data.dims(), size_t(context.inputs[1].dims().back()), data.dims().size());
  const std::string reduction = context.attributes.get_string("reduction", "none");
  tensor::Tensor& out = context.outputs[0];
  if (reduction == "add") {
    out = scatter_with(context, offsets, slice, WrappingAdd{});
  } else if (reduction == "mul") {
    out = scatter_with(context, offsets, slice, WrappingMultiply{});
  } else if (reduction == "max") {
    out = scatter_with(context, offsets, slice, NanMax{});
  } else if (reduction == "min") {
    out = scatter_with(context, offsets, slice, NanMin{});
  } else {
    out = clone(data);
    ElementCopier copier(context.inputs[2], out);
    for (size_t i = 0; i < offsets.size(); ++i) {
      for (int64_t j = 0; j < slice; ++j) copier.copy(int64_t(i) * slice + j, offsets[i] + j);
    }
  }
}

}  // namespace

const OpDef& scatter_nd_op() {
  static const OpDef def{
      .name = "ScatterND",
      .min_inputs = 3,
      .max_inputs = 3,
      .attributes = {{"reduction", AttributeKind::string, false, 16}},
      .infer = infer_scatter_nd,
      .evaluate = evaluate_scatter_nd,
  };
  return def;
}

}  // namespace lathe::op

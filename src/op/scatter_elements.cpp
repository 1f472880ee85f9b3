// The data with single elements replaced (or added to, multiplied by ...): the index replaces the coordinate along
// `axis`, the others are the index's own.
#include "op/elementwise.h"

namespace lathe::op {
namespace {

void infer_scatter_elements(InferContext& context) {
  const TypeInfo& data = require(context, 0, kAny);
  const TypeInfo& indices = require(context, 1, kSigned);
  const TypeInfo& updates = require(context, 2, kAny);
  require_same_dtype(context, 0, 2);
  const std::string reduction = context.attributes.get_string("reduction", "none");
  if (reduction != "none" && reduction != "add" && reduction != "mul" && reduction != "max" && reduction != "min") {
    bad(context, "unknown reduction \"{}\"", reduction);
  }
  if (reduction != "none") require(context, 0, kNumeric);
  const size_t axis = axis_index(context, context.attributes.get_int("axis", 0), data.shape.size());
  require_rank(context, 1, data.shape.size());
  require_rank(context, 2, data.shape.size());
  for (size_t i = 0; i < data.shape.size(); ++i) {
    require_dims_agree(context, fmt::format("dimension {} of indices and updates", i), indices.shape[i],
                       updates.shape[i]);
    const auto room = (data.shape[i] - indices.shape[i]).constant();
    if (i != axis && room && *room < 0) {
      bad(context, "dimension {} of the indices {} exceeds that of {}", i, to_string(indices), to_string(data));
    }
  }
  context.outputs[0] = {data.dtype, data.shape, std::nullopt};
}

// Where in the data each update goes.
std::vector<int64_t> targets(const EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  const tensor::Tensor& indices = context.inputs[1];
  const size_t axis = axis_index(context.attributes.get_int("axis", 0), data.rank());
  const int64_t length = data.dims()[axis];
  tensor::Dims strides = contiguous_strides(data.dims());
  const int64_t step = strides[axis];
  strides[axis] = 0;
  Walk walk(indices.dims(), std::move(strides));
  std::vector<int64_t> result = load<int64_t>(indices);
  for (int64_t& index : result) {
    if (index < -length || index >= length) {
      fail(ErrorCode::invalid_input, "ScatterElements: index {} is outside of length {}", index, length);
    }
    index = walk.next() + (index < 0 ? index + length : index) * step;
  }
  return result;
}

template <class F>
tensor::Tensor scatter_with(const EvaluateContext& context, const std::vector<int64_t>& to, F combine) {
  const tensor::Tensor& data = context.inputs[0];
  return with_compute_type(data.dtype(), [&](auto zero) {
    auto values = load<decltype(zero)>(data);
    const auto updates = load<decltype(zero)>(context.inputs[2]);
    for (size_t i = 0; i < to.size(); ++i) values[size_t(to[i])] = combine(values[size_t(to[i])], updates[i]);
    return store(data.dtype(), data.dims(), values);
  });
}

void evaluate_scatter_elements(EvaluateContext& context) {
  const std::vector<int64_t> to = targets(context);
  const std::string reduction = context.attributes.get_string("reduction", "none");
  tensor::Tensor& out = context.outputs[0];
  if (reduction == "add") {
    out = scatter_with(context, to, WrappingAdd{});
  } else if (reduction == "mul") {
    out = scatter_with(context, to, WrappingMultiply{});
  } else if (reduction == "max") {
    out = scatter_with(context, to, NanMax{});
  } else if (reduction == "min") {
    out = scatter_with(context, to, NanMin{});
  } else {
    out = clone(context.inputs[0]);
    ElementCopier copier(context.inputs[2], out);
    for (size_t i = 0; i < to.size(); ++i) copier.copy(int64_t(i), to[i]);
  }
}

}  // namespace

const OpDef& scatter_elements_op() {
  static const OpDef def{
      .name = "ScatterElements",
      .min_inputs = 3,
      .max_inputs = 3,
      .attributes = {{"axis", AttributeKind::integer}, {"reduction", AttributeKind::string, false, 16}},
      .infer = infer_scatter_elements,
      .evaluate = evaluate_scatter_elements,
  };
  return def;
}

}  // namespace lathe::op

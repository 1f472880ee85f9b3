// The same elements under another shape: 0 keeps a dimension (unless allowzero), one -1 takes what is left.
#include <algorithm>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;

bool allow_zero(const Attributes& attributes) {
  return attributes.get_int("allowzero", 0) != 0;
}

tensor::Shape reshaped(const InferContext& context, const tensor::Shape& from,
                       const std::vector<Dim>& target) {
  tensor::Shape shape;
  std::optional<size_t> open;
  bool zero = false;
  for (size_t i = 0; i < target.size(); ++i) {
    const auto number = target[i].constant();
    if (number && *number == -1) {
      if (open) bad(context, "two dimensions are -1 in {}", to_string(tensor::Shape(target)));
      open = i;
      shape.emplace_back(1);
    } else if (number && *number < -1) {
      bad(context, "dimension {} is {}", i, *number);
    } else if (number && *number == 0 && !allow_zero(context.attributes)) {
      if (i >= from.size())
        bad(context, "dimension {} is 0, which input {} does not have", i, to_string(from));
      shape.push_back(from[i]);
    } else {
      zero = zero || (number && *number == 0);
      shape.push_back(target[i]);
    }
  }
  if (open && zero) bad(context, "a -1 beside a 0 that means 0");
  // Dimensions that stay are taken off both sides, so that an open dimension can be found with any symbols.
  const Dim total = tensor::element_count(from);
  const Dim placed = tensor::element_count(shape);
  if (open) {
    if (placed == Dim(0)) {
      if (!(total == Dim(0))) bad(context, "cannot give {} the shape {}", to_string(from), to_string(shape));
      shape[*open] = Dim(0);
      return shape;
    }
    std::vector<Dim> numerator = from;
    std::vector<Dim> denominator;
    for (size_t i = 0; i < shape.size(); ++i) {
      if (i == *open) continue;
      const auto same = std::find(numerator.begin(), numerator.end(), shape[i]);
      if (same != numerator.end() && !(shape[i] == Dim(0)))
        numerator.erase(same);
      else
        denominator.push_back(shape[i]);
    }
    const Dim left = tensor::element_count(numerator);
    const Dim taken = tensor::element_count(denominator);
    if (left.is_constant() && taken.is_constant() &&
        (taken.value() == 0 || left.value() % taken.value() != 0)) {
      bad(context, "cannot give {} the shape {}", to_string(from), to_string(tensor::Shape(target)));
    }
    shape[*open] = divide_exactly(left, taken).value_or(unknown_dim(context, *open));
  } else if (total.is_constant() && placed.is_constant() && !(total == placed)) {
    bad(context, "cannot give {} the shape {}", to_string(from), to_string(shape));
  }
  return shape;
}

void infer_reshape(InferContext& context) {
  const TypeInfo& data = require(context, 0, kAny);
  require_dtype(context, 1, tensor::DType::i64);
  require_rank(context, 1, 1);
  const auto target = known_dims(context, 1);
  TypeInfo& out = context.outputs[0];
  if (!target) {
    out = unknown_lengths(context, data.dtype, list_length(context, 1));
    return;
  }
  out = {data.dtype, reshaped(context, data.shape, *target), std::nullopt};
  set_elements(out, known_dims(context, 0));
}

void evaluate_reshape(EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  tensor::Dims dims = load<int64_t>(context.inputs[1]);
  int64_t placed = 1;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0 && !allow_zero(context.attributes)) dims[i] = data.dims()[i];
    if (dims[i] != -1) placed *= dims[i];
  }
  for (int64_t& dim : dims) {
    if (dim == -1) dim = placed == 0 ? 0 : data.size() / placed;
  }
  context.outputs[0] = data.reshaped(std::move(dims));
}

}  // namespace

const OpDef& reshape_op() {
  static const OpDef def{
      .name = "Reshape",
      .min_inputs = 2,
      .max_inputs = 2,
      .attributes = {{"allowzero", AttributeKind::integer, false, 14}},
      .infer = infer_reshape,
      .evaluate = evaluate_reshape,
  };
  return def;
}

}  // namespace lathe::op

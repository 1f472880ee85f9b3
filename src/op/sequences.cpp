#include "op/sequences.h"

#include "op/values.h"

namespace lathe::op {

bool may_be_sequence(const TypeInfo& type) {
  return type.form == Form::sequence || (type.form == Form::tensor && type.dtype == tensor::DType::undefined);
}

const TypeInfo& require_sequence(const InferContext& context, size_t i) {
  const TypeInfo& type = context.input(i);
  if (!may_be_sequence(type)) bad(context, "input {}: expected a sequence, found {}", i, to_string(type));
  return type;
}

int64_t index_of(const Datum& datum) {
  const tensor::Tensor& tensor = datum.tensor();
  const bool whole = tensor::is_integer(tensor.dtype()) || tensor.dtype() == tensor::DType::boolean;
  if (!whole || tensor.size() != 1) {
    fail(ErrorCode::invalid_input, "expected one integer, found {}{}", to_string(tensor.dtype()),
         tensor::to_string(std::span(tensor.dims())));
  }
  return load_int(tensor);
}

size_t position_of(const Datum& datum, size_t count, bool end) {
  const int64_t position = index_of(datum);
  const int64_t size = int64_t(count);
  if (position < -size || position > size || (position == size && !end)) {
    fail(ErrorCode::invalid_input, "position {} in a sequence of {}", position, count);
  }
  return size_t(position < 0 ? position + size : position);
}

tensor::Tensor part_at(const tensor::Tensor& tensor, int64_t axis, int64_t index) {
  return evaluate(get_op("Gather"), {tensor, tensor::Tensor::scalar(index)}, {{"axis", axis}})[0];
}

tensor::Tensor stacked(std::vector<tensor::Tensor> parts, int64_t axis) {
  LATHE_CHECK(!parts.empty());
  const tensor::Tensor axes = tensor::Tensor::of<int64_t>({1}, {axis});
  for (tensor::Tensor& part : parts) {
    part = evaluate(get_op("Unsqueeze"), {part, axes}, {})[0];
  }
  return evaluate(get_op("Concat"), std::move(parts), {{"axis", axis}})[0];
}

tensor::Tensor stacked_nothing(const TypeInfo& part, int64_t axis) {
  if (part.dtype == tensor::DType::undefined) fail(ErrorCode::unsupported, "no rounds, and a result of no known type");
  tensor::Dims dims;
  for (const tensor::Dim& dim : part.shape) dims.push_back(dim.constant().value_or(0));
  const int64_t rank = int64_t(dims.size()) + 1;
  const int64_t at = axis < 0 ? axis + rank : axis;
  if (at < 0 || at >= rank) fail(ErrorCode::invalid_input, "axis {} of rank {}", axis, rank);
  dims.insert(dims.begin() + at, 0);
  return tensor::Tensor(part.dtype, std::move(dims));
}

}  // namespace lathe::op

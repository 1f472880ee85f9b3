#include "frontend/builder.h"

#include "base/error.h"

namespace lathe::frontend {

using tensor::DType;
using tensor::Tensor;

Builder Builder::scoped(std::string_view name) const { return Builder(graph_, qualified(name)); }

std::string Builder::qualified(std::string_view name) const {
  if (scope_.empty()) return std::string(name);
  return name.empty() ? scope_ : fmt::format("{}.{}", scope_, name);
}

Value Builder::node(std::string_view op, std::vector<Value> inputs, op::Attributes attributes,
                    std::string_view name) const {
  return nodes(op, std::move(inputs), std::move(attributes), 1, name)[0];
}

std::vector<Value> Builder::nodes(std::string_view op, std::vector<Value> inputs, op::Attributes attributes,
                                  int outputs, std::string_view name) const {
  const ir::NodeId id = graph_.add_node(op, std::move(inputs), std::move(attributes), qualified(name), outputs);
  return graph_.node(id).outputs;
}

Value Builder::ints(std::vector<int64_t> values) const {
  const int64_t count = int64_t(values.size());
  return graph_.add_constant("ints", Tensor::of<int64_t>({count}, std::span<const int64_t>(values)));
}

Value Builder::scalar(double value, DType dtype) const {
  if (dtype == DType::undefined) fail(ErrorCode::unsupported, "a number of a type that only the run knows");
  return graph_.add_constant("scalar", tensor::cast(Tensor::scalar(value), dtype));
}

Value Builder::cast(Value x, DType dtype) const {
  if (graph_.type(x).dtype == dtype) return x;
  return node("Cast", {x}, {{"to", int64_t(dtype)}});
}

Value Builder::reshape(Value x, std::vector<int64_t> dims) const { return node("Reshape", {x, ints(std::move(dims))}); }

Value Builder::transpose(Value x, std::vector<int64_t> permutation) const {
  return node("Transpose", {x}, {{"perm", std::move(permutation)}});
}

Value Builder::concat(std::vector<Value> values, int64_t axis) const {
  return node("Concat", std::move(values), {{"axis", axis}});
}

Value Builder::unsqueeze(Value x, std::vector<int64_t> axes) const {
  return node("Unsqueeze", {x, ints(std::move(axes))});
}

Value Builder::slice(Value x, int64_t begin, int64_t end, int64_t axis, int64_t step) const {
  return node("Slice", {x, ints({begin}), ints({end}), ints({axis}), ints({step})});
}

Value Builder::linear(Value x, Value weight, Value bias, std::string_view name) const {
  const Value transposed = node("Transpose", {weight}, {{"perm", std::vector<int64_t>{1, 0}}}, name);
  const Value product = node("MatMul", {x, transposed}, {}, name);
  return bias ? node("Add", {product, bias}, {}, name) : product;
}

}  // namespace lathe::frontend

#include "frontend/contrib/parts.h"

#include "base/error.h"

namespace lathe::frontend {

Value length_of(const Builder& b, Value x, int64_t axis) {
  return b.node("Gather", {b.node("Shape", {x}), b.scalar(double(axis), tensor::DType::i64)}, {{"axis", int64_t{0}}});
}

Value count_up(const Builder& b, Value count) {
  return b.node("Range", {b.scalar(0, tensor::DType::i64), count, b.scalar(1, tensor::DType::i64)});
}

Value as_scalar(const Builder& b, Value x) {
  return b.graph().type(x).shape.empty() ? x : b.reshape(x, {});
}

Value channels_first(const Builder& b, Value x, size_t rank) {
  std::vector<int64_t> permutation = {0, int64_t(rank) - 1};
  for (int64_t i = 1; i + 1 < int64_t(rank); ++i) permutation.push_back(i);
  return b.transpose(x, permutation);
}

Value channels_last(const Builder& b, Value x, size_t rank) {
  std::vector<int64_t> permutation = {0};
  for (int64_t i = 2; i < int64_t(rank); ++i) permutation.push_back(i);
  permutation.push_back(1);
  return b.transpose(x, permutation);
}

Value activate(const Builder& b, Value x, const std::string& name, const ActivationParameters& parameters) {
  const auto need = [&](const std::optional<double>& value, std::string_view which) {
    if (!value) fail(ErrorCode::unsupported, "activation {} without its parameter {}", name, which);
    return *value;
  };
  if (name.empty()) return x;
  if (name == "Relu" || name == "Tanh" || name == "Sigmoid") return b.node(name, {x});
  if (name == "LeakyRelu") return b.node(name, {x}, {{"alpha", need(parameters.alpha, "alpha")}});
  if (name == "HardSigmoid") {
    return b.node(name, {x}, {{"alpha", need(parameters.alpha, "alpha")}, {"beta", need(parameters.beta, "beta")}});
  }
  if (name == "Clip") {
    const auto bound = [&](double value) { return b.scalar(value, b.graph().type(x).dtype); };
    return b.node(name, {x, bound(need(parameters.alpha, "minimum")), bound(need(parameters.beta, "maximum"))});
  }
  fail(ErrorCode::unsupported, "activation \"{}\" has no expansion", name);
}

}  // namespace lathe::frontend

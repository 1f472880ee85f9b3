#include "opt/norm.h"

#include "opt/formula.h"
#include "opt/match.h"

namespace lathe::opt {
namespace {

// v where `value` is v^exponent, else absent.
ir::Value find_power(const ir::Graph& graph, ir::Value value, double exponent) {
  const ir::Node* pow = find_producer(graph, value, "Pow");
  return pow && find_number(graph, pow->inputs[1]) == exponent ? pow->inputs[0] : ir::Value{};
}

// v where `value` is sqrt(v).
ir::Value find_root(const ir::Graph& graph, ir::Value value) {
  const ir::Node* sqrt = find_producer(graph, value, "Sqrt");
  return sqrt ? sqrt->inputs[0] : find_power(graph, value, 0.5);
}

// v where `value` is 1 / sqrt(v).
ir::Value find_inverse_root(const ir::Graph& graph, ir::Value value) {
  if (const ir::Node* node = find_producer(graph, value, "Reciprocal")) return find_root(graph, node->inputs[0]);
  if (const ir::Node* node = find_producer(graph, value, "Div")) {
    return find_number(graph, node->inputs[0]) == 1.0 ? find_root(graph, node->inputs[1]) : ir::Value{};
  }
  return find_power(graph, value, -0.5);
}

// What `value` is the mean of, over the last axis, which stays with length 1; absent if it is none.
ir::Value find_mean(const ir::Graph& graph, ir::Value value) {
  const ir::Node* mean = find_producer(graph, value, "ReduceMean");
  if (!mean || mean->inputs.size() < 2 || mean->attributes.get_int("keepdims", 1) != 1) return {};
  const size_t rank = graph.type(mean->inputs[0]).shape.size();
  const auto axes = known_axes(graph, mean->inputs[1], rank);
  return axes && rank > 0 && *axes == std::vector<int64_t>{int64_t(rank) - 1} ? mean->inputs[0] : ir::Value{};
}

// The epsilon where `value` is mean(x^2) + epsilon.
std::optional<double> find_epsilon(const ir::Graph& graph, ir::Value value, ir::Value x) {
  const auto sum = find_with_number(graph, value, "Add");
  if (!sum || sum->number < 0) return std::nullopt;
  const ir::Value squares = find_mean(graph, sum->value);
  return squares && is_square(graph, squares, x) ? std::optional(sum->number) : std::nullopt;
}

}  // namespace

std::optional<Normalized> find_normalized(const ir::Graph& graph, ir::Value value) {
  if (const ir::Node* quotient = find_producer(graph, value, "Div")) {
    const ir::Value x = quotient->inputs[0];
    const auto epsilon = find_epsilon(graph, find_root(graph, quotient->inputs[1]), x);
    return epsilon ? std::optional(Normalized{x, *epsilon}) : std::nullopt;
  }
  const ir::Node* product = find_producer(graph, value, "Mul");
  for (size_t i = 0; product && i < 2; ++i) {
    const ir::Value x = product->inputs[i];
    const auto epsilon = find_epsilon(graph, find_inverse_root(graph, product->inputs[1 - i]), x);
    if (epsilon) return Normalized{x, *epsilon};
  }
  return std::nullopt;
}

ir::Value find_centred(const ir::Graph& graph, ir::Value value) {
  const ir::Node* difference = find_producer(graph, value, "Sub");
  if (!difference || find_mean(graph, difference->inputs[1]) != difference->inputs[0]) return {};
  return difference->inputs[0];
}

bool is_along_last_axis(const ir::Graph& graph, ir::Value vector, ir::Value x) {
  const tensor::Shape& shape = graph.type(x).shape;
  return !shape.empty() && graph.type(vector).shape == tensor::Shape{shape.back()};
}

}  // namespace lathe::opt

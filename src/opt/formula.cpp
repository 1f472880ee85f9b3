#include "opt/formula.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "opt/match.h"

namespace lathe::opt {
namespace {

constexpr int kDepth = 8;  // nodes between a value and x, more than any spelling has

using Found = std::optional<Polynomial>;

Found product(const Found& a, const Found& b) {
  if (!a || !b) return std::nullopt;
  Polynomial result = {};
  for (size_t i = 0; i < a->size(); ++i) {
    for (size_t j = 0; j < b->size(); ++j) {
      const double coefficient = (*a)[i] * (*b)[j];
      if (i + j < result.size()) {
        result[i + j] += coefficient;
      } else if (coefficient != 0) {
        return std::nullopt;
      }
    }
  }
  return result;
}

Found sum(const Found& a, const Found& b) {
  if (!a || !b) return std::nullopt;
  Polynomial result = *a;
  for (size_t i = 0; i < result.size(); ++i) result[i] += (*b)[i];
  return result;
}

Found power(const Found& base, std::optional<double> exponent) {
  if (!base || !exponent || (*exponent != 1 && *exponent != 2 && *exponent != 3)) return std::nullopt;
  Found result = base;
  for (int i = 1; i < int(*exponent); ++i) result = product(result, base);
  return result;
}

Found polynomial(const ir::Graph& graph, ir::Value value, ir::Value x, int depth) {
  if (value == x) return Polynomial{0, 1, 0, 0};
  if (const auto number = find_number(graph, value)) return Polynomial{*number, 0, 0, 0};
  const ir::NodeId producer = graph.producer(value);
  if (!producer || depth == 0) return std::nullopt;
  const ir::Node& node = graph.node(producer);
  if (node.op != "Add" && node.op != "Mul" && node.op != "Div" && node.op != "Pow") return std::nullopt;
  const Found a = polynomial(graph, node.inputs[0], x, depth - 1);
  if (!a) return std::nullopt;
  if (node.op == "Pow") return power(a, find_number(graph, node.inputs[1]));
  if (node.op == "Div") {
    const auto divisor = find_number(graph, node.inputs[1]);
    return divisor && *divisor != 0 ? product(a, Polynomial{1 / *divisor, 0, 0, 0}) : std::nullopt;
  }
  const Found b = polynomial(graph, node.inputs[1], x, depth - 1);
  return node.op == "Add" ? sum(a, b) : product(a, b);
}

}  // namespace

std::string to_string(const Polynomial& polynomial) {
  constexpr std::array<std::string_view, 4> kPowers = {"", " x", " x^2", " x^3"};
  std::vector<std::string> terms;
  for (size_t i = 0; i < polynomial.size(); ++i) {
    if (polynomial[i] != 0) terms.push_back(fmt::format("{:g}{}", polynomial[i], kPowers[i]));
  }
  return terms.empty() ? "0" : fmt::format("{}", fmt::join(terms, " + "));
}

std::optional<double> find_number(const ir::Graph& graph, ir::Value value) {
  const tensor::Tensor* tensor = value ? graph.small_constant(value) : nullptr;
  if (!tensor || tensor->size() != 1) return std::nullopt;
  const bool numeric = tensor::is_float(tensor->dtype()) || tensor::is_integer(tensor->dtype());
  if (!numeric || tensor::bits(tensor->dtype()) < 8) return std::nullopt;
  const double number = element_as_double(*tensor, 0);
  return std::isfinite(number) ? std::optional(number) : std::nullopt;
}

bool is_close(double found, double expected, tensor::DType dtype) {
  double tolerance = 1e-6;
  if (dtype == tensor::DType::f16) tolerance = 0x1p-10;
  if (dtype == tensor::DType::bf16) tolerance = 0x1p-7;
  return std::abs(found - expected) <= tolerance * std::abs(expected);
}

std::optional<WithNumber> find_with_number(const ir::Graph& graph, ir::Value value, std::string_view op) {
  const ir::Node* node = find_producer(graph, value, op);
  if (!node) return std::nullopt;
  for (size_t i = 0; i < 2; ++i) {
    if (const auto number = find_number(graph, node->inputs[i])) return WithNumber{node->inputs[1 - i], *number};
  }
  return std::nullopt;
}

std::optional<Polynomial> find_polynomial(const ir::Graph& graph, ir::Value value, ir::Value x) {
  return polynomial(graph, value, x, kDepth);
}

bool is_square(const ir::Graph& graph, ir::Value value, ir::Value x) {
  return find_polynomial(graph, value, x) == Polynomial{0, 0, 1, 0};
}

}  // namespace lathe::opt

// x/2 (1 + erf(x / sqrt 2)) = Gelu(x); x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) = Gelu(x, approximate = tanh)
#include <cmath>
#include <numbers>

#include "opt/formula.h"
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

// v where `value` is v / 2.
ir::Value find_half(const ir::Graph& graph, ir::Value value) {
  if (const auto product = find_with_number(graph, value, "Mul")) {
    return product->number == 0.5 ? product->value : ir::Value{};
  }
  const ir::Node* quotient = find_producer(graph, value, "Div");
  return quotient && find_number(graph, quotient->inputs[1]) == 2.0 ? quotient->inputs[0] : ir::Value{};
}

// a and b where `value` is a b / 2, wherever the half stands: (a/2) b, a (b/2) or (a b)/2.
std::optional<std::pair<ir::Value, ir::Value>> find_half_product(const ir::Graph& graph, ir::Value value) {
  if (const ir::Value whole = find_half(graph, value)) {
    const ir::Node* product = find_producer(graph, whole, "Mul");
    return product ? std::optional(std::pair(product->inputs[0], product->inputs[1])) : std::nullopt;
  }
  const ir::Node* product = find_producer(graph, value, "Mul");
  for (size_t i = 0; product && i < 2; ++i) {
    if (const ir::Value half = find_half(graph, product->inputs[i])) return std::pair(half, product->inputs[1 - i]);
  }
  return std::nullopt;
}

bool all_close(const Polynomial& found, const Polynomial& expected, tensor::DType dtype) {
  for (size_t i = 0; i < found.size(); ++i) {
    if (!is_close(found[i], expected[i], dtype)) return false;
  }
  return true;
}

// The form of Gelu where `gate` is 1 + erf(..) or 1 + tanh(..) of x, else "".
std::string_view find_form(const ir::Graph& graph, ir::Value gate, ir::Value x, RuleContext& context) {
  const auto sum = find_with_number(graph, gate, "Add");
  if (!sum || sum->number != 1) return "";
  const tensor::DType dtype = graph.type(x).dtype;
  if (const ir::Node* erf = find_producer(graph, sum->value, "Erf")) {
    const auto inner = find_polynomial(graph, erf->inputs[0], x);
    if (inner && all_close(*inner, {0, std::numbers::sqrt2 / 2, 0, 0}, dtype)) return "none";
    if (inner) context.miss("the argument of Erf is not x / sqrt(2) but {}", to_string(*inner));
    return "";
  }
  const ir::Node* tanh = find_producer(graph, sum->value, "Tanh");
  const auto inner = tanh ? find_polynomial(graph, tanh->inputs[0], x) : std::nullopt;
  const double slope = std::sqrt(2 / std::numbers::pi);
  if (inner && all_close(*inner, {0, slope, 0, slope * 0.044715}, dtype)) return "tanh";
  if (inner) context.miss("the argument of Tanh is not sqrt(2/pi) (x + 0.044715 x^3) but {}", to_string(*inner));
  return "";
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext& context) {
  const ir::Node node = graph.node(id);
  const auto factors = find_half_product(graph, node.outputs[0]);
  if (!factors) return false;
  for (const auto& [x, gate] : {*factors, std::pair(factors->second, factors->first)}) {
    const std::string_view form = find_form(graph, gate, x, context);
    if (form.empty()) continue;
    op::Attributes attributes;
    if (form != "none") attributes.set("approximate", std::string(form));
    return replace_same_type(graph, id, graph.add_node("Gelu", {x}, std::move(attributes), node.name, 1, id));
  }
  return false;
}

}  // namespace

const Rule& gelu_rule() {
  static const Rule rule{.name = "gelu", .roots = {"Div", "Mul"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt

// QuantizeLinear(f(.. g(DequantizeLinear(x)))) = lathe.Table(x, t), for bytes x and functions of one value: t is what
// the operators give for each of the 256 bytes
#include "opt/linear.h"
#include "opt/quantized.h"
#include "tensor/source.h"

namespace lathe::opt {
namespace {

using tensor::Tensor;

// A node that computes each element from that of one input, `x`, and single numbers.
struct Function {
  ir::Node node;
  size_t x;
};
std::optional<Function> find_function(const ir::Graph& graph, ir::Value value) {
  const ir::NodeId producer = graph.producer(value);
  if (!producer || !used_once(graph, value)) return std::nullopt;
  const ir::Node& node = graph.node(producer);
  if (!op::get_op(node.op).elementwise || !op::get_op(node.op).evaluate || node.outputs.size() != 1)
    return std::nullopt;
  std::optional<size_t> x;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ir::Value input = node.inputs[i];
    if (!input) continue;
    if (!graph.is_constant(input)) {
      if (x) return std::nullopt;
      x = i;
    } else if (!graph.small_constant(input) || graph.small_constant(input)->size() != 1) {
      return std::nullopt;
    }
  }
  if (!x || !same_type(graph, node.inputs[*x], value) || graph.type(value).dtype != tensor::DType::f32)
    return std::nullopt;
  return Function{node, *x};
}

Tensor compute(const ir::Graph& graph, const ir::Node& node, size_t at, const Tensor& x) {
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ir::Value input = node.inputs[i];
    inputs.push_back(i == at ? x : input ? tensor::load(*graph.source(input)) : Tensor());
  }
  return op::evaluate(op::get_op(node.op), std::move(inputs), node.attributes)[0];
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  if (!find_quantize(graph, node)) return false;
  std::vector<Function> functions = {{node, 0}};
  ir::Value value = node.inputs[0];
  while (const auto function = find_function(graph, value)) {
    functions.push_back(*function);
    value = function->node.inputs[function->x];
  }
  const auto from = find_dequantized_bytes(graph, value);
  if (!from || graph.is_constant(from->x)) return false;
  if (!graph.is_constant(from->scale) || (from->zero && !graph.is_constant(from->zero))) return false;
  Tensor table(graph.type(from->x).dtype, {256});
  for (size_t i = 0; i < 256; ++i) table.mutable_bytes()[i] = std::byte(i);
  functions.push_back({graph.node(graph.producer(value)), 0});
  for (size_t i = functions.size(); i-- > 0;) table = compute(graph, functions[i].node, functions[i].x, table);
  if (table.size() != 256) return false;
  Tensor flat(table.dtype(), {256});
  std::copy(table.bytes().begin(), table.bytes().end(), flat.mutable_bytes().begin());
  const ir::Value constant = graph.add_constant("table", std::move(flat));
  return replace_with(graph, id, "lathe.Table", {from->x, constant}, {});
}

}  // namespace

const Rule& q_table_lowering() {
  static const Rule rule{.name = "q_table", .roots = {"QuantizeLinear"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt

// DFT(x) along the last axis but one = Reshape(MatMul(lines of x, a constant matrix)), of a known length
#include "opt/fourier_matrix.h"
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

std::optional<FourierForm> form_of(const ir::Graph& graph, const ir::Node& node) {
  const op::TypeInfo& x = graph.type(node.inputs[0]);
  const size_t rank = x.shape.size();
  const auto input = [&](size_t i) { return node.inputs.size() > i ? node.inputs[i] : ir::Value{}; };
  const auto axis = input(2) ? known_axes(graph, input(2), rank) : std::vector<int64_t>{int64_t(rank) - 2};
  const auto given = x.shape[rank - 2].constant(), parts = x.shape[rank - 1].constant();
  if (x.dtype != tensor::DType::f32 || !axis || *axis != std::vector<int64_t>{int64_t(rank) - 2} || !given || !parts) {
    return std::nullopt;
  }
  FourierForm form{.length = *given, .given = *given, .parts = *parts};
  form.inverse = node.attributes.get_int("inverse", 0) != 0;
  form.one_sided = node.attributes.get_int("onesided", 0) != 0;
  if (form.one_sided && form.inverse) form.length = 2 * (*given - 1);
  if (!input(1)) return form;
  const auto length = known_ints(graph, input(1));
  if (!length || length->size() != 1) return std::nullopt;
  form.length = length->front();
  return form;
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const auto form = form_of(graph, node);
  if (!form) return false;
  auto matrix = fourier_matrix(*form);
  if (!matrix) return false;
  const auto add = [&](std::string_view op, std::vector<ir::Value> inputs) {
    return graph.node(graph.add_node(op, std::move(inputs), {}, node.name, 1, id)).outputs[0];
  };
  const size_t rank = graph.type(node.inputs[0]).shape.size();
  ir::Value x = node.inputs[0];
  if (form->read() < form->given) {
    x = add("Slice", {x, constant_ints(graph, {0}), constant_ints(graph, {form->read()}),
                      constant_ints(graph, {int64_t(rank) - 2})});
  }
  std::vector<int64_t> lines(rank - 2, 0);  // 0: as it is
  std::vector<int64_t> result = lines;
  lines.push_back(form->read() * form->parts);
  result.insert(result.end(), {form->count(), form->result_parts()});
  x = add("Reshape", {x, constant_ints(graph, lines)});
  x = add("MatMul", {x, graph.add_constant(node.name + ".transform", *std::move(matrix))});
  return replace(graph, id, add("Reshape", {x, constant_ints(graph, result)}));
}

}  // namespace

const Rule& dft_lowering() {
  static const Rule rule{.name = "dft", .roots = {"DFT"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt

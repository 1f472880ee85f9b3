// Gemm(a', b) = Gemm(a, b, transA), Gemm(a, b') = Gemm(a, b, transB), and back where it is transposed already
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  for (size_t i = 0; i < 2; ++i) {
    const ir::Node& node = graph.node(id);
    const ir::Node* transpose = find_producer(graph, node.inputs[i], "Transpose");
    // A transposed constant is stored so.
    if (!transpose || graph.is_constant(transpose->inputs[0])) continue;
    if (permutation(graph, *transpose) != std::vector<int64_t>{1, 0}) continue;
    const char* name = i == 0 ? "transA" : "transB";
    const int64_t now = node.attributes.get_int(name, 0) == 0 ? 1 : 0;
    graph.set_input(id, i, transpose->inputs[0]);
    graph.set_attribute(id, name, now);
    return true;
  }
  return false;
}

}  // namespace

const Rule& gemm_transpose_rule() {
  static const Rule rule{.name = "gemm_transpose", .roots = {"Gemm"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt

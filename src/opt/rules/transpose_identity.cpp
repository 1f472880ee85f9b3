// Transpose(x, perm = 0, 1, 2 ...) = x
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node& node = graph.node(id);
  const std::vector<int64_t> perm = permutation(graph, node);
  for (size_t i = 0; i < perm.size(); ++i) {
    if (perm[i] != int64_t(i)) return false;
  }
  return replace(graph, id, node.inputs[0]);
}

}  // namespace

const Rule& transpose_identity_rule() {
  static const Rule rule{.name = "transpose_identity", .roots = {"Transpose"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt

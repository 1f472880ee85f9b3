// Erases nodes whose results nobody reads.
#include "opt/pass.h"

namespace lathe::opt {
namespace {

bool run(ir::Graph& graph, PassContext&) {
  const std::vector<ir::NodeId> nodes(graph.nodes().begin(), graph.nodes().end());
  bool changed = false;
  for (const ir::NodeId id : nodes) changed |= graph.contains(id) && erase_if_dead(graph, id);
  return changed;
}

}  // namespace

const Pass& dead_code_pass() {
  static const Pass pass{.name = "dead_code", .run = run};
  return pass;
}

}  // namespace lathe::opt

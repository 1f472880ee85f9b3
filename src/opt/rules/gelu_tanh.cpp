// Gelu(x) ~ Gelu(x, approximate = tanh): an approximation, for those who ask for it (-O3)
//
// The two are at most 0.00048 apart (at |x| = 2.7); how much that is of an output depends on what follows.
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

constexpr double kApproximation = 1e-2;  // twenty of them in a row, the outputs as large as what enters

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  if (graph.node(id).attributes.get_string("approximate", "none") != "none") return false;
  graph.set_attribute(id, "approximate", std::string("tanh"));
  return true;
}

}  // namespace

const Rule& gelu_tanh_rule() {
  static const Rule rule{.name = "gelu_tanh",
                         .roots = {"Gelu"},
                         .apply = apply,
                         .level = Level::o3,
                         .tolerance = kApproximation};
  return rule;
}

}  // namespace lathe::opt

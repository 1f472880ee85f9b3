#include "opt/pipeline.h"

#include "opt/rule.h"

namespace lathe::opt {

std::vector<Pass> pipeline(Level level) {
  if (level == Level::o0) return {};
  const auto rules = all_rules();
  const Pass rewrite = rewrite_pass("rewrite", {rules.begin(), rules.end()});
  return {
      get_pass("dead_code"),             // what nobody reads need not be folded
      get_pass("constant_folding"),      // rules look for constants and known shapes
      get_pass("common_subexpression"),  // patterns look for one value, not two equal ones
      rewrite,                           //
      get_pass("constant_folding"),      // of what rewrites left
      get_pass("common_subexpression"),  //
      get_pass("dead_code"),             //
  };
}

std::vector<PassReport> optimise(ir::Graph& graph, const PassOptions& options) {
  const std::vector<Pass> passes = pipeline(options.level);
  return run_passes(graph, passes, options);
}

}  // namespace lathe::opt

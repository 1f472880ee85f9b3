// Which passes make up each optimisation level.
#pragma once

#include <vector>

#include "opt/pass_manager.h"

namespace lathe::opt {

// The passes of a level, in order. All registered rules up to the level run in the pass "rewrite".
std::vector<Pass> pipeline(Level level);

// run_passes with the pipeline of options.level.
std::vector<PassReport> optimise(ir::Graph& graph, const PassOptions& options);

}  // namespace lathe::opt

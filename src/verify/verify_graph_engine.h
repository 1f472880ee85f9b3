// Engines of graphs: are they what they were made from?
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "plan/engine_file.h"
#include "verify/verify_graph.h"

namespace lathe::verify {

struct GraphEngineVerifyOptions {
  GraphVerifyOptions runs = {};  // inputs and lengths of graphs that have such inputs; require_finite is the engine's
  bool full = false;             // gate 6 at more places, on each instruction set
  // The graphs the engine was made from, by name; those that are missing are the ones that it keeps.
  std::map<std::string, const ir::Graph*> sources = {};
  // Gates of whoever runs the graphs together; asked where those of each graph pass.
  std::function<std::vector<plan::Gate>()> together = {};
};

// Gates 0, 1, 2 and, where there is a profile, 6. Never throws for a difference: the receipt says so. Throws for
// engines that do not open, usage for inputs and lengths that no graph has, and as verify_graph.
plan::Receipt verify_graph_engine(const std::filesystem::path& path, const GraphEngineVerifyOptions& options);

}  // namespace lathe::verify

// `lathe inspect M.lathe` of an engine of graphs.
#pragma once

#include "cli/inspect_graph.h"
#include "plan/engine_file.h"

namespace lathe::cli {

struct GraphEngineInspectFlags {
  bool plan = false;   // print the plans
  bool graph = false;  // print the texts
};

// Prints it and returns it. With lengths from --shape, or the largest of the profile, what kernels and how much memory
// a call takes as well.
Json inspect_graph_engine(const plan::EngineFile& engine, const GraphEngineInspectFlags& flags,
                          const GraphInspectFlags& lengths, const Output& output);

}  // namespace lathe::cli

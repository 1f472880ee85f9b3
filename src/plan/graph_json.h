// Graphs of an engine as the JSON of its manifest; docs/engine-format.md describes it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "base/json.h"
#include "plan/graph_engine.h"

namespace lathe::plan {

// The weight section that constants lie in, and what keeps it there.
struct WeightSection {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

Json graph_json(const EngineGraph& graph);
// Constants are views of `weights`. Throws invalid_input for what is no graph, and for bytes outside the weights; the
// plan is not checked yet.
EngineGraph read_graph(const Json& json, const WeightSection& weights);

}  // namespace lathe::plan

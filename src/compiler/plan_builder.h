// A packed graph as a plan: buffers, constants with their layouts, instructions with their kernels.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "ir/graph.h"
#include "plan/plan.h"

namespace lathe::compiler {

struct PlanOptions {
  std::string compute = "f32";
  std::string kv = "f32";
  int64_t kv_block = 64;
  std::string device = "cpu";
  std::set<std::string> widened = {};  // constants that were made of Device::widened: matrices are stored as such
};

// A plan and where the bytes of its constants come from: sources[i] belongs to plan.constants[i].
struct BuiltPlan {
  plan::Plan plan;
  std::vector<tensor::SourcePtr> sources;
};

// `packed` as opt::to_packed gives it, with whatever rewrites followed. Constants that a lathe.Linear reads go
// into the packed layout of their encoding; one that has none is widened to f32, and `log` says so. Offsets of
// constants are not set yet. Throws unsupported where no kernel takes a node.
BuiltPlan build_plan(const ir::Graph& packed, const PlanOptions& options, const LogSink& log);

}  // namespace lathe::compiler

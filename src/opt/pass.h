// A pass: one change to a whole graph that leaves what it computes as it was.
//
// Each pass is one file, `opt/passes/<name>.cpp`, that defines `const Pass& <name>_pass()`; the file's name
// is the registration. What runs when is pipeline.h; the pass manager adds verification, timing and checking.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace lathe::opt {

// What may be done to a graph; the meaning of Optimum's -O1 .. -O4. Each level includes those before it.
enum class Level {
  o0,  // nothing
  o1,  // same operations, fewer of them
  o2,  // fusions
  o3,  // GELU approximation
  o4,  // reduced precision
};
std::string_view to_string(Level level);  // "O1"

// How far an output may move before checked mode rejects a pass: this share of its largest magnitude.
constexpr double kTolerance = 1e-4;

class NumericCheck;

// A node at which a rule nearly fired.
struct NearMiss {
  std::string place;  // the node's name
  std::string reason;
};
using NearMisses = std::map<std::string, std::vector<NearMiss>>;  // by rule

// What a pass may look at besides the graph, and where it reports.
struct PassContext {
  Level level = Level::o1;
  std::set<std::string, std::less<>> disabled;  // names of rules that must not run
  NumericCheck* check = nullptr;                // checked mode: compare after each single rewrite
  std::map<std::string, int64_t> rewrites;      // counted by rule
  // By rule: the names of the nodes it was applied at, as they were then, in order.
  std::map<std::string, std::vector<std::string>> places = {};
  NearMisses near_misses = {};  // at nodes that are still there at the end, in order
  bool in_body = false;         // RuleContext's
};

struct Pass {
  std::string name;
  // True if it changed anything. Types may be left stale: the manager infers them again.
  std::function<bool(ir::Graph&, PassContext&)> run;
  double tolerance = kTolerance;
};

// By file name. find_pass: nullptr when there is none; get_pass: throws not_found.
const Pass* find_pass(std::string_view name);
const Pass& get_pass(std::string_view name);
std::vector<const Pass*> all_passes();

// Erases the node if nothing uses its results, then the producers of its inputs likewise. True if it was
// dead.
bool erase_if_dead(ir::Graph& graph, ir::NodeId node);

}  // namespace lathe::opt

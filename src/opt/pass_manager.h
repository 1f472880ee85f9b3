// Runs passes, and gives every one of them verification, timing, dumps, checking and a switch.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "opt/pass.h"

namespace lathe::opt {

struct PassOptions {
  Level level = Level::o1;  // rules of higher levels do not run
  // Passes and rules, by name; an unknown name is a usage error.
  std::set<std::string, std::less<>> disabled = {};
  // Evaluates the graph before and after each pass, and after each single rewrite, and rejects what moved an
  // output (numeric_check.h). For graphs that the reference executor can run in reasonable time.
  bool checked = false;
  std::map<std::string, tensor::Tensor> check_inputs = {};  // empty: generated
  bool in_body = false;  // the graph is that of a node
  // Called with the graph's text at the start ("00_start") and after each pass that changed it
  // ("03_dead_code").
  std::function<void(std::string_view name, const std::string& text)> dump = {};
};

struct PassReport {
  std::string name;
  bool changed = false;
  double ms = 0;  // of the pass itself, without verification and checking
  int64_t nodes_before = 0;
  int64_t nodes_after = 0;
  std::map<std::string, int64_t> rewrites;  // by rule
  std::map<std::string, std::vector<std::string>> places = {};  // PassContext::places
  NearMisses near_misses = {};
};

// Runs the passes in order, once each. After a change types are inferred again and the graph is verified.
// An Error that leaves has "pass <name>" as context: internal when a pass breaks the graph, verification when
// checked mode rejects it. `graph` is then in the state that was rejected. Disabled passes are not reported.
std::vector<PassReport> run_passes(ir::Graph& graph, std::span<const Pass> passes,
                                   const PassOptions& options = {});

}  // namespace lathe::opt

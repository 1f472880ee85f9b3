// A rewrite rule: one equation, applied at one node; and the pass that applies rules until none fits.
//
// Each rule is one file, `opt/rules/<name>.cpp`, that defines `const Rule& <name>_rule()`; the file's name is
// the registration. A rule stands alone: it needs no other rule and no order. It replaces uses and leaves
// what is dead afterwards to the driver.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "ir/graph.h"
#include "opt/pass.h"

namespace lathe::opt {

// What a rule may assume, and where it says why it did nothing.
struct RuleContext {
  Level level = Level::o1;
  bool in_body = false;     // the graph is that of a node: its inputs are what the node gives it
  std::string nearly = {};  // set by miss()

  // For a node at which all of the equation is there but what this says: `return context.miss(..)`. What is not nearly
  // the equation is no miss: a report lists these for people who expected the rule to fire.
  template <class... Args>
  bool miss(fmt::format_string<Args...> format, Args&&... args) {
    nearly = fmt::format(format, std::forward<Args>(args)...);
    return false;
  }
};

struct Rule {
  std::string name;
  std::vector<std::string_view> roots;  // operators of the nodes it is tried at
  // Rewrites the graph where the equation holds at `node`, and returns true; otherwise leaves the graph as it
  // was and returns false. Every application must be progress: rules run until none applies.
  bool (*apply)(ir::Graph& graph, ir::NodeId node, RuleContext& context);
  Level level = Level::o1;  // the lowest at which it runs
  double tolerance = kTolerance;
};

// All rules, sorted by name.
std::span<const Rule* const> all_rules();
// Of those, of the lowerings (lowering.h) and of those for com.microsoft (contrib.h); nullptr when there is none.
const Rule* find_rule(std::string_view name);

// Applies the rules until none of them fits anywhere. Rules above the context's level or disabled there are
// left out. In checked mode the graph is verified and evaluated after each single rewrite. Throws internal,
// naming the rule, when rules do not converge or leave an invalid graph.
Pass rewrite_pass(std::string name, std::vector<const Rule*> rules);

}  // namespace lathe::opt

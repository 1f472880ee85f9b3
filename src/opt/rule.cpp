#include "opt/rule.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <set>

#include "base/error.h"
#include "opt/contrib.h"
#include "opt/lowering.h"
#include "opt/numeric_check.h"

namespace lathe::opt {

#include "opt_rules_declarations.inc"

namespace {

using RuleFunction = const Rule& (*)();

constexpr RuleFunction kFunctions[] = {
#include "opt_rules_entries.inc"
};
constexpr size_t kCount = std::size(kFunctions);

std::array<const Rule*, kCount> sorted_rules() {
  std::array<const Rule*, kCount> rules;
  for (size_t i = 0; i < kCount; ++i) rules[i] = &kFunctions[i]();
  std::sort(rules.begin(), rules.end(), [](const Rule* a, const Rule* b) { return a->name < b->name; });
  return rules;
}

// Nodes waiting for a visit, each at most once, first come first served.
class Worklist {
 public:
  void push(ir::NodeId id) {
    if (id && waiting_.insert(id).second) queue_.push_back(id);
  }
  bool empty() const { return queue_.empty(); }
  ir::NodeId pop() {
    const ir::NodeId id = queue_.front();
    queue_.pop_front();
    waiting_.erase(id);
    return id;
  }

 private:
  std::deque<ir::NodeId> queue_;
  std::set<ir::NodeId> waiting_;
};

class Rewriter {
 public:
  Rewriter(ir::Graph& graph, PassContext& context, const std::vector<const Rule*>& rules)
      : graph_(graph), context_(context), budget_(1000 + 100 * int64_t(graph.nodes().size())) {
    for (const Rule* rule : rules) {
      if (rule->level > context.level || context.disabled.contains(rule->name)) continue;
      for (const std::string_view root : rule->roots) rules_[std::string(root)].push_back(rule);
    }
  }

  // Types that follow from a rewrite further down are inferred between rounds; a round without a rewrite ends
  // it.
  bool run() {
    bool changed = false;
    while (round()) {
      graph_.infer_types();
      changed = true;
    }
    for (auto& [where, miss] : misses_) {
      if (graph_.contains(where.second)) context_.near_misses[where.first].push_back(std::move(miss));
    }
    return changed || erased_;
  }

 private:
  bool round() {
    bool changed = false;
    for (const ir::NodeId id : graph_.nodes()) worklist_.push(id);
    while (!worklist_.empty()) {
      const ir::NodeId id = worklist_.pop();
      if (!graph_.contains(id)) continue;
      if (erase_if_dead(graph_, id)) {
        erased_ = true;
        continue;
      }
      const auto it = rules_.find(graph_.node(id).op);
      if (it == rules_.end() || !is_plain(id)) continue;
      for (const Rule* rule : it->second) {
        if (!apply(*rule, id)) continue;
        changed = true;
        break;
      }
    }
    return changed;
  }

  // Rules look at shapes; where a rank is not known there is none to look at.
  bool is_plain(ir::NodeId id) const {
    const auto plain = [&](ir::Value value) { return !value || graph_.type(value).is_plain(); };
    const ir::Node& node = graph_.node(id);
    return std::all_of(node.inputs.begin(), node.inputs.end(), plain) &&
           std::all_of(node.outputs.begin(), node.outputs.end(), plain);
  }

  bool apply(const Rule& rule, ir::NodeId id) {
    const int32_t limit = graph_.node_limit();
    const ir::Node& node = graph_.node(id);
    const std::vector<ir::Value> inputs = node.inputs;
    std::string place = node.name.empty() ? graph_.name(node.outputs[0]) : node.name;
    RuleContext context{.level = context_.level, .in_body = context_.in_body};
    const bool applied =
        with_context(fmt::format("rule {}", rule.name), [&] { return rule.apply(graph_, id, context); });
    misses_.erase({rule.name, id});
    if (!applied) {
      if (!context.nearly.empty()) misses_[{rule.name, id}] = {std::move(place), std::move(context.nearly)};
      return false;
    }
    LATHE_CHECK(--budget_ > 0, "rule {} is applied without end", rule.name);
    ++context_.rewrites[rule.name];
    context_.places[rule.name].push_back(std::move(place));
    revisit(id);
    for (int32_t added = limit; added < graph_.node_limit(); ++added) revisit({added});
    for (const ir::Value input : inputs) {
      if (!input || !graph_.producer(input)) continue;
      revisit(graph_.producer(input));
      erase_if_dead(graph_, graph_.producer(input));
    }
    if (graph_.contains(id)) erase_if_dead(graph_, id);
    if (context_.check) check(rule);
    return true;
  }

  // The node, and those that read its results: a pattern may end there.
  void revisit(ir::NodeId id) {
    if (!graph_.contains(id)) return;
    worklist_.push(id);
    for (const ir::Value output : graph_.node(id).outputs) {
      if (!output) continue;
      for (const ir::NodeId user : graph_.users(output)) worklist_.push(user);
    }
  }

  void check(const Rule& rule) {
    with_context(fmt::format("rule {}", rule.name), [&] {
      graph_.infer_types();
      ir::verify(graph_);
      context_.check->accept(graph_, fmt::format("rule {}", rule.name), rule.tolerance);
    });
  }

  ir::Graph& graph_;
  PassContext& context_;
  std::map<std::string, std::vector<const Rule*>, std::less<>> rules_;  // by root
  std::map<std::pair<std::string, ir::NodeId>, NearMiss> misses_;  // by rule and node: of the last visit
  Worklist worklist_;
  bool erased_ = false;
  int64_t budget_;  // rewrites left before we call it a loop
};

}  // namespace

std::span<const Rule* const> all_rules() {
  static const std::array<const Rule*, kCount> rules = sorted_rules();
  return rules;
}

const Rule* find_rule(std::string_view name) {
  for (const Rule* rule : all_rules()) {
    if (rule->name == name) return rule;
  }
  for (const Rule* rule : lowering_rules()) {
    if (rule->name == name) return rule;
  }
  for (const ContribRule* rule : contrib_rules()) {
    if (rule->rule.name == name) return &rule->rule;
  }
  return nullptr;
}

Pass rewrite_pass(std::string name, std::vector<const Rule*> rules) {
  return {std::move(name), [rules = std::move(rules)](ir::Graph& graph, PassContext& context) {
            return Rewriter(graph, context, rules).run();
          }};
}

}  // namespace lathe::opt

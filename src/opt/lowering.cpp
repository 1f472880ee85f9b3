#include "opt/lowering.h"

#include <algorithm>

namespace lathe::opt {

#include "opt_lower_declarations.inc"

namespace {

using RuleFunction = const Rule& (*)();

constexpr RuleFunction kFunctions[] = {
#include "opt_lower_entries.inc"
};

// Those that turn single elementwise operators into programs come last: others look for the operators.
bool is_pointwise(const Rule* rule) {
  return rule->name.starts_with("pointwise");
}

}  // namespace

std::vector<const Rule*> lowering_rules() {
  std::vector<const Rule*> rules;
  for (const RuleFunction function : kFunctions) rules.push_back(&function());
  std::sort(rules.begin(), rules.end(), [](const Rule* a, const Rule* b) { return a->name < b->name; });
  return rules;
}

std::vector<Pass> lowering_passes() {
  std::vector<const Rule*> first, last;
  for (const Rule* rule : lowering_rules()) (is_pointwise(rule) ? last : first).push_back(rule);
  // Not linear_norm, linear_gate and linear_concat: they save passes over few rows, and hold up products of many.
  for (const std::string_view name : {"linear_activation", "linear_bias", "linear_residual"}) {
    first.push_back(find_rule(name));
  }
  return {
      rewrite_pass("lower", first),        //
      get_pass("constant_folding"),        //
      get_pass("common_subexpression"),    //
      rewrite_pass("pointwise", last),     //
      get_pass("dead_code"),               //
  };
}

}  // namespace lathe::opt

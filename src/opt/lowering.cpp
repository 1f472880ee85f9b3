#include "opt/lowering.h"

#include <algorithm>
#include <map>

namespace lathe::opt {

#include "opt_lower_declarations.inc"

namespace {

using RuleFunction = const Rule& (*)();

constexpr RuleFunction kFunctions[] = {
#include "opt_lower_entries.inc"
};

// Those of quantised operators come first: they look for DequantizeLinear of constants, which others compute. Those
// that turn single elementwise operators into programs come last, and then what takes whole programs: others look for
// the operators.
enum class Phase { quantised, operators, pointwise, programs };

Phase phase_of(const Rule* rule) {
  if (rule->name.starts_with("q_")) return Phase::quantised;
  if (rule->name.starts_with("program_")) return Phase::programs;
  return rule->name.starts_with("pointwise") ? Phase::pointwise : Phase::operators;
}

}  // namespace

std::vector<const Rule*> lowering_rules() {
  std::vector<const Rule*> rules;
  for (const RuleFunction function : kFunctions) rules.push_back(&function());
  std::sort(rules.begin(), rules.end(), [](const Rule* a, const Rule* b) { return a->name < b->name; });
  return rules;
}

std::vector<Pass> quantising_passes() {
  std::vector<const Rule*> rules;
  for (const Rule* rule : lowering_rules()) {
    if (phase_of(rule) == Phase::quantised) rules.push_back(rule);
  }
  return {get_pass("constant_folding"), rewrite_pass("quantised", rules), get_pass("dead_code")};
}

std::vector<Pass> lowering_passes() {
  std::map<Phase, std::vector<const Rule*>> phases;
  for (const Rule* rule : lowering_rules()) phases[phase_of(rule)].push_back(rule);
  // Not linear_norm, linear_gate and linear_concat: they save passes over few rows, and hold up products of many.
  for (const std::string_view name : {"linear_activation", "linear_bias", "linear_residual"}) {
    phases[Phase::operators].push_back(find_rule(name));
  }
  return {
      rewrite_pass("quantised", phases[Phase::quantised]),  //
      get_pass("dead_code"),                                // weights that nobody dequantises any more
      rewrite_pass("lower", phases[Phase::operators]),      //
      get_pass("constant_folding"),                         //
      get_pass("common_subexpression"),                     //
      rewrite_pass("pointwise", phases[Phase::pointwise]),  //
      rewrite_pass("programs", phases[Phase::programs]),    //
      get_pass("dead_code"),                                //
  };
}

}  // namespace lathe::opt

#include "opt/pass_manager.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/error.h"
#include "opt/numeric_check.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

using Clock = std::chrono::steady_clock;

void check_names(std::span<const Pass> passes, const PassOptions& options) {
  for (const std::string& name : options.disabled) {
    const bool here =
        std::any_of(passes.begin(), passes.end(), [&](const Pass& p) { return p.name == name; });
    if (here || find_pass(name) || find_rule(name)) continue;
    fail(ErrorCode::usage, "no pass or rule is called \"{}\"", name);
  }
}

PassReport run_pass(ir::Graph& graph, const Pass& pass, const PassOptions& options, NumericCheck* check) {
  PassContext context{options.level, options.disabled, check, {}};
  context.in_body = options.in_body;
  PassReport report{.name = pass.name, .nodes_before = int64_t(graph.nodes().size()), .rewrites = {}};
  const auto start = Clock::now();
  report.changed = pass.run(graph, context);
  report.ms = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  report.nodes_after = int64_t(graph.nodes().size());
  report.rewrites = std::move(context.rewrites);
  report.places = std::move(context.places);
  report.near_misses = std::move(context.near_misses);
  if (!report.changed) return report;
  graph.infer_types();
  ir::verify(graph);
  if (check) check->accept(graph, fmt::format("pass {}", pass.name), pass.tolerance);
  return report;
}

}  // namespace

std::vector<PassReport> run_passes(ir::Graph& graph, std::span<const Pass> passes,
                                   const PassOptions& options) {
  check_names(passes, options);
  std::optional<NumericCheck> check;
  if (options.checked) check.emplace(graph, options.check_inputs);
  if (options.dump) options.dump("00_start", ir::print(graph));
  std::vector<PassReport> reports;
  for (const Pass& pass : passes) {
    if (options.disabled.contains(pass.name)) continue;
    reports.push_back(with_context(fmt::format("pass {}", pass.name), [&] {
      return run_pass(graph, pass, options, check ? &*check : nullptr);
    }));
    if (!options.dump || !reports.back().changed) continue;
    options.dump(fmt::format("{:02}_{}", reports.size(), pass.name), ir::print(graph));
  }
  return reports;
}

}  // namespace lathe::opt

#include "verify/verify_graph.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/device.h"
#include "backend/graph_load.h"
#include "base/error.h"
#include "base/memory.h"
#include "compiler/graph_build.h"
#include "op/bindings.h"
#include "verify/bands.h"
#include "verify/forced_values.h"
#include "verify/graph_interface.h"
#include "verify/kernel_reference.h"
#include "verify/precision_cost.h"

namespace lathe::verify {
namespace {

constexpr std::string_view kUnit = "of the tensor's largest";

double storable(double value) {
  return std::isfinite(value) ? value : std::numeric_limits<double>::max();
}

// The instruction sets of this machine that run the model.
std::vector<std::string> isas_here(const plan::GraphModel& model) {
  std::vector<std::string> isas;
  int number = 0;
  for (const backend::Capability& capability : backend::get_device(model.plan.device).capabilities()) {
    if (capability.found && number >= backend::least_isa(model)) isas.push_back(capability.isa);
    ++number;
  }
  return isas;
}

std::shared_ptr<runtime::GraphSession> make_session(std::shared_ptr<const plan::GraphModel> model,
                                                    const GraphVerifyOptions& options, const std::string& isa) {
  const runtime::GraphOptions session{.threads = options.threads, .isa = isa, .limits = options.limits};
  return std::make_shared<runtime::GraphSession>(std::move(model), session);
}

// A run that keeps what it gave last, and goes to its end for that.
struct Recorded {
  GraphRun run;
  std::shared_ptr<std::optional<GraphData>> last = std::make_shared<std::optional<GraphData>>();
};
Recorded recorded(GraphRun plain) {
  Recorded result;
  const std::string what = plain.what;
  result.run = {what, [plain = std::move(plain), last = result.last](const GraphData& inputs, const Observe& observe) {
                  bool wanted = true;
                  Observe whole;
                  if (observe) {
                    whole = [&](const std::string& name, const tensor::Tensor& value) {
                      if (wanted) wanted = observe(name, value);
                      return true;
                    };
                  }
                  *last = plain.call(inputs, whole);
                  return **last;
                }};
  return result;
}

const GraphData& outputs_of(const Recorded& recorded, const GraphData& inputs) {
  if (!*recorded.last) recorded.run.call(inputs, {});
  return **recorded.last;
}

ValueOrigin origin_in(const ir::Graph& graph, const std::string& name) {
  const auto value = graph.find(name);
  const ir::NodeId id = value ? graph.producer(*value) : ir::NodeId{};
  if (!id) return {};
  const ir::Node& node = graph.node(id);
  return {.node = node.name.empty() ? graph.name(node.outputs[0]) : node.name, .op = node.op, .kernel = {}};
}

ValueOrigin origin_in(runtime::GraphSession& session, const std::string& name, const GraphData& inputs) {
  for (const runtime::InstructionTime& step : session.profile(inputs)) {
    if (std::find(step.outputs.begin(), step.outputs.end(), name) == step.outputs.end()) continue;
    return {.node = step.name, .op = step.op, .kernel = step.kernel};
  }
  return {};
}

// The report while runs add to it.
class Verification {
 public:
  Verification(const GraphVerifyOptions& options, std::string_view precision) : options_(options) {
    report_.precision = precision;
    report_.bound = options.tolerance.value_or(tensor_bound(band_of(precision)));
  }

  // The bound of another precision than the graph's; `forced`: each value is computed from the reference's
  // (forced_values.h).
  void set_band(std::string_view precision, bool forced) {
    report_.forced = forced;
    report_.bound = options_.tolerance.value_or(tensor_bound(band_of(precision)));
  }
  bool forced() const { return report_.forced; }

  GraphReport& report() { return report_; }
  double bound() const { return report_.bound; }

  // How many runs these types ask for: one where nothing is made up.
  int count_runs(const std::map<std::string, op::TypeInfo>& types) const {
    const bool all_given = std::all_of(types.begin(), types.end(), [&](const auto& entry) {
      return options_.inputs.contains(entry.first) || op::is_optional(entry.second);
    });
    return all_given ? 1 : std::max(1, options_.seeds);
  }

  void begin_run(const GraphData& inputs) {
    if (report_.runs++ > 0) return;
    for (const auto& [name, datum] : inputs) {
      const bool given = options_.inputs.contains(name);
      report_.inputs.push_back(fmt::format("{}: {}, {}", name, op::describe(datum), given ? "given" : "made up"));
    }
  }

  // Outputs of one run; true if all are within the bound.
  bool compare_outputs(const ir::Graph& graph, const GraphData& expected, const GraphData& found) {
    bool same = true;
    for (size_t i = 0; i < graph.outputs().size(); ++i) {
      const std::string& name = graph.name(graph.outputs()[i]);
      TensorError error = error_of(expected.at(name), found.at(name));
      // Left to itself a run that quantises ends anywhere near; but it ends.
      const bool pass = forced() ? error.form.empty() && std::isfinite(error.max_abs) : error.within(bound());
      same &= pass;
      not_finite_ += error.not_finite;
      if (error.not_finite > 0 && not_finite_in_.empty()) not_finite_in_ = name;
      if (report_.outputs.size() <= i) report_.outputs.push_back({name, op::describe(expected.at(name)), error, pass});
      OutputError& output = report_.outputs[i];
      if (error.relative() > output.error.relative() || (output.pass && !pass)) output.error = std::move(error);
      output.pass &= pass;
    }
    return same;
  }

  // Gate 1. What the reference gives is what is asked: where only the compiled graph is not finite, gate 2 fails.
  void add_finite_gate() {
    std::string note = fmt::format("{} runs", report_.runs);
    if (not_finite_ > 0) {
      note = fmt::format(
          "first in output \"{}\"; if that is meant: --allow-nonfinite; if only made-up inputs do it: give real "
          "ones with --input",
          not_finite_in_);
    }
    report_.gates.push_back(
        {"1 no NaN or infinity in an output", double(not_finite_), 0, not_finite_ == 0, "elements", note});
  }

  GraphReport finish() {
    report_.pass = std::all_of(report_.gates.begin(), report_.gates.end(), [](const auto& gate) { return gate.pass; });
    return std::move(report_);
  }

 private:
  const GraphVerifyOptions& options_;
  GraphReport report_;
  int64_t not_finite_ = 0;  // elements of expected outputs
  std::string not_finite_in_;
};

void add_output_gates(GraphReport& report) {
  for (const OutputError& output : report.outputs) {
    const TensorError& error = output.error;
    const bool exact = error.exact;
    report.gates.push_back({.name = fmt::format("output {}", output.name),
                            .value = error.form.empty() ? storable(exact ? double(error.differing) : error.relative())
                                                        : std::numeric_limits<double>::max(),
                            .bound = exact ? 0 : report.bound,
                            .pass = output.pass,
                            .unit = exact ? "elements" : std::string(kUnit),
                            .note = error.form.empty() ? output.type : error.form});
  }
}

// One instruction set of the machine, for a graph against its reference.
struct Subject {
  std::string isa;
  std::shared_ptr<runtime::GraphSession> session;
  Recorded run;
  ValueComparison total;
  bool outputs_same = true;
};

void add_value_gate(GraphReport& report, const Subject& subject) {
  const ValueComparison& total = subject.total;
  const bool pass = !total.first && subject.outputs_same;
  std::string note = fmt::format("{} values", total.compared);
  if (!total.worst_name.empty()) note += fmt::format(", most in \"{}\"", total.worst_name);
  if (total.first) note += fmt::format(", first beyond it \"{}\"", total.first->name);
  if (!subject.outputs_same && !total.first) note += "; an output differs";
  if (report.forced) note += ", each from the reference's inputs";
  const bool form = total.first && !total.first->error.form.empty();
  report.gates.push_back({.name = fmt::format("2 compiled ({}) against reference", subject.isa),
                          .value = form ? std::numeric_limits<double>::max() : storable(total.worst),
                          .bound = report.bound,
                          .pass = pass,
                          .unit = std::string(kUnit),
                          .note = std::move(note)});
}

// Values that are kept for comparison at a time: what is left of memory is for the reference executor.
size_t kept_bytes() {
  constexpr uint64_t kMost = uint64_t{1} << 30;
  return size_t(std::min(kMost, available_memory_bytes() / 4));
}

std::vector<ValueComparison> compare_subjects(const Verification& verification, const std::vector<Subject>& subjects,
                                              const Recorded& reference, const ir::Graph& graph,
                                              const GraphData& inputs) {
  const auto names = result_names(graph);
  const double bound = verification.bound();
  if (verification.forced()) {
    std::vector<std::shared_ptr<runtime::GraphSession>> sessions;
    for (const Subject& subject : subjects) sessions.push_back(subject.session);
    return compare_forced(reference.run, sessions, inputs, names,
                          {.bound = bound, .step_share = step_share_of(bound), .memory_bytes = kept_bytes()});
  }
  std::vector<GraphRun> runs;
  for (const Subject& subject : subjects) runs.push_back(subject.run.run);
  return compare_values(reference.run, runs, inputs, names, {.bound = bound, .memory_bytes = kept_bytes()});
}

// One run of all subjects; false when one of them differs.
bool run_subjects(Verification& verification, std::vector<Subject>& subjects, const Recorded& reference,
                  const ir::Graph& graph, const GraphData& inputs) {
  const auto results = compare_subjects(verification, subjects, reference, graph, inputs);
  bool same = true;
  for (size_t i = 0; i < subjects.size(); ++i) {
    Subject& subject = subjects[i];
    subject.outputs_same &= verification.compare_outputs(graph, outputs_of(reference, inputs),
                                                         outputs_of(subject.run, inputs));
    subject.total.compared = std::max(subject.total.compared, results[i].compared);
    if (results[i].worst > subject.total.worst) {
      subject.total.worst = results[i].worst;
      subject.total.worst_name = results[i].worst_name;
    }
    same &= !results[i].first && subject.outputs_same;
    if (!results[i].first) continue;
    subject.total.first = results[i].first;
    auto& first = verification.report().first_difference;
    if (first) continue;
    const std::string& name = results[i].first->name;
    first = FirstDifference{.tensor = name,
                            .error = results[i].first->error,
                            .run = subject.run.run.what,
                            .expected = origin_in(graph, name),
                            .found = origin_in(*subject.session, name, inputs)};
  }
  return same;
}

}  // namespace

GraphReport verify_graph(const ir::Graph& graph, const GraphVerifyOptions& options) {
  check_repeatable(graph);
  compiler::GraphBuildOptions build;
  build.precision = options.precision;
  return verify_graph(graph, compiler::build_graph(graph, build), options);
}

GraphReport verify_graph(const ir::Graph& original, std::shared_ptr<const plan::GraphModel> model,
                         const GraphVerifyOptions& options) {
  check_repeatable(original);
  const KernelReference kernels = kernel_reference(original, *model);
  const ir::Graph& graph = kernels.graph;
  Verification verification(options, kernels.precision);
  if (kernels.rounded || kernels.forced) verification.set_band(kernels.band, kernels.forced);
  const auto types = opt::fixed_input_types(graph, options.lengths);
  std::vector<Subject> subjects;
  for (const std::string& isa : options.isa.empty() ? isas_here(*model) : std::vector<std::string>{options.isa}) {
    const auto session = make_session(model, options, isa);
    subjects.push_back({isa, session, recorded(session_run("compiled, " + isa, session)), {}});
  }
  const Recorded reference = recorded(reference_run(graph, options.limits));
  const int runs = verification.count_runs(types);
  std::optional<PrecisionCost> cost;
  if (kernels.rounded) cost.emplace(original, kernels.precision, options);
  for (int run = 0; run < runs; ++run) {
    options.progress({"verify", uint64_t(run), uint64_t(runs)});
    const GraphData inputs = make_graph_inputs(types, options.inputs, run);
    verification.begin_run(inputs);
    reference.last->reset();
    for (const Subject& subject : subjects) subject.run.last->reset();
    if (!run_subjects(verification, subjects, reference, graph, inputs)) break;
    if (cost) cost->add(inputs, outputs_of(subjects.back().run, inputs));
  }
  GraphReport& report = verification.report();
  if (options.require_finite) verification.add_finite_gate();
  for (const Subject& subject : subjects) add_value_gate(report, subject);
  if (cost) report.gates.push_back(cost->gate());
  report.expected = "the reference executor";
  std::vector<std::string> isas;
  for (const Subject& subject : subjects) isas.push_back(subject.isa);
  report.found = fmt::format("compiled, {}", fmt::join(isas, " and "));
  return verification.finish();
}

GraphReport compare_graphs(const ir::Graph& a, const ir::Graph& b, const GraphVerifyOptions& options) {
  check_interfaces(a, b);
  check_repeatable(a);
  check_repeatable(b);
  const std::string_view pa = graph_precision(a), pb = graph_precision(b);
  Verification verification(options, tensor_bound(band_of(pa)) >= tensor_bound(band_of(pb)) ? pa : pb);
  const auto types = opt::fixed_input_types(a, joint_lengths(a, b, options.lengths));
  const auto make_run = [&](const ir::Graph& graph) {
    if (options.reference) return reference_run(graph, options.limits);
    return session_run("compiled node by node",
                       make_session(compiler::build_node_by_node(graph), options, options.isa));
  };
  const GraphRun run_a = make_run(a), run_b = make_run(b);
  GraphReport& report = verification.report();
  report.expected = "A, " + run_a.what;
  report.found = "B, " + run_b.what;
  const int runs = verification.count_runs(types);
  for (int run = 0; run < runs; ++run) {
    options.progress({"verify", uint64_t(run), uint64_t(runs)});
    const GraphData inputs = rounded_for(a, b, make_graph_inputs(types, options.inputs, run));
    verification.begin_run(inputs);
    const GraphRun for_b = {run_b.what, [&](const GraphData& given, const Observe& observe) {
                              return run_b.call(inputs_for(b, given), observe);
                            }};
    const GraphData expected = with_context("A", [&] { return run_a.call(inputs, {}); });
    const GraphData found = with_context("B", [&] { return for_b.call(inputs, {}); });
    if (verification.compare_outputs(a, expected, found)) continue;
    const auto values = compare_values(run_a, std::span(&for_b, 1), inputs, result_names(a), {.bound = report.bound});
    if (!values[0].first) break;
    const std::string& name = values[0].first->name;
    report.first_difference = FirstDifference{.tensor = name,
                                              .error = values[0].first->error,
                                              .run = run_b.what,
                                              .expected = origin_in(a, name),
                                              .found = origin_in(b, name)};
    break;
  }
  add_output_gates(report);
  return verification.finish();
}

}  // namespace lathe::verify

#include "verify/verify_graph_engine.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/device.h"
#include "backend/graph_load.h"
#include "base/error.h"
#include "compiler/graph_engine.h"
#include "op/bindings.h"
#include "verify/bands.h"
#include "verify/forced_values.h"
#include "verify/kernel_reference.h"
#include "verify/profile_points.h"

namespace lathe::verify {
namespace {

using plan::EngineFile;
using plan::EngineGraph;
using plan::Gate;
using plan::Receipt;

double storable(double value) {
  return std::isfinite(value) ? value : std::numeric_limits<double>::max();
}

plan::Difference difference_of(const FirstDifference& first) {
  const std::string& node = first.found.node.empty() ? first.expected.node : first.found.node;
  return {node,
          first.tensor,
          first.error.index,
          storable(first.error.max_abs),
          storable(first.error.expected),
          storable(first.error.found)};
}

class Verifier {
 public:
  Verifier(const std::filesystem::path& path, const GraphEngineVerifyOptions& options)
      : engine_(EngineFile::open(path)), options_(options) {
    plan::require_kind(*engine_, true);
  }

  Receipt run() {
    receipt_.engine_hash = engine_->hash();
    receipt_.flags = plan::VerifyFlags{};
    receipt_.flags->full = options_.full;
    receipt_.flags->isa = options_.runs.isa;
    receipt_.flags->threads = options_.runs.threads;
    check_names();
    if (gate_structure()) {
      for (const EngineGraph& graph : engine_->manifest().graphs) verify(graph);
    }
    receipt_.pass = all_pass();
    if (receipt_.pass && options_.together) {
      const bool all_given = options_.sources.size() == engine_->manifest().graphs.size();
      for (Gate& gate : options_.together()) {
        receipt_.gates.push_back(all_given ? std::move(gate) : of_kept_weights(std::move(gate)));
      }
      receipt_.pass = all_pass();
    }
    return std::move(receipt_);
  }

 private:
  bool all_pass() const {
    return std::all_of(receipt_.gates.begin(), receipt_.gates.end(), [](const Gate& gate) { return gate.pass; });
  }
  bool alone() const { return engine_->manifest().graphs.size() == 1; }

  bool gate_structure() {
    const std::string name = "0 structure and checksums";
    try {
      engine_->check_weights();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::verification) throw;
      receipt_.gates.push_back({name, 1, 0, false, "", error.what()});
      return false;
    }
    receipt_.gates.push_back(
        {name, 0, 0, true, "", fmt::format("{} bytes of weights", engine_->manifest().weight_bytes)});
    return true;
  }

  // Inputs and lengths that were given must belong to some graph.
  void check_names() const {
    const auto known = [&](const auto& has) {
      const auto& graphs = engine_->manifest().graphs;
      return std::any_of(graphs.begin(), graphs.end(), [&](const EngineGraph& graph) { return has(inputs_of(graph)); });
    };
    for (const auto& [name, dims] : options_.runs.lengths) {
      if (known([&](const auto& inputs) { return has_length(inputs, name); })) continue;
      fail(ErrorCode::usage, "no graph of the engine has a length \"{}\"", name);
    }
    for (const auto& [name, datum] : options_.runs.inputs) {
      if (known([&](const auto& inputs) { return inputs.contains(name); })) continue;
      fail(ErrorCode::invalid_input, "the engine has no input \"{}\"", name);
    }
  }

  static std::map<std::string, op::TypeInfo> inputs_of(const EngineGraph& graph) {
    std::map<std::string, op::TypeInfo> inputs;
    const plan::GraphPlan& plan = graph.model->plan;
    for (const int64_t index : plan.inputs)
      inputs.emplace(plan.values[size_t(index)].name, plan.values[size_t(index)].type);
    return inputs;
  }

  void verify(const EngineGraph& entry) {
    const auto source = options_.sources.find(entry.name);
    std::optional<ir::Graph> stored;
    if (source == options_.sources.end()) stored = compiler::stored_graph(engine_, entry);
    const ir::Graph& graph = stored ? *stored : *source->second;
    const auto model = backend::load_graph(*engine_, entry);
    GraphVerifyOptions runs = options_.runs;
    runs.require_finite = !entry.allow_nonfinite;
    const auto inputs = inputs_of(entry);
    std::erase_if(runs.inputs, [&](const auto& input) { return !inputs.contains(input.first); });
    std::erase_if(runs.lengths, [&](const auto& length) { return !has_length(inputs, length.first); });
    if (!entry.profile.empty() && runs.inputs.empty() && runs.lengths.empty()) {
      runs.lengths = profile_lengths(entry.profile, "opt");
    }
    const GraphReport report = verify_graph(graph, model, runs);
    add(entry, report);
    if (entry.precision != contract::Precision::fp32) add_islands(entry);
    if (report.pass && !entry.profile.empty()) gate_profile(entry, graph, model);
    receipt_.device = model->plan.device;
    if (receipt_.precision.empty() || report.precision == kQuantising) receipt_.precision = report.precision;
    if (receipt_.isa.empty())
      receipt_.isa = report.found.substr(report.found.find(", ") + 2);  // "compiled, avx2 and avx512"
  }

  void add(const EngineGraph& graph, const GraphReport& report) {
    for (Gate gate : report.gates) {
      if (!options_.sources.contains(graph.name)) gate = of_kept_weights(std::move(gate));
      if (!alone()) gate.name = fmt::format("{} ({})", gate.name, graph.name);
      receipt_.gates.push_back(std::move(gate));
    }
    if (report.first_difference && !receipt_.first_difference) {
      receipt_.first_difference = difference_of(*report.first_difference);
    }
  }

  // An engine alone does not know what its weights were before they were rounded.
  static Gate of_kept_weights(Gate gate) {
    if (gate.unit == "dB") gate.note += "; fp32 on the weights as the engine keeps them";
    return gate;
  }

  // What stayed in f32, with the reasons.
  void add_islands(const EngineGraph& entry) {
    const std::string note = fmt::format("{}", fmt::join(plan::describe(entry.islands), "; "));
    receipt_.gates.push_back(
        {.name = fmt::format("3 products that stay in fp32{}", alone() ? "" : " (" + entry.name + ")"),
         .value = double(entry.islands.size()),
         .bound = double(std::max<size_t>(1, entry.model->plan.instructions.size())),
         .pass = true,
         .unit = "instructions",
         .note = note.empty() ? "none" : note});
  }

  // Outputs at the corners of the profile and inside of it, and the memory that its largest lengths take.
  void gate_profile(const EngineGraph& entry, const ir::Graph& graph,
                    const std::shared_ptr<const plan::GraphModel>& model) {
    const KernelReference kernels = kernel_reference(graph, *model);
    const double bound = options_.runs.tolerance.value_or(tensor_bound(band_of(kernels.band)));
    const auto session = std::make_shared<runtime::GraphSession>(
        model, runtime::GraphOptions{
                   .threads = options_.runs.threads, .isa = options_.runs.isa, .limits = options_.runs.limits});
    const GraphRun found = session_run("compiled", session);
    const GraphRun expected = reference_run(kernels.graph, options_.runs.limits);
    const auto points = profile_points(graph, entry.profile, options_.full ? 4 : 2, options_.full ? 8 : 2);
    Gate gate{fmt::format("6 corners and inside of the profile{}", alone() ? "" : " (" + entry.name + ")"),
              0,
              bound,
              true,
              "of the tensor's largest",
              ""};
    std::string worst;
    for (size_t i = 0; i < points.size() && gate.pass; ++i) {
      options_.runs.progress({"profile", uint64_t(i), uint64_t(points.size())});
      with_context(points[i].what, [&] {
        const GraphData inputs = make_graph_inputs(points[i].types, {}, int(i));
        if (kernels.forced) {
          const auto result = compare_forced(expected, std::span(&session, 1), inputs, result_names(kernels.graph),
                                             {.bound = bound, .step_share = step_share_of(bound)})[0];
          gate.pass &= !result.first;
          if (result.worst < gate.value && !result.first) return;
          gate.value = std::max(gate.value, storable(result.worst));
          worst = fmt::format("most in \"{}\" at {}", result.first ? result.first->name : result.worst_name,
                              points[i].what);
          return;
        }
        const GraphData wanted = expected.call(inputs, {});
        for (const auto& [name, datum] : found.call(inputs, {})) {
          const TensorError error = error_of(wanted.at(name), datum);
          const double relative =
              storable(error.form.empty() ? error.relative() : std::numeric_limits<double>::infinity());
          gate.pass &= error.within(bound);
          if (relative < gate.value || (relative == 0 && !worst.empty())) continue;
          gate.value = relative;
          worst = fmt::format("most in \"{}\" at {}", name, points[i].what);
        }
      });
    }
    gate.note = fmt::format("{} places, {}", points.size(), worst);
    receipt_.gates.push_back(std::move(gate));
  }

  std::shared_ptr<const EngineFile> engine_;
  const GraphEngineVerifyOptions& options_;
  Receipt receipt_;
};

}  // namespace

Receipt verify_graph_engine(const std::filesystem::path& path, const GraphEngineVerifyOptions& options) {
  return Verifier(path, options).run();
}

}  // namespace lathe::verify

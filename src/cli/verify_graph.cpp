#include "cli/verify_graph.h"

#include <cmath>
#include <limits>

#include "base/fields.h"
#include "cli/calibrate_graphs.h"
#include "cli/graph_lengths.h"
#include "cli/graph_source.h"
#include "cli/picture_model.h"
#include "cli/run_graph.h"
#include "compiler/graph_build.h"
#include "compiler/graph_engine.h"
#include "opt/quantize.h"
#include "verify/verify.h"
#include "verify/verify_graph_engine.h"

namespace lathe::cli {
namespace {

using verify::GraphReport;
using verify::TensorError;

constexpr int kSeeds = 3;  // of two graphs

double storable(double value) {
  return std::isfinite(value) ? value : std::numeric_limits<double>::max();
}

Json error_json(const TensorError& error) {
  return {{"form", error.form},
          {"max_abs", storable(error.max_abs)},
          {"largest", error.scale},
          {"relative", storable(error.relative())},
          {"differing", error.differing},
          {"not_finite", error.not_finite},
          {"elements", error.size}};
}

Json origin_json(const verify::ValueOrigin& origin) {
  return {{"node", origin.node}, {"op", origin.op}, {"kernel", origin.kernel}};
}

Json difference_json(const verify::FirstDifference& first) {
  Json json = error_json(first.error);
  const std::string& node = first.found.node.empty() ? first.expected.node : first.found.node;
  json.update({{"node", node},
               {"tensor", first.tensor},
               {"index", first.error.index},
               {"expected", storable(first.error.expected)},
               {"found", storable(first.error.found)},
               {"run", first.run},
               {"expected_from", origin_json(first.expected)},
               {"found_in", origin_json(first.found)}});
  return json;
}

Json report_json(const GraphReport& report) {
  Json json = {{"pass", report.pass},     {"precision", report.precision}, {"bound", report.bound},
               {"runs", report.runs},     {"expected", report.expected},   {"found", report.found},
               {"inputs", report.inputs}, {"gates", Json::array()},        {"outputs", Json::array()}};
  for (const plan::Gate& gate : report.gates) json["gates"].push_back(to_json(gate));
  for (const verify::OutputError& output : report.outputs) {
    Json entry = error_json(output.error);
    entry.update({{"name", output.name}, {"type", output.type}, {"pass", output.pass}});
    json["outputs"].push_back(std::move(entry));
  }
  json["first_difference"] = report.first_difference ? difference_json(*report.first_difference) : Json();
  return json;
}

}  // namespace

void add_graph_verify_flags(CLI::App& command, GraphVerifyFlags& flags) {
  command.add_option("--input", flags.inputs, "of a graph: NAME=FILE, a .npy or .pb file; others are made up");
  command.add_option("--shape", flags.shapes,
                     "of a graph: NAME=1x3x224x224 or SYMBOL=8, lengths of inputs that are made up");
  command
      .add_option("--seeds", flags.seeds,
                  "of graphs: runs on made-up inputs of their own (default: 1 for one model, 3 for two)")
      ->check(CLI::Range(1, 1000));
  command
      .add_option("--tolerance", flags.tolerance,
                  "of graphs: share of a tensor's largest by which it may differ (default: 1e-4, fp16 1e-3, "
                  "bf16 3.2e-3, 8 bits 7.1e-3)")
      ->check(CLI::NonNegativeNumber);
  command.add_flag("--reference", flags.reference,
                   "of two graphs: run both on the slow reference executor, not compiled node by node");
}

verify::GraphVerifyOptions graph_verify_options(const GraphVerifyFlags& flags, int threads, const std::string& isa,
                                                const Output& output) {
  verify::GraphVerifyOptions options;
  options.inputs = read_graph_inputs(flags.inputs);
  options.lengths = read_lengths("--shape", flags.shapes);
  options.seeds = flags.seeds != 0 ? flags.seeds : 1;
  options.tolerance = flags.tolerance;
  options.reference = flags.reference;
  options.precision = compiler::graph_precision(flags.precision);
  options.threads = threads;
  options.isa = isa;
  options.progress = output.progress(ProgressUnit::steps);
  return options;
}

Exit verify_graph_engine(const std::string& engine, const GraphVerifyFlags& flags, int threads, const std::string& isa,
                         bool full, bool write, const Output& output) {
  if (flags.reference) fail(ErrorCode::usage, "--reference is for two models");
  GraphVerifyFlags reduced = flags;
  const auto opened = plan::EngineFile::open(engine);
  precision_of_graphs(flags.precision, opened.get());
  if (flags.shapes.empty()) reduced.shapes = reduced_lengths(*opened);
  verify::GraphEngineVerifyOptions options;
  options.runs = graph_verify_options(reduced, threads, isa, output);
  options.full = full;
  if (opened->manifest().graphs.at(0).precision != contract::Precision::fp32) {
    const auto graph_of = [&](const std::string& name) {
      const plan::EngineGraph& entry = plan::get_graph(opened->manifest().graphs, name);
      ir::Graph graph = compiler::stored_graph(opened, entry);
      if (entry.precision == contract::Precision::int8) opt::remove_rounding(graph);
      return graph;
    };
    options.together = [&, graph_of] { return gates_of_pictures(engine, graph_of, {}, options); };
  }
  plan::Receipt receipt = verify::verify_graph_engine(engine, options);
  output.end_progress();
  if (write && !verify::store_receipt(engine, receipt)) {
    output.note(fmt::format("\"{}\" keeps the receipt it had: verification failed", engine));
  }
  output.print(verify::describe(receipt));
  output.result(to_json(receipt));
  return receipt.pass ? Exit::good : Exit::failed;
}

Exit verify_graphs(const std::string& a, const std::string& b, const GraphVerifyFlags& flags, int threads,
                   const std::string& isa, const Output& output) {
  if (flags.reference && b.empty()) {
    fail(ErrorCode::usage, "--reference is for two models: one is held against the reference executor in any case");
  }
  if (!flags.precision.empty() && !b.empty()) fail(ErrorCode::usage, "--precision is for one model");
  verify::GraphVerifyOptions options = graph_verify_options(flags, threads, isa, output);
  refuse_int8(options.precision, a);
  options.seeds = flags.seeds != 0 ? flags.seeds : b.empty() ? 1 : kSeeds;
  const auto import = [](const std::string& path) {
    return with_context(path, [&] { return GraphSource::open(path).graph(); });
  };
  const ir::Graph graph = import(a);
  const GraphReport report =
      b.empty() ? verify::verify_graph(graph, options) : verify::compare_graphs(graph, import(b), options);
  output.end_progress();
  output.print(verify::describe(report));
  output.result(report_json(report));
  return report.pass ? Exit::good : Exit::failed;
}

}  // namespace lathe::cli

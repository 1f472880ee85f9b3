// lathe optimize: ONNX to ONNX, fewer operations, same results.
#include <algorithm>

#include "base/fields.h"
#include "cli/graph_lengths.h"
#include "cli/model.h"
#include "cli/pass_flags.h"
#include "cli/verb.h"
#include "frontend/lowering.h"
#include "frontend/onnx_export.h"
#include "frontend/onnx_import.h"
#include "io/onnx_write.h"
#include "opt/extract.h"
#include "opt/fix_lengths.h"
#include "opt/pipeline.h"

namespace lathe::cli {
namespace {

constexpr size_t kShownPlaces = 3;  // of a rule; --json has all

struct Options {
  std::string source;
  std::string destination;
  int level = 1;
  bool report = false;
  int opset = 0;
  std::vector<std::string> extract_inputs;
  std::vector<std::string> extract_outputs;
  std::vector<std::string> statics;  // NAME=1x3x224x224, SYMBOL=8
  PassFlags passes;
};

void check_level(int level) {
  if (level < 0 || level > 4) fail(ErrorCode::usage, "-O{}: expected -O0 to -O4", level);
  if (level > 2) fail(ErrorCode::unsupported, "-O{}: only -O1 and -O2 exist so far", level);
}

std::string names_of(const ir::Graph& graph, std::span<const ir::Value> values) {
  std::vector<std::string> names;
  for (const ir::Value value : values) {
    names.push_back(fmt::format("{} {}", graph.name(value), op::to_string(graph.type(value))));
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

// The part that is asked for, with the lengths that are.
void cut_and_fix(ir::Graph& graph, const Options& options, const Output& output) {
  const opt::Lengths lengths = read_lengths("--static", options.statics);
  if (!options.extract_inputs.empty() || !options.extract_outputs.empty()) {
    graph = opt::extract(graph, options.extract_inputs, options.extract_outputs);
    output.note(fmt::format("extracted {} nodes: from {} to {}", graph.nodes().size(), names_of(graph, graph.inputs()),
                            names_of(graph, graph.outputs())));
  }
  opt::fix_lengths(graph, lengths);
}

// Pass by pass what it took and left, and below it what its rules did and where.
void print_report(const std::vector<opt::PassReport>& reports, const Output& output) {
  output.print(fmt::format("{:<28} {:>9} {:>8} {:>8}", "pass", "ms", "nodes", "after"));
  for (const opt::PassReport& report : reports) {
    output.print(fmt::format("{:<28} {:>9.2f} {:>8} {:>8}{}", report.name, report.ms, report.nodes_before,
                             report.nodes_after, report.changed ? "" : "  nothing to do"));
    for (const auto& [rule, count] : report.rewrites) {
      const std::vector<std::string>& places = report.places.at(rule);
      const size_t shown = std::min(places.size(), kShownPlaces);
      const std::vector<std::string> first(places.begin(), places.begin() + std::ptrdiff_t(shown));
      output.print(fmt::format("  {:<26} {:>6} x  {}{}", rule, count, fmt::join(first, ", "),
                               places.size() > shown ? fmt::format(" and {} more", places.size() - shown) : ""));
    }
  }
}

Exit run(const Options& options, Output& output) {
  check_level(options.level);
  const auto file = io::OnnxFile::open(options.source);
  ir::Graph graph = frontend::import_onnx(file);
  cut_and_fix(graph, options, output);
  opt::PassOptions passes = pass_options(options.passes);
  passes.level = opt::Level(options.level);
  const size_t before = graph.nodes().size();
  const auto reports = opt::optimise(graph, passes);
  frontend::OnnxExportOptions onnx;
  for (const io::OnnxOpset& opset : file->model().opsets) {
    if (opset.domain.empty() || opset.domain == "ai.onnx") onnx.opset = int(opset.version);
  }
  const int source_opset = onnx.opset;
  onnx.opset = std::clamp(onnx.opset, frontend::kOldestExportOpset, frontend::kNewestExportOpset);
  if (onnx.opset != source_opset && options.opset == 0) {
    output.note(fmt::format("opset {} becomes {}", source_opset, onnx.opset));
  }
  if (options.opset != 0) onnx.opset = options.opset;
  onnx.declared = frontend::declared_types(file->model());
  const io::OnnxModel model = frontend::to_onnx(frontend::lower_to_opset(graph, onnx.opset), onnx);
  io::OnnxWriteOptions write;
  write.progress = output.progress();
  io::write_onnx(options.destination, model, write);

  Json json = {{"nodes_before", before}, {"nodes_after", model.graph.nodes.size()}, {"passes", Json::array()}};
  for (const opt::PassReport& report : reports) {
    json["passes"].push_back({{"name", report.name},
                              {"ms", report.ms},
                              {"changed", report.changed},
                              {"nodes_before", report.nodes_before},
                              {"nodes_after", report.nodes_after},
                              {"rewrites", Json(report.rewrites)},
                              {"places", Json(report.places)}});
  }
  if (options.report) print_report(reports, output);
  const size_t after = graph.nodes().size(), written = model.graph.nodes.size();
  const std::string as_written = fmt::format(", which opset {} writes with {}", onnx.opset, written);
  output.print(fmt::format("{} nodes became {}{}", before, after, written == after ? "" : as_written));
  output.result(json);
  return Exit::good;
}

std::function<Exit(Output&)> add(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command.add_option("source", options->source, "an .onnx file")->required();
  command.add_option("destination", options->destination, "the .onnx file to write")->required();
  command.add_option("-O", options->level,
                     "-O0: nothing but what else is asked for; -O1: same operations, fewer of them; -O2: norms, "
                     "activations, rotary embedding and attention fused")
      ->capture_default_str();
  command.add_flag("--report", options->report,
                   "nodes before and after each pass, and which rule fired how often and at which nodes");
  command.add_option("--opset", options->opset, "opset to write (default: the source's)");
  command.add_option("--extract-inputs", options->extract_inputs,
                     "write the part that begins at these values, separated by commas (default: the graph's inputs)")
      ->delimiter(',');
  command.add_option("--extract-outputs", options->extract_outputs,
                     "write the part that ends at these values (default: the graph's outputs)")
      ->delimiter(',');
  command.add_option("--static", options->statics,
                     "fixed lengths: NAME=1x3x224x224 of an input, batch=1,sequence=128 of symbols");
  add_pass_flags(command, options->passes);
  return [options](Output& output) { return run(*options, output); };
}

}  // namespace

const Verb& optimize_verb() {
  static const Verb verb{.name = "optimize",
                         .description = "ONNX to ONNX: fewer operations, same results",
                         .example = "lathe optimize model.onnx smaller.onnx -O1 --report",
                         .add = add};
  return verb;
}

}  // namespace lathe::cli

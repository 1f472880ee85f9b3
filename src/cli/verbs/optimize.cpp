// lathe optimize: ONNX to ONNX, fewer operations, same results.
#include "base/fields.h"
#include "base/file.h"
#include "cli/model.h"
#include "cli/verb.h"
#include "frontend/lowering.h"
#include "frontend/onnx_export.h"
#include "frontend/onnx_import.h"
#include "io/onnx_write.h"
#include "opt/pipeline.h"

namespace lathe::cli {
namespace {

struct Options {
  std::string source;
  std::string destination;
  bool level1 = false;
  bool checked = false;
  bool report = false;
  int opset = 0;
  std::string disabled;
  std::string dump_folder;
};

Exit run(const Options& options, Output& output) {
  const auto file = io::OnnxFile::open(options.source);
  ir::Graph graph = frontend::import_onnx(file);
  opt::PassOptions passes;
  passes.checked = options.checked;
  for (const std::string& name : CLI::detail::split(options.disabled, ',')) {
    if (!name.empty()) passes.disabled.insert(name);
  }
  if (!options.dump_folder.empty()) {
    std::filesystem::create_directories(options.dump_folder);
    passes.dump = [&](std::string_view name, const std::string& text) {
      write_text_file(std::filesystem::path(options.dump_folder) / fmt::format("{}.ir", name), text);
    };
  }
  const size_t before = graph.nodes().size();
  const auto reports = opt::optimise(graph, passes);
  frontend::OnnxExportOptions onnx;
  for (const io::OnnxOpset& opset : file->model().opsets) {
    if (opset.domain.empty() || opset.domain == "ai.onnx") onnx.opset = int(opset.version);
  }
  if (options.opset != 0) onnx.opset = options.opset;
  const io::OnnxModel model = frontend::to_onnx(frontend::lower_to_opset(graph, onnx.opset), onnx);
  io::OnnxWriteOptions write;
  write.progress = output.progress();
  io::write_onnx(options.destination, model, write);

  Json json = {{"nodes_before", before}, {"nodes_after", model.graph.nodes.size()}, {"passes", Json::array()}};
  for (const opt::PassReport& report : reports) {
    Json rewrites = Json::object();
    for (const auto& [rule, count] : report.rewrites) {
      rewrites[rule] = count;
      if (options.report) output.print(fmt::format("{:<28} {:>6} x", rule, count));
    }
    json["passes"].push_back({{"name", report.name},
                              {"ms", report.ms},
                              {"nodes_before", report.nodes_before},
                              {"nodes_after", report.nodes_after},
                              {"rewrites", rewrites}});
  }
  output.print(fmt::format("{} nodes became {}", before, model.graph.nodes.size()));
  output.result(json);
  return Exit::good;
}

std::function<Exit(Output&)> add(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command.add_option("source", options->source, "an .onnx file")->required();
  command.add_option("destination", options->destination, "the .onnx file to write")->required();
  command.add_flag("--O1", options->level1, "same operations, fewer of them (the only level so far)");
  command.add_flag("--checked", options->checked, "compare results before and after every rewrite (small models)");
  command.add_flag("--report", options->report, "what fired how often");
  command.add_option("--opset", options->opset, "opset to write (default: the source's)");
  command.add_option("--disable", options->disabled, "passes and rules to leave out, separated by commas");
  command.add_option("--dump", options->dump_folder, "folder for the graph after each pass");
  return [options](Output& output) { return run(*options, output); };
}

}  // namespace

const Verb& optimize_verb() {
  static const Verb verb{.name = "optimize",
                         .description = "ONNX to ONNX: fewer operations, same results",
                         .example = "lathe optimize model.onnx smaller.onnx --O1 --report",
                         .add = add};
  return verb;
}

}  // namespace lathe::cli

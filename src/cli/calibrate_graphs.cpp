#include "cli/calibrate_graphs.h"

#include "cli/graph_source.h"
#include "cli/picture_model.h"
#include "compiler/graph_build.h"
#include "plan/precision.h"
#include "verify/graph_calibration.h"

namespace lathe::cli {
namespace {

verify::PictureSetup setup_of(const PictureModel& model, int threads, const std::string& isa, bool full) {
  return {.contract = model.contract,
          .tokenizers = open_tokenizers(model),
          .options = {.threads = threads, .isa = isa, .limits = {}},
          .full = full};
}

// Inputs for a graph that no picture was drawn with: as verification makes them.
std::vector<verify::GraphData> made_up_calls(const ir::Graph& graph, const verify::GraphVerifyOptions& runs) {
  verify::GraphData given = runs.inputs;
  opt::Lengths lengths = runs.lengths;
  const auto has_symbol = [&](const std::string& name) {
    return std::any_of(graph.inputs().begin(), graph.inputs().end(), [&](ir::Value input) {
      const tensor::Shape& shape = graph.type(input).shape;
      return std::any_of(shape.begin(), shape.end(), [&](const tensor::Dim& dim) { return dim.to_string() == name; });
    });
  };
  const auto is_input = [&](const std::string& name) {
    const auto value = graph.find(name);
    return value && graph.kind(*value) == ir::ValueKind::input;
  };
  std::erase_if(given, [&](const auto& entry) { return !is_input(entry.first); });
  std::erase_if(lengths, [&](const auto& entry) { return !is_input(entry.first) && !has_symbol(entry.first); });
  const auto types = opt::fixed_input_types(graph, lengths);
  std::vector<verify::GraphData> calls;
  for (int seed = 0; seed < runs.seeds; ++seed) calls.push_back(verify::make_graph_inputs(types, given, seed));
  return calls;
}

}  // namespace

PictureRecordingPtr calibrate_graphs(compiler::GraphEngineRequest& engine, contract::Precision precision,
                                     const GraphBuildRequest& request, const Output& output) {
  PictureRecordingPtr recording;
  if (is_picture_model(request.source)) {
    const PictureModel model = open_picture_model(request.source, request.pictures, false);
    if (has_tokenizer(model)) {
      recording = std::make_shared<verify::PictureRecording>(
          verify::record_pictures(setup_of(model, request.threads, "", request.full_verify), model.graphs));
    }
  }
  const verify::GraphVerifyOptions runs = graph_verify_options(request.flags.verify, request.threads, "", output);
  for (compiler::GraphToBuild& graph : engine.graphs) {
    std::vector<verify::GraphData> calls;
    if (recording) calls = verify::calls_of(*recording, graph.name);
    if (calls.empty()) calls = made_up_calls(graph.graph, runs);
    verify::CalibrationOptions options;
    options.passes = request.passes;
    options.threads = request.threads;
    options.progress = output.progress(ProgressUnit::steps);
    const verify::Calibration found = with_context(fmt::format("calibrating \"{}\"", graph.name), [&] {
      return verify::calibrate(graph.graph, precision, calls, options);
    });
    output.end_progress();
    output.note(fmt::format(
        "{}: {} products calibrated on {} runs, {} stay in fp32; the others move their results by at "
        "most {:.2g} % (\"{}\")",
        graph.name, found.products, calls.size(), found.islands.size(), 100 * found.worst, found.worst_name));
    graph.islands = found.islands;
  }
  return recording;
}

std::vector<plan::Gate> gates_of_pictures(const std::filesystem::path& engine,
                                          const std::function<ir::Graph(const std::string&)>& graph_of,
                                          const PictureRecordingPtr& recording,
                                          const verify::GraphEngineVerifyOptions& options) {
  if (!is_picture_model(engine)) return {};
  const PictureModel model = open_picture_model(engine, {}, false);
  if (!has_tokenizer(model)) {
    return {{.name = "9 pictures",
             .value = 0,
             .bound = 0,
             .pass = true,
             .unit = "",
             .note = "not run: the pipeline has no tokenizer"}};
  }
  const verify::PictureSetup setup = setup_of(model, options.runs.threads, options.runs.isa, options.full);
  const pipeline::PictureGraphs in_fp32 = [&](const std::string& name) {
    return compiler::build_graph(graph_of(name));
  };
  const PictureRecordingPtr expected =
      recording ? recording : std::make_shared<const verify::PictureRecording>(verify::record_pictures(setup, in_fp32));
  const auto opened = plan::EngineFile::open(engine);
  const contract::Precision precision = opened->manifest().graphs.at(0).precision;
  return verify::picture_gates(setup, *expected, model.graphs, std::string(plan::compute_of(to_string(precision))));
}

}  // namespace lathe::cli

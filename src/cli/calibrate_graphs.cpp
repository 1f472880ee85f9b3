#include "cli/calibrate_graphs.h"

#include "cli/graph_source.h"
#include "cli/picture_model.h"
#include "cli/quantize_pictures.h"
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

void require_recording(const PictureRecordingPtr& recording, const std::filesystem::path& source) {
  if (recording) return;
  fail(
      ErrorCode::unsupported,
      "{}: int8 is calibrated on a picture that the pipeline draws, for which it needs a tokenizer: --tokenizer FOLDER",
      source.string());
}

// Inputs for a graph that no picture was drawn with: as verification makes them.
std::vector<verify::GraphData> made_up_calls(const ir::Graph& graph, const verify::GraphVerifyOptions& runs) {
  verify::GraphData given = runs.inputs;
  opt::Lengths lengths = runs.lengths;
  std::map<std::string, op::TypeInfo> inputs;
  for (const ir::Value input : graph.inputs()) inputs.emplace(graph.name(input), graph.type(input));
  std::erase_if(given, [&](const auto& entry) { return !inputs.contains(entry.first); });
  std::erase_if(lengths, [&](const auto& entry) { return !verify::has_length(inputs, entry.first); });
  const auto types = opt::fixed_input_types(graph, lengths);
  std::vector<verify::GraphData> calls;
  for (int seed = 0; seed < runs.seeds; ++seed) calls.push_back(verify::make_graph_inputs(types, given, seed));
  return calls;
}

// Its islands for 16 bits.
void calibrate(compiler::GraphToBuild& graph, contract::Precision precision, std::span<const verify::GraphData> calls,
               const GraphBuildRequest& request, const Output& output) {
  verify::CalibrationOptions options;
  options.passes = request.passes;
  options.threads = request.threads;
  options.progress = output.progress(ProgressUnit::steps);
  const verify::Calibration found = with_context(fmt::format("calibrating \"{}\"", graph.name), [&] {
    return verify::calibrate(graph.graph, precision, calls, options);
  });
  output.end_progress();
  output.note(fmt::format(
      "{}: {} products calibrated on {} runs, {} stay in fp32; the others move their results by at most {:.2g} % "
      "(\"{}\")",
      graph.name, found.products, calls.size(), found.islands.size(), 100 * found.worst, found.worst_name));
  graph.islands = found.islands;
}

}  // namespace

PictureRecordingPtr record_picture(const PictureModel& model, const runtime::GraphOptions& options, bool full) {
  if (!has_tokenizer(model)) return nullptr;
  return std::make_shared<verify::PictureRecording>(
      verify::record_pictures(setup_of(model, options.threads, options.isa, full), model.graphs));
}

PictureRecordingPtr calibrate_graphs(compiler::GraphEngineRequest& engine, contract::Precision precision,
                                     const PictureModel* model, const GraphBuildRequest& request,
                                     const Output& output) {
  const runtime::GraphOptions run{.threads = request.threads, .isa = request.flags.quantize.isa, .limits = {}};
  PictureRecordingPtr recording = model ? record_picture(*model, run, request.full_verify) : nullptr;
  const bool bytes = precision == contract::Precision::int8;
  if (bytes) require_recording(recording, request.source);
  const verify::GraphVerifyOptions runs = graph_verify_options(request.flags.verify, request.threads, "", output);
  for (compiler::GraphToBuild& graph : engine.graphs) {
    if (bytes) {
      QuantizedGraph rounded =
          quantize_picture_graph(graph.name, std::move(graph.graph), *recording, request.flags.quantize, run, output);
      graph.graph = std::move(rounded.graph);
      graph.islands = std::move(rounded.islands);
      continue;
    }
    std::vector<verify::GraphData> calls;
    if (recording) calls = verify::calls_of(*recording, graph.name);
    if (calls.empty()) calls = made_up_calls(graph.graph, runs);
    calibrate(graph, precision, calls, request, output);
  }
  return recording;
}

PictureModel open_pictures(const std::filesystem::path& path, const frontend::PictureOptions& options, bool check,
                           const std::string& precision, const runtime::GraphOptions& run, const Output& output) {
  const bool bytes = compiler::graph_precision(precision) == contract::Precision::int8;
  if (!bytes || !frontend::PictureCheckpoint::recognises(path)) {
    return open_picture_model(path, options, check, precision);
  }
  const auto checkpoint =
      std::make_shared<const frontend::PictureCheckpoint>(frontend::PictureCheckpoint::open(path, options));
  PictureRecordingPtr recording;
  {
    const PictureModel floats = picture_model_of(checkpoint);
    recording = record_picture(floats, run, false);
    require_recording(recording, path);
  }
  std::map<std::string, ir::Graph> graphs;
  for (const std::string& name : checkpoint->graph_names()) {
    QuantizedGraph rounded =
        quantize_picture_graph(name, checkpoint->build(name, {.normed_states = true}), *recording, {}, run, output);
    for (const std::string& line : plan::describe(rounded.islands)) {
      output.note(fmt::format("{}: in fp32: {}", name, line));
    }
    graphs.emplace(name, std::move(rounded.graph));
  }
  output.note(fmt::format("calibrated for this run; lathe build {} -o NEW.lathe --precision int8 keeps it, verified",
                          path.string()));
  return picture_model_of(checkpoint, contract::Precision::int8, std::move(graphs));
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

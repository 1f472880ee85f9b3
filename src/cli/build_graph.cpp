#include "cli/build_graph.h"

#include <algorithm>

#include "backend/graph_load.h"
#include "base/fields.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "cli/calibrate_graphs.h"
#include "cli/graph_lengths.h"
#include "cli/graph_source.h"
#include "cli/inspect_graph.h"
#include "cli/model.h"
#include "cli/picture_model.h"
#include "compiler/graph_engine.h"
#include "frontend/onnx_import.h"
#include "opt/quantize.h"
#include "verify/profile_points.h"
#include "verify/verify.h"
#include "verify/verify_graph_engine.h"

namespace lathe::cli {
namespace {

using plan::InputProfile;

// Lengths of all inputs at one end; a length that nobody gave is an error there.
std::vector<std::pair<std::string, tensor::Dims>> dims_of(const ir::Graph& graph, std::string_view flag,
                                                          const std::vector<std::string>& texts) {
  std::vector<std::pair<std::string, tensor::Dims>> result;
  const auto types = opt::fixed_input_types(graph, read_lengths(flag, texts));
  for (const ir::Value input : graph.inputs()) {
    const op::TypeInfo& type = types.at(graph.name(input));
    if (type.form != op::Form::tensor) continue;
    const auto dims = tensor::to_dims(type.shape);
    if (!dims || !type.is_plain()) {
      fail(ErrorCode::usage, "{}: input \"{}\" {} has lengths that it does not say", flag, graph.name(input),
           op::to_string(type));
    }
    result.emplace_back(graph.name(input), *dims);
  }
  return result;
}

// A profile from --min-shapes, --opt-shapes and --max-shapes. One of min and max alone is both; opt is max if not
// given.
std::vector<InputProfile> profile_of(const ir::Graph& graph, const GraphBuildFlags& flags) {
  const bool any = !flags.min_shapes.empty() || !flags.opt_shapes.empty() || !flags.max_shapes.empty();
  if (!any) return {};
  const auto first_of = [](std::initializer_list<std::pair<std::string_view, const std::vector<std::string>*>> list) {
    return *std::find_if(list.begin(), list.end(), [](const auto& entry) { return !entry.second->empty(); });
  };
  const std::pair min_texts{std::string_view("--min-shapes"), &flags.min_shapes};
  const std::pair opt_texts{std::string_view("--opt-shapes"), &flags.opt_shapes};
  const std::pair max_texts{std::string_view("--max-shapes"), &flags.max_shapes};
  const auto low = first_of({min_texts, opt_texts, max_texts});
  const auto high = first_of({max_texts, opt_texts, min_texts});
  const auto best = first_of({opt_texts, max_texts, min_texts});
  const auto min = dims_of(graph, low.first, *low.second);
  const auto opt = dims_of(graph, best.first, *best.second);
  const auto max = dims_of(graph, high.first, *high.second);
  std::vector<InputProfile> profile;
  for (size_t i = 0; i < min.size(); ++i) {
    profile.push_back({min[i].first, min[i].second, opt[i].second, max[i].second});
    const InputProfile& input = profile.back();
    bool good = input.min.size() == input.max.size() && input.opt.size() == input.max.size();
    for (size_t d = 0; good && d < input.min.size(); ++d)
      good = input.min[d] <= input.opt[d] && input.opt[d] <= input.max[d];
    if (good) continue;
    fail(ErrorCode::usage, "input \"{}\": min {}, opt {} and max {} are no range", input.name,
         tensor::to_string(std::span<const int64_t>(input.min)), tensor::to_string(std::span<const int64_t>(input.opt)),
         tensor::to_string(std::span<const int64_t>(input.max)));
  }
  return profile;
}

struct Sources {
  compiler::GraphEngineRequest request;
  contract::Precision precision = contract::Precision::fp32;
  bool calibrated = false;  // its islands are known
  std::optional<PictureModel> model = {};  // in fp32, of a pipeline
  PictureRecordingPtr pictures = {};  // of a pipeline that computes in less than fp32
  std::vector<plan::SourceHash> hashes;
  std::map<std::string, ir::Graph> graphs;  // as they were before the build
  std::map<std::string, ir::Graph> floats;  // of int8: before they were rounded
};

std::vector<plan::SourceHash> hashes_of(const std::vector<std::filesystem::path>& files) {
  std::vector<plan::SourceHash> hashes;
  for (const auto& path : files) {
    hashes.push_back({path.filename().string(), sha256_file_hex(path), int64_t(std::filesystem::file_size(path))});
  }
  return hashes;
}

// An engine keeps what its weights were rounded to.
contract::Precision precision_of_rebuild(const plan::EngineFile& engine, const std::string& wish) {
  const contract::Precision own = engine.manifest().graphs.at(0).precision;
  return own == contract::Precision::fp32 ? compiler::graph_precision(wish) : precision_of_graphs(wish, &engine);
}

Sources read_sources(GraphBuildRequest& request, const Output& output) {
  Sources sources;
  sources.precision = compiler::graph_precision(request.precision);
  if (frontend::PictureCheckpoint::recognises(request.source)) {
    const auto checkpoint = std::make_shared<const frontend::PictureCheckpoint>(
        frontend::PictureCheckpoint::open(request.source, request.pictures));
    sources.model = picture_model_of(checkpoint);
    for (const std::string& note : checkpoint->notes()) output.note(note);
    sources.request = picture_engine_request(*checkpoint);
    if (request.verify) sources.hashes = hashes_of(checkpoint->files());
    if (request.flags.verify.shapes.empty()) request.flags.verify.shapes = reduced_lengths(checkpoint->contract());
  } else if (is_graph_file(request.source)) {
    refuse_int8(sources.precision, request.source);
    const auto file = io::OnnxFile::open(request.source);
    compiler::GraphToBuild graph{.name = "main", .graph = frontend::import_onnx(file)};
    graph.profile = profile_of(graph.graph, request.flags);
    graph.allow_nonfinite = request.flags.allow_nonfinite;
    sources.request.graphs.push_back(std::move(graph));
    if (request.verify) sources.hashes = hashes_of(onnx_files(*file));
  } else {
    const auto engine = plan::EngineFile::open(request.source);
    plan::require_kind(*engine, true);
    if (!request.flags.min_shapes.empty() || !request.flags.opt_shapes.empty() || !request.flags.max_shapes.empty() ||
        request.flags.allow_nonfinite) {
      fail(ErrorCode::usage, "an engine that is rebuilt keeps its profile and whether infinity is allowed");
    }
    sources.precision = precision_of_rebuild(*engine, request.precision);
    sources.calibrated = sources.precision == engine->manifest().graphs.at(0).precision;
    sources.model = find_picture_model(engine);
    if (!sources.model) refuse_int8(sources.precision, request.source);
    engine->check_weights();
    if (request.flags.verify.shapes.empty()) request.flags.verify.shapes = reduced_lengths(*engine);
    sources.request = compiler::engine_request(engine);
    if (engine->receipt()) sources.hashes = engine->receipt()->sources;
  }
  sources.calibrated |= sources.precision == contract::Precision::fp32;
  if (request.flags.quantize != QuantizeFlags{} &&
      (sources.calibrated || sources.precision != contract::Precision::int8)) {
    fail(ErrorCode::usage, "--keep, --keep-below and --isa are for a pipeline that is built with --precision int8");
  }
  return sources;
}

// Working memory of each graph at the largest lengths of its profile.
uint64_t largest_memory(const plan::EngineFile& engine, const plan::EngineGraph& graph, int threads) {
  runtime::GraphSession session(backend::load_graph(engine, graph), {.threads = threads, .isa = {}, .limits = {}});
  runtime::GraphSession::Data inputs;
  for (const int64_t index : graph.model->plan.inputs) {
    const plan::GraphValue& value = graph.model->plan.values[size_t(index)];
    const auto it = std::find_if(graph.profile.begin(), graph.profile.end(),
                                 [&](const InputProfile& input) { return input.name == value.name; });
    if (it != graph.profile.end()) inputs.emplace(value.name, tensor::Tensor(value.type.dtype, it->max));
  }
  return session.bound(inputs).arena_bytes;
}

void note_memory(const std::filesystem::path& path, int threads, const Output& output) {
  const auto engine = plan::EngineFile::open(path);
  for (const plan::EngineGraph& graph : engine->manifest().graphs) {
    if (graph.profile.empty()) continue;
    output.note(fmt::format("graph \"{}\" takes {:.1f} MB of working memory at the largest lengths of its profile",
                            graph.name, double(largest_memory(*engine, graph, threads)) / 1e6));
  }
}

// What a graph's pictures are held to.
ir::Graph in_floats(const Sources& sources, const std::string& name) {
  if (const auto it = sources.floats.find(name); it != sources.floats.end()) return it->second;
  ir::Graph graph = sources.graphs.at(name);
  if (sources.precision == contract::Precision::int8) opt::remove_rounding(graph);
  return graph;
}

plan::Receipt verify_written(const std::filesystem::path& engine, const GraphBuildRequest& request,
                             const Sources& sources, const Output& output) {
  verify::GraphEngineVerifyOptions options;
  options.runs = graph_verify_options(request.flags.verify, request.threads, "", output);
  options.full = request.full_verify;
  for (const auto& [name, graph] : sources.graphs) options.sources.emplace(name, &graph);
  if (sources.precision != contract::Precision::fp32) {
    const auto graph_of = [&](const std::string& name) { return in_floats(sources, name); };
    options.together = [&, graph_of] { return gates_of_pictures(engine, graph_of, sources.pictures, options); };
  }
  plan::Receipt receipt = verify::verify_graph_engine(engine, options);
  output.end_progress();
  receipt.sources = sources.hashes;
  if (!receipt.pass) verify::fail_receipt(receipt);
  return receipt;
}

}  // namespace

void add_graph_build_flags(CLI::App& command, GraphBuildFlags& flags) {
  add_quantize_flags(command, flags.quantize);
  add_graph_verify_flags(command, flags.verify);
  command.add_option("--min-shapes", flags.min_shapes,
                     "of an .onnx model: the least lengths, NAME=1x3x224x224 or SYMBOL=1");
  command.add_option("--opt-shapes", flags.opt_shapes, "of an .onnx model: the usual lengths (default: the largest)");
  command.add_option("--max-shapes", flags.max_shapes,
                     "of an .onnx model: the largest lengths; others are refused at run time");
  command.add_flag("--allow-nonfinite", flags.allow_nonfinite,
                   "of an .onnx model: NaN and infinity in its outputs are meant");
}

Exit build_graph_engine(GraphBuildRequest request, const Output& output) {
  const auto start = Output::Clock::now();
  Sources sources = read_sources(request, output);
  if (!sources.calibrated) {
    if (sources.precision == contract::Precision::int8) {
      for (const auto& graph : sources.request.graphs) sources.floats.emplace(graph.name, graph.graph);
    }
    sources.pictures = calibrate_graphs(sources.request, sources.precision, sources.model ? &*sources.model : nullptr,
                                        request, output);
  }
  for (const auto& graph : sources.request.graphs) sources.graphs.emplace(graph.name, graph.graph);
  compiler::GraphEngineOptions options;
  options.build.passes = request.passes;
  options.build.precision = sources.precision;
  options.threads = request.threads;
  options.progress = output.progress();
  compiler::PreparedGraphEngine build(std::move(sources.request), options);
  const compiler::BuildPrediction prediction = build.predict();
  output.note(fmt::format("will take at most {:.1f} MB of disk and {:.0f} MB of memory; {:.1f} s to pack the weights",
                          double(prediction.disk_bytes) / 1e6, double(prediction.memory_bytes) / 1e6,
                          prediction.seconds));
  plan::Receipt receipt;
  if (!request.verify) {
    sources.graphs.clear();
    sources.floats.clear();
  }
  const auto verify = [&](const std::filesystem::path& engine) {
    receipt = verify_written(engine, request, sources, output);
    return receipt;
  };
  for (const auto& [name, islands] : build.islands()) {
    for (const std::string& line : plan::describe(islands)) {
      output.note(fmt::format("{}: in fp32: {}", name, line));
    }
  }
  build.write(request.destination, request.verify ? compiler::PreparedGraphEngine::Verify(verify) : nullptr);
  note_memory(request.destination, request.threads, output);
  const double seconds = std::chrono::duration<double>(Output::Clock::now() - start).count();
  const MemoryUse memory = memory_use();
  const uint64_t bytes = std::filesystem::file_size(request.destination);
  if (request.verify) output.print(verify::describe(receipt));
  output.print(fmt::format("built {} in {:.2f} s: {:.1f} MB{}; peak RSS {:.0f} MB ({:.0f} MB without file pages)",
                           request.destination.string(), seconds, double(bytes) / 1e6,
                           request.verify ? ", verified" : ", NOT verified", double(memory.peak_rss_bytes) / 1e6,
                           double(memory.peak_anon_bytes) / 1e6));
  Json json = {
      {"engine", request.destination.string()}, {"bytes", bytes}, {"seconds", seconds}, {"verified", request.verify}};
  if (request.verify) json["receipt"] = to_json(receipt);
  json["memory"] = memory_json(memory);
  output.result(json);
  return Exit::good;
}

}  // namespace lathe::cli

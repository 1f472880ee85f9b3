#include "cli/picture_model.h"

#include <optional>

#include "backend/graph_load.h"
#include "base/fields.h"
#include "base/file.h"
#include "base/hash.h"
#include "cli/graph_source.h"
#include "compiler/graph_build.h"
#include "compiler/graph_size.h"
#include "plan/engine_file.h"

namespace lathe::cli {
namespace {

// The key that tells a picture pipeline from other graphs that run together.
constexpr std::string_view kKind = "pictures";

// The tokenizer in a folder of the assets ("tokenizer").
text::ClipTokenizer open_clip_tokenizer(const PictureModel& model, const std::string& folder) {
  const text::ClipTokenizerFiles files = frontend::tokenizer_files(model.assets, folder);
  return with_context(folder, [&] {
    if (files.tokenizer.empty() && files.vocab.empty()) {
      fail(ErrorCode::not_found,
           "no vocabulary: a single file has none, give --tokenizer FOLDER (vocab.json and merges.txt)");
    }
    text::ClipTokenizer clip = text::make_clip_tokenizer(files);
    const int64_t tokens = model.contract.text_tokens;
    if (clip.max_length && *clip.max_length != tokens) {
      fail(ErrorCode::invalid_input, "made for prompts of {} tokens, the text encoder for {}", *clip.max_length,
           tokens);
    }
    return clip;
  });
}

compiler::PlannedGraph plan_of(ir::Graph graph, contract::Precision precision) {
  compiler::GraphBuildOptions options;
  options.precision = precision;
  compiler::optimise_graph(graph, options);
  return compiler::plan_graph(std::move(graph), options);
}

// The graph; when it is not needed any more its pages of the engine are let go, so that memory follows what is in use.
std::shared_ptr<const plan::GraphModel> load_and_drop(const std::shared_ptr<const plan::EngineFile>& engine,
                                                      const std::string& name) {
  auto model = backend::load_graph(*engine, plan::get_graph(engine->manifest().graphs, name));
  return {model.get(), [engine, model](const plan::GraphModel*) {
            const auto file = engine->file()->bytes();
            for (const tensor::Tensor& constant : model->constants) {
              const auto bytes = constant.bytes();
              if (bytes.data() >= file.data() && bytes.data() < file.data() + file.size()) engine->file()->drop(bytes);
            }
          }};
}

// The contract of an engine's pictures; null where it is an engine of something else.
std::optional<Json> find_pictures(const plan::EngineFile& engine) {
  if (engine.manifest().pipeline.empty()) return std::nullopt;
  const Json json = parse_json(engine.manifest().pipeline, "pipeline");
  if (!json.is_object() || !json.contains(kKind)) return std::nullopt;
  return json[kKind];
}

contract::Pictures read_contract(const Json& json) {
  contract::Pictures contract;
  from_json(json, contract);
  contract::check(contract);
  return contract;
}

PictureModel from_engine(std::shared_ptr<const plan::EngineFile> engine) {
  PictureModel model;
  model.contract = read_contract(*find_pictures(*engine));
  model.precision = engine->manifest().graphs.at(0).precision;
  for (const auto& asset : engine->manifest().assets) {
    const auto bytes = engine->find_asset(asset.name);
    model.assets.emplace(asset.name, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  model.graphs = [engine](const std::string& name) { return load_and_drop(engine, name); };
  model.revision = [engine] { return engine->hash(); };
  for (const plan::EngineGraph& graph : engine->manifest().graphs) model.measurable.names.push_back(graph.name);
  model.measurable.get = [engine](const std::string& name) {
    const plan::EngineGraph& graph = plan::get_graph(engine->manifest().graphs, name);
    auto loaded = backend::load_graph(*engine, graph);
    uint64_t bytes = 0;
    for (const tensor::Tensor& constant : loaded->constants) bytes += constant.bytes().size();
    return pipeline::MeasurableGraph{std::move(loaded), bytes, 0};
  };
  return model;
}

bool is_picture_engine(const std::filesystem::path& path) {
  // Engines of language models are told by their header and not opened for this.
  return plan::is_graph_engine(path) && find_pictures(*plan::EngineFile::open(path));
}

}  // namespace

PictureModel picture_model_of(std::shared_ptr<const frontend::PictureCheckpoint> checkpoint,
                              contract::Precision precision, std::map<std::string, ir::Graph> rounded) {
  PictureModel model;
  model.contract = checkpoint->contract();
  model.assets = checkpoint->assets();
  model.notes = checkpoint->notes();
  model.precision = precision;
  // Plans that were measured wait here to be loaded: planning a UNet takes longer than anything else but its weights.
  auto waiting = std::make_shared<std::map<std::string, compiler::PlannedGraph>>();
  const auto plan = [checkpoint, precision, rounded = std::move(rounded)](const std::string& name) {
    const auto other = rounded.find(name);
    return plan_of(other != rounded.end() ? other->second : checkpoint->build(name, {.normed_states = true}),
                   precision);
  };
  model.graphs = [plan, waiting](const std::string& name) {
    auto found = waiting->extract(name);
    return compiler::load_constants(found ? std::move(found.mapped()) : plan(name));
  };
  model.revision = [checkpoint] {
    Sha256 all;
    for (const std::filesystem::path& file : checkpoint->files()) {
      const std::string one = sha256_file_hex(file);
      all.update(std::as_bytes(std::span(one)));
    }
    return all.finish_hex();
  };
  model.measurable.names = checkpoint->graph_names();
  model.measurable.get = [plan, waiting](const std::string& name) {
    auto found = waiting->find(name);
    if (found == waiting->end()) found = waiting->emplace(name, plan(name)).first;
    const compiler::GraphSize size = compiler::measure_constants(found->second);
    return pipeline::MeasurableGraph{found->second.model, size.constant_bytes, size.packing_bytes};
  };
  return model;
}

std::optional<PictureModel> find_picture_model(std::shared_ptr<const plan::EngineFile> engine) {
  if (!find_pictures(*engine)) return std::nullopt;
  return with_context(engine->path().string(), [&] { return from_engine(engine); });
}

bool is_picture_model(const std::filesystem::path& path) {
  return frontend::PictureCheckpoint::recognises(path) || is_picture_engine(path);
}

PictureModel open_picture_model(const std::filesystem::path& path, const frontend::PictureOptions& options,
                                bool check, const std::string& precision) {
  if (!is_picture_engine(path)) {
    const contract::Precision wish = precision_of_graphs(precision, nullptr);
    LATHE_CHECK(wish != contract::Precision::int8, "int8 without calibration");
    return picture_model_of(
        std::make_shared<const frontend::PictureCheckpoint>(frontend::PictureCheckpoint::open(path, options)), wish);
  }
  frontend::PictureOptions built = options;
  built.safety_checker = true;  // whether an engine's is asked is a matter of the run
  if (built != frontend::PictureOptions{}) {
    fail(ErrorCode::usage,
         "--variant, --vae, --tokenizer, --prediction, --lora and --embedding are decided when an engine is built");
  }
  auto engine = plan::EngineFile::open(path);
  precision_of_graphs(precision, engine.get());
  if (check) engine->check_weights();
  return with_context(path.string(), [&] { return from_engine(std::move(engine)); });
}

bool has_tokenizer(const PictureModel& model) {
  return model.assets.contains("tokenizer/tokenizer.json") || model.assets.contains("tokenizer/vocab.json") ||
         model.assets.contains("tokenizer_2/tokenizer.json") || model.assets.contains("tokenizer_2/vocab.json");
}

std::vector<text::ClipTokenizer> open_tokenizers(const PictureModel& model) {
  std::vector<text::ClipTokenizer> tokenizers;
  for (const char* suffix : {"", "_2"}) {
    const bool there = model.assets.contains(fmt::format("text_encoder{}/config.json", suffix));
    if (there) tokenizers.push_back(open_clip_tokenizer(model, std::string("tokenizer") + suffix));
  }
  return tokenizers;
}

std::unique_ptr<pipeline::Diffuser> open_diffuser(PictureModel model, const pipeline::DiffuserOptions& options) {
  std::vector<text::ClipTokenizer> tokenizers = open_tokenizers(model);
  return std::make_unique<pipeline::Diffuser>(std::move(model.contract), std::move(tokenizers), std::move(model.graphs),
                                              options);
}

std::vector<std::string> reduced_lengths(const contract::Pictures& contract) {
  const int64_t scale = contract.latent_scale;
  std::vector<std::string> shapes;
  for (const auto& [symbol, length] :
       std::initializer_list<std::pair<const char*, int64_t>>{{"batch_size", 2},
                                                              {"sequence_length", 9},
                                                              {"height", 8},
                                                              {"width", 6},
                                                              {"latent_height", 8},
                                                              {"latent_width", 6},
                                                              {"sample_height", 8 * scale},
                                                              {"sample_width", 6 * scale}}) {
    shapes.push_back(fmt::format("{}={}", symbol, length));
  }
  return shapes;
}

std::vector<std::string> reduced_lengths(const plan::EngineFile& engine) {
  const auto pictures = find_pictures(engine);
  return pictures ? reduced_lengths(read_contract(*pictures)) : std::vector<std::string>();
}

compiler::GraphEngineRequest picture_engine_request(const frontend::PictureCheckpoint& checkpoint) {
  compiler::GraphEngineRequest request;
  for (const std::string& name : checkpoint.graph_names()) {
    request.graphs.push_back({.name = name, .graph = checkpoint.build(name, {.normed_states = true})});
  }
  for (const auto& [name, text] : checkpoint.assets()) request.assets.emplace(name, ir::Asset{text});
  request.pipeline = Json{{std::string(kKind), to_json(checkpoint.contract())}}.dump();
  return request;
}

}  // namespace lathe::cli

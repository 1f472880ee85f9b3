#include "cli/picture_model.h"

#include <optional>

#include "backend/graph_load.h"
#include "base/fields.h"
#include "base/file.h"
#include "cli/graph_source.h"
#include "compiler/graph_build.h"
#include "plan/engine_file.h"

namespace lathe::cli {
namespace {

// The key that tells a picture pipeline from other graphs that run together.
constexpr std::string_view kKind = "pictures";

// The tokenizer in a folder of the assets ("tokenizer").
text::ClipTokenizer open_clip_tokenizer(const PictureModel& model, const std::string& folder) {
  const auto find = [&](const char* name) {
    const auto asset = model.assets.find(folder + "/" + name);
    return asset == model.assets.end() ? std::string() : asset->second;
  };
  return with_context(folder, [&] {
    if (find("tokenizer.json").empty() && find("vocab.json").empty()) {
      fail(ErrorCode::not_found,
           "no vocabulary: a single file has none, give --tokenizer FOLDER (vocab.json and merges.txt)");
    }
    text::ClipTokenizer clip = text::make_clip_tokenizer({.vocab = find("vocab.json"),
                                                          .merges = find("merges.txt"),
                                                          .special_tokens_map = find("special_tokens_map.json"),
                                                          .tokenizer_config = find("tokenizer_config.json"),
                                                          .added_tokens = find("added_tokens.json"),
                                                          .tokenizer = find("tokenizer.json")});
    const int64_t tokens = model.contract.text_tokens;
    if (clip.max_length && *clip.max_length != tokens) {
      fail(ErrorCode::invalid_input, "made for prompts of {} tokens, the text encoder for {}", *clip.max_length,
           tokens);
    }
    return clip;
  });
}

PictureModel from_checkpoint(std::shared_ptr<const frontend::PictureCheckpoint> checkpoint,
                             contract::Precision precision) {
  PictureModel model{
      .contract = checkpoint->contract(), .assets = checkpoint->assets(), .graphs = {}, .notes = checkpoint->notes()};
  model.graphs = [checkpoint, precision](const std::string& name) {
    compiler::GraphBuildOptions options;
    options.precision = precision;
    return compiler::build_graph(checkpoint->build(name, {.normed_states = true}), options);
  };
  return model;
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
  for (const auto& asset : engine->manifest().assets) {
    const auto bytes = engine->find_asset(asset.name);
    model.assets.emplace(asset.name, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  model.graphs = [engine](const std::string& name) { return load_and_drop(engine, name); };
  return model;
}

bool is_picture_engine(const std::filesystem::path& path) {
  // Engines of language models are told by their header and not opened for this.
  return plan::is_graph_engine(path) && find_pictures(*plan::EngineFile::open(path));
}

}  // namespace

bool is_picture_model(const std::filesystem::path& path) {
  return frontend::PictureCheckpoint::recognises(path) || is_picture_engine(path);
}

PictureModel open_picture_model(const std::filesystem::path& path, const frontend::PictureOptions& options,
                                bool check, const std::string& precision) {
  if (!is_picture_engine(path)) {
    return from_checkpoint(
        std::make_shared<const frontend::PictureCheckpoint>(frontend::PictureCheckpoint::open(path, options)),
        precision_of_graphs(precision, nullptr));
  }
  if (!options.variant.empty() || !options.vae.empty() || !options.tokenizer.empty() || !options.prediction.empty()) {
    fail(ErrorCode::usage, "--variant, --vae, --tokenizer and --prediction are decided when an engine is built");
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

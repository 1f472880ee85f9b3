#include "cli/picture_model.h"

#include "backend/graph_load.h"
#include "base/fields.h"
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
      fail(ErrorCode::not_found, "no vocabulary: a single file has none, give --tokenizer FOLDER (vocab.json and merges.txt)");
    }
    text::ClipTokenizer clip = text::make_clip_tokenizer({.vocab = find("vocab.json"),
                                                          .merges = find("merges.txt"),
                                                          .special_tokens_map = find("special_tokens_map.json"),
                                                          .tokenizer_config = find("tokenizer_config.json"),
                                                          .added_tokens = find("added_tokens.json"),
                                                          .tokenizer = find("tokenizer.json")});
    const int64_t tokens = model.contract.text_tokens;
    if (clip.max_length && *clip.max_length != tokens) {
      fail(ErrorCode::invalid_input, "made for prompts of {} tokens, the text encoder for {}", *clip.max_length, tokens);
    }
    return clip;
  });
}

PictureModel from_checkpoint(std::shared_ptr<const frontend::PictureCheckpoint> checkpoint) {
  PictureModel model{.contract = checkpoint->contract(), .assets = checkpoint->assets(), .graphs = {}, .notes = checkpoint->notes()};
  model.graphs = [checkpoint](const std::string& name) {
    return compiler::build_graph(checkpoint->build(name, {.normed_states = true}));
  };
  return model;
}

PictureModel from_engine(std::shared_ptr<const plan::EngineFile> engine) {
  PictureModel model;
  const Json json = parse_json(engine->manifest().pipeline, "pipeline");
  from_json(get_member(json, kKind), model.contract);
  contract::check(model.contract);
  for (const auto& asset : engine->manifest().assets) {
    const auto bytes = engine->find_asset(asset.name);
    model.assets.emplace(asset.name, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  model.graphs = [engine](const std::string& name) {
    return backend::load_graph(*engine, plan::get_graph(engine->manifest().graphs, name));
  };
  return model;
}

bool is_picture_engine(const std::filesystem::path& path) {
  if (file_kind(path) != FileKind::file || !plan::is_engine_file(path)) return false;
  const auto engine = plan::EngineFile::open(path);
  if (engine->manifest().pipeline.empty()) return false;
  const Json json = parse_json(engine->manifest().pipeline, "pipeline");
  return json.is_object() && json.contains(kKind);
}

}  // namespace

bool is_picture_model(const std::filesystem::path& path) {
  return frontend::PictureCheckpoint::recognises(path) || is_picture_engine(path);
}

PictureModel open_picture_model(const std::filesystem::path& path, const frontend::PictureOptions& options, bool check) {
  if (!is_picture_engine(path)) {
    return from_checkpoint(
        std::make_shared<const frontend::PictureCheckpoint>(frontend::PictureCheckpoint::open(path, options)));
  }
  if (!options.variant.empty() || !options.vae.empty() || !options.tokenizer.empty() || !options.prediction.empty()) {
    fail(ErrorCode::usage, "--variant, --vae, --tokenizer and --prediction are decided when an engine is built");
  }
  auto engine = plan::EngineFile::open(path);
  if (check) engine->check_weights();
  return with_context(path.string(), [&] { return from_engine(std::move(engine)); });
}

std::unique_ptr<pipeline::Diffuser> open_diffuser(PictureModel model, const pipeline::DiffuserOptions& options) {
  std::vector<text::ClipTokenizer> tokenizers;
  for (const char* suffix : {"", "_2"}) {
    const bool there = model.assets.contains(fmt::format("text_encoder{}/config.json", suffix));
    if (there) tokenizers.push_back(open_clip_tokenizer(model, std::string("tokenizer") + suffix));
  }
  return std::make_unique<pipeline::Diffuser>(std::move(model.contract), std::move(tokenizers), std::move(model.graphs), options);
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

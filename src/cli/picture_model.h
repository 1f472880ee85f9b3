// A picture pipeline from wherever it is: a diffusers folder, a single file, an engine.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "compiler/graph_engine.h"
#include "frontend/picture_checkpoint.h"
#include "pipeline/diffuse/diffuse.h"

namespace lathe::cli {

struct PictureModel {
  contract::Pictures contract;
  std::map<std::string, std::string> assets;  // as PictureCheckpoint::assets
  pipeline::PictureGraphs graphs;             // keeps what they come from open
  std::vector<std::string> notes;             // what a person should know
};

// Whether the path is one of those.
bool is_picture_model(const std::filesystem::path& path);
// `options` are for folders and files; usage where they are given with an engine. `check`: the engine's weights against
// their hashes.
// `precision`: as precision_of_graphs (graph_source.h) takes it.
PictureModel open_picture_model(const std::filesystem::path& path, const frontend::PictureOptions& options, bool check,
                                const std::string& precision = {});
// Of its text encoders. Throws not_found where there is no vocabulary, invalid_input for one that does not fit.
std::vector<text::ClipTokenizer> open_tokenizers(const PictureModel& model);
bool has_tokenizer(const PictureModel& model);
std::unique_ptr<pipeline::Diffuser> open_diffuser(PictureModel model, const pipeline::DiffuserOptions& options);

// What an engine of the pipeline is built from: its graphs, its contract as JSON and its tokenizers.
compiler::GraphEngineRequest picture_engine_request(const frontend::PictureCheckpoint& checkpoint);

// --shape of verification that the reference executor gets through: 9 tokens, latents of 8 x 6. Of an engine that is
// none of pictures: empty.
std::vector<std::string> reduced_lengths(const contract::Pictures& contract);
std::vector<std::string> reduced_lengths(const plan::EngineFile& engine);

}  // namespace lathe::cli

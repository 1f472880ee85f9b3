// A picture pipeline from wherever it is: a diffusers folder, a single file, an engine.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compiler/graph_engine.h"
#include "frontend/picture_checkpoint.h"
#include "pipeline/diffuse/picture_memory.h"
#include "plan/engine_file.h"

namespace lathe::cli {

struct PictureModel {
  contract::Pictures contract;
  std::map<std::string, std::string> assets;  // as PictureCheckpoint::assets
  pipeline::PictureGraphs graphs;             // keeps what they come from open
  pipeline::MeasurableGraphs measurable;      // the same before they are loaded
  std::vector<std::string> notes;             // what a person should know
  contract::Precision precision = contract::Precision::fp32;
  // Hash of what the numbers are: the engine's, or that of the sha256 of all weight files, which reads them.
  std::function<std::string()> revision;
};

// Whether the path is one of those.
bool is_picture_model(const std::filesystem::path& path);
// `options` are for folders and files; usage where they are given with an engine. `check`: the engine's weights against
// their hashes.
// `precision`: as precision_of_graphs (graph_source.h) takes it; int8 of an engine alone (calibrate_graphs.h has
// others).
PictureModel open_picture_model(const std::filesystem::path& path, const frontend::PictureOptions& options, bool check,
                                const std::string& precision = {});
// Of a checkpoint that is open. `rounded`: graphs to take instead of its own.
PictureModel picture_model_of(std::shared_ptr<const frontend::PictureCheckpoint> checkpoint,
                              contract::Precision precision = contract::Precision::fp32,
                              std::map<std::string, ir::Graph> rounded = {});
// Of its text encoders. Throws not_found where there is no vocabulary, invalid_input for one that does not fit.
std::vector<text::ClipTokenizer> open_tokenizers(const PictureModel& model);
bool has_tokenizer(const PictureModel& model);
std::unique_ptr<pipeline::Diffuser> open_diffuser(PictureModel model, const pipeline::DiffuserOptions& options);

// Of an engine that is open; nullopt where it is none of pictures.
std::optional<PictureModel> find_picture_model(std::shared_ptr<const plan::EngineFile> engine);

// What an engine of the pipeline is built from: its graphs, its contract as JSON and its tokenizers.
compiler::GraphEngineRequest picture_engine_request(const frontend::PictureCheckpoint& checkpoint);

// --shape of verification that the reference executor gets through: 9 tokens, latents of 8 x 6. Of an engine that is
// none of pictures: empty.
std::vector<std::string> reduced_lengths(const contract::Pictures& contract);
std::vector<std::string> reduced_lengths(const plan::EngineFile& engine);

}  // namespace lathe::cli

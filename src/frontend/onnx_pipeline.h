// Picture pipelines whose models are ONNX files: Optimum's layout, our own export's, and diffusers' of before Optimum.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "base/json.h"
#include "ir/graph.h"

namespace lathe::frontend {

struct OnnxPipeline {
  std::map<std::string, std::filesystem::path> graphs;  // files by graph: text_encoder, unet, safety_checker ...
  // config.json by role (text_encoder, text_encoder_2, unet, vae). What a folder does not say is found from its graphs.
  std::map<std::string, Json> configs;
  bool encodes_latents = false;  // vae_encoder gives latents, which it may draw with an input `noise`
};

// Whether the folder's UNet is unet/model.onnx, without weights of another form beside it.
bool is_onnx_pipeline(const std::filesystem::path& folder);
// Throws not_found for a missing graph; unsupported, invalid_input as importing does.
OnnxPipeline open_onnx_pipeline(const std::filesystem::path& folder);
// One of its graphs behind our own inputs and outputs (onnx_interface.h).
ir::Graph import_picture_graph(const OnnxPipeline& pipeline, const std::string& name);

}  // namespace lathe::frontend

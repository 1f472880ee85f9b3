// lathe export of a picture pipeline: a folder as Optimum lays it out.
#pragma once

#include <filesystem>

#include "cli/verb.h"
#include "frontend/onnx_export.h"
#include "frontend/picture_checkpoint.h"

namespace lathe::cli {

struct PictureExport {
  std::filesystem::path destination;  // a folder
  std::string precision;              // "fp32", "fp16", "bf16"; empty: fp32
  frontend::OnnxExportOptions onnx;
  bool overwrite = false;
};

// Writes text_encoder, unet, vae_encoder and vae_decoder, each model.onnx and config.json, the scheduler and the
// tokenizers; all or nothing. Throws usage for a destination that is a file.
Exit export_pictures(const frontend::PictureCheckpoint& checkpoint, const PictureExport& request, const Output& output);

}  // namespace lathe::cli

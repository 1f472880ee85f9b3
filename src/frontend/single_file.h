// A Stable Diffusion checkpoint in one file, with the names of the original code: its models with diffusers' names, and
// configs found from the tensors' shapes.
#pragma once

#include <optional>
#include <string>

#include "frontend/component.h"

namespace lathe::frontend {

// What one file cannot say for certain.
struct SingleFileWishes {
  std::string prediction;  // "epsilon", "v_prediction"; empty: from the content
};

struct SingleFile {
  std::map<std::string, ComponentInput> components;  // text_encoder, text_encoder_2, unet, vae
  std::string pipeline;                              // diffusers' class
  Json scheduler;                                    // scheduler_config.json
  std::string kind;                                  // "Stable Diffusion 2", for people
  std::string prediction_from;                       // what decided the prediction type
};

// Whether the tensors are such a checkpoint's: a UNet below model.diffusion_model.
bool is_single_file(const TensorMap& tensors);
// Tensors of other prefixes (EMA copies, training state) are left out. Throws invalid_input naming the tensor that is
// missing or cannot be; unsupported for kinds that are not built (Stable Diffusion 3, Flux); usage where the prediction
// type cannot be known and was not given.
SingleFile split_single_file(const TensorMap& tensors, const SingleFileWishes& wishes);

}  // namespace lathe::frontend

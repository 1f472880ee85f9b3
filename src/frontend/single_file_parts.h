// The models inside a single-file checkpoint, each renamed to diffusers' names; private to single_file.cpp and its
// tests.
#pragma once

#include "frontend/component.h"

namespace lathe::frontend {

constexpr std::string_view kSingleFileUNet = "model.diffusion_model.";
constexpr std::string_view kSingleFileVae = "first_stage_model.";

// A config.json with what the shapes say, and the tensors. All throw invalid_input naming a tensor that is missing or
// whose name has no place.
struct NamedPart {
  Json config;
  TensorMap tensors;
};

NamedPart unet_of_single_file(const TensorMap& tensors, bool two_encoders);
NamedPart vae_of_single_file(const TensorMap& tensors, double scaling_factor);
// OpenAI's text tower, in transformers' names already.
NamedPart clip_text_of_single_file(const TensorMap& tensors, const std::string& prefix);
// OpenCLIP's. `drop_last`: the last layer is not used (Stable Diffusion 2 takes the states before it, then the norm),
// and neither is the projection.
NamedPart open_clip_text(const TensorMap& tensors, const std::string& prefix, bool drop_last, bool projection);

}  // namespace lathe::frontend

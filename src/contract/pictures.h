// What the numbers of a picture pipeline (Stable Diffusion) mean outside its graphs.
#pragma once

#include <cstdint>
#include <string>

namespace lathe::contract {

struct Pictures {
  std::string pipeline;   // diffusers' class: "StableDiffusionPipeline"
  std::string name;       // for people
  std::string source;     // where it was read from
  std::string scheduler;  // scheduler_config.json

  int64_t latent_channels = 4;
  int64_t unet_channels = 4;        // 4: latents; 9: latents, a mask and the latents of the masked picture (inpainting)
  int64_t sample_size = 64;         // side of the latents the UNet was made for
  int64_t latent_scale = 8;         // pixels of a latent's side
  int64_t context_width = 0;        // of the text's states
  int64_t text_tokens = 77;         // a chunk of text, begin and end included
  double scaling_factor = 0.18215;  // latents in the UNet are those of the autoencoder times this
  double shift_factor = 0;          // less this
  bool tiny_autoencoder = false;    // its encoder gives latents, not a distribution
  bool two_encoders = false;        // SDXL: states of two encoders side by side, pooled text and sizes besides
  bool zero_empty_negative = false;  // SDXL: no negative prompt is zeros, not the states of an empty text
  bool guidance_embedded = false;    // LCM: guidance is an input of the UNet (timestep_cond)
  int64_t guidance_width = 0;        // of that input
  bool safety_checker = false;       // there is one, a graph of that name
  std::string feature_extractor;     // preprocessor_config.json of what the checker is shown

  template <class V>
  void visit_fields(V& visitor) {
    visitor("pipeline", pipeline);
    visitor("name", name);
    visitor("source", source);
    visitor("scheduler", scheduler);
    visitor("latent_channels", latent_channels);
    visitor("unet_channels", unet_channels);
    visitor("sample_size", sample_size);
    visitor("latent_scale", latent_scale);
    visitor("context_width", context_width);
    visitor("text_tokens", text_tokens);
    visitor("scaling_factor", scaling_factor);
    visitor("shift_factor", shift_factor);
    visitor("tiny_autoencoder", tiny_autoencoder);
    visitor("two_encoders", two_encoders);
    visitor("zero_empty_negative", zero_empty_negative);
    visitor("guidance_embedded", guidance_embedded);
    visitor("guidance_width", guidance_width);
    visitor("safety_checker", safety_checker);
    visitor("feature_extractor", feature_extractor);
  }
};

// Throws invalid_input naming field and value for what cannot be right.
void check(const Pictures& pictures);

}  // namespace lathe::contract

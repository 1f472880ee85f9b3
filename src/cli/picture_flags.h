// Options of `lathe run` that are for pictures.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "frontend/picture_checkpoint.h"

namespace lathe::cli {

// The prompt and the seed are shared with text.
struct PictureFlags {
  std::optional<std::string> negative_prompt;
  std::optional<int> steps;
  std::optional<double> guidance;
  double guidance_rescale = 0;
  double eta = 0;
  std::string scheduler;
  std::string noise = "torch";
  std::optional<int64_t> width, height;
  int64_t batch = 1;
  int64_t clip_skip = 0;
  std::string image;
  std::string mask;
  std::optional<double> strength;
  std::string output = "out.png";  // .png, .jpg, .jpeg or .webp
  int quality = 92;                // of JPEG and WebP
  std::string like;                // a picture whose settings are taken where nothing else is asked for
  int64_t contact_sheet = 0;       // columns; 0: no sheet
  std::string dump_latents;
  frontend::PictureOptions pipeline;
  bool plain_prompt = false;
  int preview = 0;                   // every so many steps a picture of the latents; 0: none
  std::vector<std::string> compare;  // schedulers
  int reference_steps = 50;          // of the picture that they are compared with
  std::string show = "auto";         // terminal_picture.h
  bool ignore_memory = false;        // begin a run that is predicted to take more than there is

  bool operator==(const PictureFlags&) const = default;
};
void add_picture_flags(CLI::App& command, PictureFlags& flags);

// --variant, --vae, --tokenizer, --prediction, --lora, --embedding, --no-safety-checker: how a pipeline is opened.
void add_pipeline_flags(CLI::App& command, frontend::PictureOptions& options);

// Throws usage for what no picture can have.
void check_picture_flags(const PictureFlags& flags);

}  // namespace lathe::cli

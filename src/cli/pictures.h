// lathe run of a picture pipeline: make pictures, write them.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>

#include "cli/picture_model.h"
#include "cli/verb.h"

namespace lathe::cli {

// Options of run that are for pictures; the prompt and the seed are shared with text.
struct PictureFlags {
  std::optional<std::string> negative_prompt;
  int steps = 0;
  std::optional<double> guidance;
  double guidance_rescale = 0;
  double eta = 0;
  std::string scheduler;
  std::string noise = "torch";
  int64_t width = 0;
  int64_t height = 0;
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
  std::string variant;
  std::string vae;
  std::string tokenizer;
  std::string prediction;
  bool plain_prompt = false;
  bool no_safety_checker = false;

  bool operator==(const PictureFlags&) const = default;
};
void add_picture_flags(CLI::App& command, PictureFlags& flags);

struct PictureRun {
  std::string model;                  // picture_model.h
  std::optional<std::string> prompt;  // nullopt: --like gives it
  std::optional<uint64_t> seed;       // nullopt: --like's, else a random one
  std::string precision = {};  // picture_model.h
  runtime::GraphOptions graph;
  bool check = false;  // an engine's weights
};

// Makes the pictures and writes them: output.png, or output-0.png ... for a batch. Throws as the pipeline does.
Exit run_pictures(PictureRun run, PictureFlags flags, const Output& output);

}  // namespace lathe::cli

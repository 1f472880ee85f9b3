// What verbs do with picture pipelines: open one, make pictures with it, write them.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>

#include "cli/verb.h"
#include "frontend/picture_checkpoint.h"
#include "pipeline/diffuse/diffuse.h"

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
  std::string output = "out.png";
  std::string dump_latents;
  std::string variant;
  std::string vae;
  std::string tokenizer;
  std::string prediction;
  bool plain_prompt = false;
  bool no_safety_checker = false;
};
void add_picture_flags(CLI::App& command, PictureFlags& flags);

struct PictureRun {
  std::string model;  // a diffusers folder
  std::string prompt;
  uint64_t seed = 0;
  runtime::GraphOptions graph;
};

// Makes the pictures and writes them: output.png, or output-0.png ... for a batch. Throws as the pipeline does.
Exit run_pictures(const PictureRun& run, const PictureFlags& flags, const Output& output);

// A pipeline whose graphs are compiled when they are asked for.
std::unique_ptr<pipeline::Diffuser> open_diffuser(std::shared_ptr<const frontend::PictureCheckpoint> checkpoint,
                                                  const pipeline::DiffuserOptions& options);

}  // namespace lathe::cli

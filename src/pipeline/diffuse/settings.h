// The settings a picture was made with, as the text that AUTOMATIC1111's web UI writes into pictures and reads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lathe::pipeline {

struct PictureSettings {
  std::string prompt;
  std::string negative_prompt;
  std::optional<int64_t> steps;
  std::string scheduler;  // a name of the command line, "dpm++2m_karras"; empty: not said, or another program's own
  bool own_scheduler = false;  // the model's own, of that kind but set up in its own way
  std::optional<double> guidance;
  std::optional<uint64_t> seed;
  std::optional<int64_t> width, height;
  std::optional<double> strength;    // picture to picture
  std::optional<int64_t> clip_skip;  // layers of the text encoder left out at its end; the web UI counts from 1
  std::optional<double> guidance_rescale;
  std::optional<double> eta;
  std::string noise;  // "torch", "cuda", "numpy"; empty: not said
  std::string model;
  std::string model_hash;
  std::string version;                                      // of the program
  std::vector<std::pair<std::string, std::string>> others;  // keys without a field above, as they stand

  // What --json shows; `others` are not among it.
  template <class V>
  void visit_fields(V& visitor) {
    visitor("prompt", prompt);
    visitor("negative_prompt", negative_prompt);
    visitor("steps", steps);
    visitor("scheduler", scheduler);
    visitor("own_scheduler", own_scheduler);
    visitor("guidance", guidance);
    visitor("seed", seed);
    visitor("width", width);
    visitor("height", height);
    visitor("strength", strength);
    visitor("clip_skip", clip_skip);
    visitor("guidance_rescale", guidance_rescale);
    visitor("eta", eta);
    visitor("noise", noise);
    visitor("model", model);
    visitor("model_hash", model_hash);
    visitor("version", version);
  }

  bool operator==(const PictureSettings&) const = default;
};

// Under this key the text stands in a PNG.
constexpr std::string_view kSettingsKey = "parameters";

// "prompt", "Negative prompt: ...", and a line "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5,
// Seed: 1, Size: 512x512, ...". What has no value is left out; values with commas, colons, quotes or line breaks are
// quoted as JSON strings.
std::string write_settings(const PictureSettings& settings);

// The other way round. Never throws: what is not in that form is prompt, a value that is not of its kind goes to
// `others`.
PictureSettings read_settings(std::string_view text);

}  // namespace lathe::pipeline

// `lathe bench PIPELINE`: what the models of a picture pipeline and whole pictures take, always with the conditions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/picture_model.h"
#include "cli/verb.h"

namespace lathe::cli {

struct PictureBenchFlags {
  std::optional<int64_t> steps, width, height;
  std::optional<double> guidance;
  int64_t batch = 1;
  std::string scheduler;
  frontend::PictureOptions pipeline;
  bool no_picture = false;  // the models only
  bool reproduce_blog = false;
  bool ignore_memory = false;
  std::string compare;            // an earlier result
  std::vector<std::string> vary;  // conditions that may differ
  std::string precision;          // of the engine's flags

  bool operator==(const PictureBenchFlags&) const = default;
};
void add_picture_bench_flags(CLI::App& command, PictureBenchFlags& flags);

// A pipeline whose figures are taken: open, its request complete.
struct PictureBenchRun {
  PictureModel model;
  pipeline::PictureRequest request;
  runtime::GraphOptions options;
  int repeats = 9;
  Json conditions;
};

Exit bench_pictures(const std::string& model, const PictureBenchFlags& flags, int repeats,
                    const runtime::GraphOptions& options, const Output& output);

// The comparison of docs/comparing-speed.md, wrong and right: pictures of two sizes that are taken for those of two
// programs, and the same program twice at one size.
Exit reproduce_blog(PictureBenchRun run, const Output& output);

}  // namespace lathe::cli

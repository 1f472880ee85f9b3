// From the command line, a picture and its settings to what the pipeline is asked for.
#pragma once

#include "cli/picture_flags.h"
#include "pipeline/diffuse/diffuse.h"
#include "pipeline/diffuse/settings.h"

namespace lathe::cli {

struct PictureRun {
  std::string model;                  // picture_model.h
  std::optional<std::string> prompt;  // nullopt: --like gives it
  std::optional<uint64_t> seed;       // nullopt: --like's, else a random one
  std::string precision = {};         // picture_model.h
  runtime::GraphOptions graph;
  bool check = false;  // an engine's weights
};

// The settings that a picture was made with. Throws usage for one that does not say.
pipeline::PictureSettings settings_of(const std::string& path);
// What is not asked for on the command line is as in the picture.
void take_settings(const pipeline::PictureSettings& settings, PictureRun& run, PictureFlags& flags);

// Pictures are read and brought to the size asked for; `multiple`: of pixels, that sides are taken down to.
pipeline::PictureRequest make_request(const PictureRun& run, const PictureFlags& flags, int64_t multiple);

}  // namespace lathe::cli

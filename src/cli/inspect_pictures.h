// `lathe inspect` of picture pipelines, and of pictures: the settings they were made with.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>

#include "cli/picture_model.h"
#include "cli/verb.h"

namespace lathe::cli {

struct PictureInspectFlags {
  frontend::PictureOptions pipeline;
  // Of the picture whose memory and work are told; 0: the model's own.
  int64_t width = 0, height = 0, batch = 1;

  bool operator==(const PictureInspectFlags&) const = default;
};
void add_picture_inspect_flags(CLI::App& command, PictureInspectFlags& flags);

// A diffusers folder or a single file: its models, what the numbers mean, what a picture takes, what cannot be done
// with it. Prints it and returns it. Throws as opening does.
Json inspect_pictures(const std::filesystem::path& path, const PictureInspectFlags& flags, const Output& output);
// The part that engines have as well.
void report_pictures(const PictureModel& model, const PictureInspectFlags& flags, Json& json, const Output& output);

// PNG, JPEG and WebP, told by their first bytes.
bool is_picture_file(const std::filesystem::path& path);
Json inspect_picture_file(const std::filesystem::path& path, const Output& output);

}  // namespace lathe::cli

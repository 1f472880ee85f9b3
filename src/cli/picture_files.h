// Pictures into files, with the settings they were made with.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/picture_request.h"
#include "cli/verb.h"
#include "image/image.h"

namespace lathe::cli {

// The pictures of a result.
std::vector<image::Image> images_of(const pipeline::PictureResult& result);

// The file's bytes in the format of its extension.
std::string encoded(const std::filesystem::path& path, const image::Image& image, int quality, const std::string& text);

// "out-sheet.png" of "out.png".
std::filesystem::path beside(const std::filesystem::path& path, std::string_view suffix);

// Writes output.png, or output-0.png ... for a batch, and the contact sheet. Returns what --json says of each.
Json write_pictures(const pipeline::PictureRequest& request, const PictureFlags& flags,
                    const pipeline::PictureResult& result, const std::string& model, const Output& output);

}  // namespace lathe::cli

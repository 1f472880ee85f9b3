// The text about a picture that is kept in its file: what it was made with.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "image/image.h"

namespace lathe::image {

// PNG: the text chunk "parameters"; JPEG and WebP: EXIF's user comment. None in other files and where there is none.
// Throws invalid_input for a PNG that is damaged.
std::optional<std::string> find_picture_text(std::span<const std::byte> file);

}  // namespace lathe::image

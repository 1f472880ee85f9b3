// Pictures into JPEG and WebP files (PNG: image.h), and the texts out of a PNG.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "image/image.h"

namespace lathe::image {

// `text`, in UTF-8, becomes EXIF's user comment, where other programs look for a picture's settings; empty: none.
// Quality 1 to 100 (usage otherwise); colour at half the resolution below 90, as Pillow and libjpeg do it, in full from
// there on.
std::string encode_jpeg(const Image& image, int quality, std::string_view text = {});
// Quality 1 to 100 as above; 100 is lossless.
std::string encode_webp(const Image& image, int quality, std::string_view text = {});

// The text chunks of a PNG (tEXt, zTXt, iTXt) in order, without looking at its pixels. Throws invalid_input for what is
// not a PNG or is damaged.
std::vector<PngText> read_png_texts(std::span<const std::byte> file);

}  // namespace lathe::image

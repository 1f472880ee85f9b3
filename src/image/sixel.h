// Pictures as sixels, the graphics of DEC's VT340 that many terminals still show.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "image/image.h"

namespace lathe::image {

using Colour = std::array<uint8_t, 3>;

// At most `colours` (1 to 256) that stand for the picture's: its colours are cut in halves, by pixels, along the
// longest side of the box that holds the most (median cut).
std::vector<Colour> make_palette(const Image& rgb, size_t colours);

// The picture as an escape sequence (device control string with raster attributes), in a palette of at most 256
// colours. Throws unsupported for other channels than 1 and 3, usage for pictures of more than 4096 pixels a side.
std::string encode_sixel(const Image& image);

}  // namespace lathe::image

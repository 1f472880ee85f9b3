// Pictures in other sizes, and several in one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "image/image.h"

namespace lathe::image {

enum class Filter { bilinear, bicubic, lanczos };

// As Image.resize of Pillow 13, byte for byte: the filter is as wide as a pixel of the smaller picture; rows and
// columns one after the other, rounded to bytes between. Throws usage for a size below 1 or of more than kMaxPixels.
Image resize(const Image& image, int64_t width, int64_t height, Filter filter);

// In a grid with so many columns, each picture in the middle of its cell, `gap` pixels of the background's grey between
// the cells and around them. Throws usage without pictures or columns, or for more than kMaxPixels.
Image contact_sheet(std::span<const Image> images, int64_t columns, int64_t gap, uint8_t background);

// A model's picture, [3, height, width] from -1 to 1: x * 2 / 255 - 1 of the red, green and blue bytes; and back,
// clamped, (x / 2 + 0.5) * 255 rounded half to even, as diffusers' VaeImageProcessor does both.
std::vector<float> to_planes(const Image& image);
Image from_planes(std::span<const float> planes, int64_t width, int64_t height);

}  // namespace lathe::image

// What a run is about to draw: its latents, made few enough for the decoder to be cheap.
#pragma once

#include <cstdint>
#include <span>

#include "contract/pictures.h"
#include "tensor/tensor.h"

namespace lathe::pipeline {

// Latents that a preview has a side of, at most: a decode of a seventh of those of a 512 x 512 picture.
constexpr int64_t kPreviewSide = 24;

// [1, channels, h, w] for one picture's latents [channels, height, width]: means of square blocks, which takes noise
// out as well. What is still mostly noise (a deviation well above that of pictures) is toned down.
tensor::Tensor preview_latents(const contract::Pictures& contract, std::span<const float> latents, int64_t height,
                               int64_t width);

}  // namespace lathe::pipeline

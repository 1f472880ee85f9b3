// Hiding pictures that a pipeline's classifier (diffusers' StableDiffusionSafetyChecker) finds unsafe.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "contract/pictures.h"
#include "image/image.h"
#include "tensor/tensor.h"

namespace lathe::pipeline {

// What the classifier is shown of a picture, f32 [1, 3, height, width]: resized by its shorter side, cut to its middle
// and normalised as preprocessor_config.json says (transformers' CLIPImageProcessor on Pillow). Throws invalid_input,
// unsupported naming the key.
tensor::Tensor classifier_input(const image::Image& picture, const std::string& preprocessor_config);

// From how much nearer than its threshold a picture is to each concept: whether to hide it. Scores are rounded to
// thousandths; one of the special concepts makes the others count from 0.01 below their thresholds on.
bool is_unsafe(std::span<const float> concept_scores, std::span<const float> special_scores);

// Whether the picture of this input is to be hidden.
using Classifier = std::function<bool(const tensor::Tensor& clip_input)>;

// Makes the unsafe ones of images, f32 [batch, 3, height, width] of -1 to 1, black; which those were.
std::vector<bool> hide_unsafe(const contract::Pictures& contract, tensor::Tensor& images, const Classifier& classify);

}  // namespace lathe::pipeline

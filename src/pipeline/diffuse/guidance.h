// Classifier-free guidance: "Classifier-Free Diffusion Guidance", equation 6; its rescaling: "Common Diffusion Noise
// Schedules and Sample Steps are Flawed", section 3.4.
#pragma once

#include <span>
#include <vector>

namespace lathe::pipeline {

// e = without + scale (with - without), in place of `without`; all [batch, size]. rescale > 0: each picture's e is
// brought towards the deviation of its `with`, that much.
void guide(std::span<float> without, std::span<const float> with, double scale, double rescale, size_t batch);

// The guidance scale as sinusoids of `width` numbers, for UNets that take it as an input (latent consistency models,
// section 4.3 of their paper, after diffusers' get_guidance_scale_embedding).
std::vector<float> guidance_embedding(double scale, size_t width);

}  // namespace lathe::pipeline

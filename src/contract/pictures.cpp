#include "contract/pictures.h"

#include <cmath>

#include "base/error.h"

namespace lathe::contract {
namespace {

void check_range(const char* field, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) {
    fail(ErrorCode::invalid_input, "{}: expected {} to {}, found {}", field, low, high, value);
  }
}

}  // namespace

void check(const Pictures& pictures) {
  check_range("latent_channels", pictures.latent_channels, 1, 1 << 12);
  check_range("sample_size", pictures.sample_size, 1, 1 << 14);
  check_range("latent_scale", pictures.latent_scale, 1, 1 << 10);
  check_range("context_width", pictures.context_width, 1, 1 << 20);
  check_range("text_tokens", pictures.text_tokens, 3, 1 << 16);
  const int64_t plain = pictures.latent_channels, inpainting = 2 * plain + 1;
  if (pictures.unet_channels != plain && pictures.unet_channels != inpainting) {
    fail(ErrorCode::invalid_input,
         "the UNet takes {} channels; an autoencoder of {} latent channels gives {}, or {} for inpainting",
         pictures.unet_channels, plain, plain, inpainting);
  }
  if (!(std::isfinite(pictures.scaling_factor) && pictures.scaling_factor > 0)) {
    fail(ErrorCode::invalid_input, "scaling_factor: expected a number above 0, found {}", pictures.scaling_factor);
  }
  if (!std::isfinite(pictures.shift_factor))
    fail(ErrorCode::invalid_input, "shift_factor is {}", pictures.shift_factor);
  if (pictures.guidance_embedded) check_range("guidance_width", pictures.guidance_width, 2, 1 << 16);
}

}  // namespace lathe::contract

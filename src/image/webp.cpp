// WebP by libwebp: still pictures, lossy and lossless.
#include <webp/decode.h>

#include "image/formats.h"

namespace lathe::image {

Image decode_webp(Bytes file) {
  const auto* data = reinterpret_cast<const uint8_t*>(file.data());
  WebPBitstreamFeatures features;
  const VP8StatusCode status = WebPGetFeatures(data, file.size(), &features);
  if (status != VP8_STATUS_OK) fail(ErrorCode::invalid_input, "WebP: header status {}", int(status));
  if (features.has_animation) fail(ErrorCode::unsupported, "WebP: an animation");
  Image image = make_image(uint64_t(features.width), uint64_t(features.height), 3);
  if (!WebPDecodeRGBInto(data, file.size(), image.pixels.data(), image.pixels.size(), int(image.width) * 3))
    fail(ErrorCode::invalid_input, "WebP: damaged picture");
  return image;
}

}  // namespace lathe::image

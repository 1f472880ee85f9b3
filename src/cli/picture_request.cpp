#include "cli/picture_request.h"

#include <algorithm>

#include "base/file.h"
#include "image/picture_text.h"
#include "image/resize.h"

namespace lathe::cli {
namespace {

using tensor::DType;
using tensor::Tensor;

image::Image read_image(const std::string& path) {
  const auto file = MappedFile::open(path);
  return with_context(path, [&] { return image::decode(file->bytes()); });
}

// The picture to begin with, and its mask. Sizes not asked for are the picture's own, down to whole latents.
void read_pictures(const PictureFlags& flags, int64_t multiple, pipeline::PictureRequest& request) {
  if (flags.image.empty()) {
    if (!flags.mask.empty()) fail(ErrorCode::usage, "--mask needs --image");
    return;
  }
  const image::Image image = image::to_rgb(read_image(flags.image));
  if (request.width == 0) request.width = image.width / multiple * multiple;
  if (request.height == 0) request.height = image.height / multiple * multiple;
  // As diffusers' image processors: by Lanczos, the mask too.
  const auto fitted = [&](const image::Image& found) {
    const bool fits = found.width == request.width && found.height == request.height;
    return fits ? found : image::resize(found, request.width, request.height, image::Filter::lanczos);
  };
  const std::vector<float> planes = image::to_planes(fitted(image));
  request.image = Tensor::of<float>({1, 3, request.height, request.width}, std::span<const float>(planes));
  if (flags.mask.empty()) return;
  const image::Image mask = fitted(image::to_grey(read_image(flags.mask)));
  request.mask = Tensor(DType::f32, {1, 1, request.height, request.width});
  std::transform(mask.pixels.begin(), mask.pixels.end(), request.mask.data<float>().begin(),
                 [](uint8_t pixel) { return float(pixel) / 255.0f >= 0.5f ? 1.0f : 0.0f; });
}

}  // namespace

pipeline::PictureSettings settings_of(const std::string& path) {
  const auto file = MappedFile::open(path);
  const auto text = with_context(path, [&] { return image::find_picture_text(file->bytes()); });
  if (!text) fail(ErrorCode::usage, "--like {}: the picture does not say how it was made", path);
  return pipeline::read_settings(*text);
}

void take_settings(const pipeline::PictureSettings& settings, PictureRun& run, PictureFlags& flags) {
  if (!run.prompt) run.prompt = settings.prompt;
  if (!run.seed) run.seed = settings.seed;
  if (!flags.negative_prompt && !settings.negative_prompt.empty()) flags.negative_prompt = settings.negative_prompt;
  if (!flags.steps && settings.steps) flags.steps = int(*settings.steps);
  if (!flags.guidance) flags.guidance = settings.guidance;
  if (flags.scheduler.empty() && !settings.own_scheduler) flags.scheduler = settings.scheduler;
  if (!flags.width) flags.width = settings.width;
  if (!flags.height) flags.height = settings.height;
  if (!flags.strength) flags.strength = settings.strength;
  if (flags.clip_skip == 0) flags.clip_skip = settings.clip_skip.value_or(0);
  if (flags.guidance_rescale == 0) flags.guidance_rescale = settings.guidance_rescale.value_or(0);
  if (flags.eta == 0) flags.eta = settings.eta.value_or(0);
  if (flags.noise == "torch" && !settings.noise.empty()) flags.noise = settings.noise;
}

pipeline::PictureRequest make_request(const PictureRun& run, const PictureFlags& flags, int64_t multiple) {
  pipeline::PictureRequest request;
  if (!run.prompt) fail(ErrorCode::usage, "give one of --prompt, --file and --like");
  request.prompt = *run.prompt;
  request.negative_prompt = flags.negative_prompt;
  request.width = flags.width.value_or(0);
  request.height = flags.height.value_or(0);
  request.steps = flags.steps.value_or(0);
  request.guidance = flags.guidance.value_or(-1);
  request.guidance_rescale = flags.guidance_rescale;
  request.eta = flags.eta;
  request.seed = run.seed.value_or(0);
  request.noise = flags.noise;
  request.batch = flags.batch;
  request.clip_skip = flags.clip_skip;
  request.scheduler = flags.scheduler;
  request.plain_prompt = flags.plain_prompt;
  request.safety_checker = flags.pipeline.safety_checker;
  request.strength = flags.strength.value_or(-1);
  read_pictures(flags, multiple, request);
  return request;
}

}  // namespace lathe::cli

#include "cli/picture_files.h"

#include <cmath>

#include "base/file.h"
#include "image/encode.h"
#include "image/resize.h"
#include "io/npy.h"

namespace lathe::cli {
namespace {

namespace fs = std::filesystem;

// F.png, or F-0.png ... for a batch.
fs::path output_path(const std::string& output, int64_t index, int64_t batch) {
  const fs::path path = output;
  if (batch == 1) return path;
  return beside(path, fmt::format("-{}", index));
}

// A picture of one colour, or one that is all black and white, is what broken pipelines give.
std::string suspicion(const image::Image& image) {
  double sum = 0, squares = 0;
  int64_t extreme = 0;
  for (const uint8_t pixel : image.pixels) {
    sum += pixel;
    squares += double(pixel) * pixel;
    extreme += pixel == 0 || pixel == 255;
  }
  const double count = double(image.pixels.size());
  const double deviation = std::sqrt(std::max(0.0, squares / count - sum / count * (sum / count)));
  if (deviation < 1) return fmt::format("blank: its pixels deviate by {:.2f} of 255", deviation);
  if (double(extreme) > 0.98 * count)
    return fmt::format("saturated: {:.1f} % of it is 0 or 255", 100 * double(extreme) / count);
  return "";
}

std::string settings_text(const pipeline::PictureRequest& request, const pipeline::PictureResult& result,
                          const std::string& model, int64_t index) {
  pipeline::PictureSettings settings;
  settings.prompt = request.prompt;
  settings.negative_prompt = request.negative_prompt.value_or("");
  settings.steps = result.steps;
  settings.scheduler = result.scheduler_name;
  settings.own_scheduler = result.scheduler_is_own && request.scheduler.empty();
  settings.guidance = result.guidance;
  settings.seed = request.seed + uint64_t(index);
  settings.width = result.width;
  settings.height = result.height;
  if (request.image.defined()) settings.strength = result.strength;
  if (request.clip_skip > 0) settings.clip_skip = request.clip_skip;
  if (request.guidance_rescale > 0) settings.guidance_rescale = request.guidance_rescale;
  if (request.eta > 0) settings.eta = request.eta;
  if (request.noise != "torch") settings.noise = request.noise;
  settings.model = model;
  settings.version = "lathe " LATHE_VERSION;
  return pipeline::write_settings(settings);
}

}  // namespace

std::filesystem::path beside(const fs::path& path, std::string_view suffix) {
  return path.parent_path() / fmt::format("{}{}{}", path.stem().string(), suffix, path.extension().string());
}

std::vector<image::Image> images_of(const pipeline::PictureResult& result) {
  std::vector<image::Image> images;
  const auto planes = result.images.data<float>();
  const size_t size = size_t(3 * result.width * result.height);
  for (size_t at = 0; at + size <= planes.size(); at += size) {
    images.push_back(image::from_planes(planes.subspan(at, size), result.width, result.height));
  }
  return images;
}

std::string encoded(const fs::path& path, const image::Image& image, int quality, const std::string& text) {
  const std::string extension = path.extension().string();
  if (extension == ".png") {
    const image::PngText chunk{std::string(pipeline::kSettingsKey), text};
    return image::encode_png(image, text.empty() ? std::span<const image::PngText>() : std::span(&chunk, 1));
  }
  return extension == ".webp" ? image::encode_webp(image, quality, text) : image::encode_jpeg(image, quality, text);
}

Json write_pictures(const pipeline::PictureRequest& request, const PictureFlags& flags,
                    const pipeline::PictureResult& result, const std::string& model, const Output& output) {
  Json files = Json::array();
  const std::vector<image::Image> images = images_of(result);
  for (int64_t i = 0; i < flags.batch; ++i) {
    const fs::path path = output_path(flags.output, i, flags.batch);
    const image::Image& image = images[size_t(i)];
    const bool hidden = !result.hidden.empty() && result.hidden[size_t(i)];
    if (const std::string found = hidden ? "" : suspicion(image); !found.empty()) {
      output.note(fmt::format("warning: {} is {}", path.string(), found));
    }
    write_text_file(path, encoded(path, image, flags.quality, settings_text(request, result, model, i)));
    files.push_back({{"file", path.string()}, {"seed", request.seed + uint64_t(i)}});
    if (!result.hidden.empty()) files.back()["hidden"] = hidden;
    output.print(path.string());
  }
  if (flags.contact_sheet > 0) {
    constexpr int64_t kGap = 8;
    constexpr uint8_t kBackground = 128;
    const fs::path path = beside(flags.output, "-sheet");
    write_text_file(
        path, encoded(path, image::contact_sheet(images, flags.contact_sheet, kGap, kBackground), flags.quality, ""));
    output.print(path.string());
  }
  if (!flags.dump_latents.empty()) io::write_npy(flags.dump_latents, result.latents);
  return files;
}

}  // namespace lathe::cli

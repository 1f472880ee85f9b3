#include "pipeline/diffuse/safety.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "contract/classifier_size.h"
#include "image/resize.h"

namespace lathe::pipeline {
namespace {

using contract::classifier_flag;
using contract::ClassifierSize;
using tensor::DType;
using tensor::Tensor;

// CLIP's statistics of pixels, which older files leave out.
constexpr std::array<double, 3> kMean = {0.48145466, 0.4578275, 0.40821073};
constexpr std::array<double, 3> kDeviation = {0.26862954, 0.26130258, 0.27577711};

std::array<double, 3> three_numbers(const Json& config, std::string_view key, std::array<double, 3> otherwise) {
  const Json* member = find_member(config, key);
  if (!member) return otherwise;
  std::array<double, 3> numbers{};
  const bool fits = member->is_array() && member->size() == 3 &&
                    std::ranges::all_of(*member, [](const Json& item) { return item.is_number(); });
  if (!fits) fail(ErrorCode::invalid_input, "{}: expected 3 numbers, found {}", key, member->dump());
  for (size_t i = 0; i < 3; ++i) numbers[i] = (*member)[i].get<double>();
  return numbers;
}

// Pillow's numbers of its filters.
image::Filter filter_of(const Json& config) {
  const int64_t resample = find_int(config, "resample").value_or(3);
  if (resample == 1) return image::Filter::lanczos;
  if (resample == 2) return image::Filter::bilinear;
  if (resample != 3) fail(ErrorCode::unsupported, "resample {} (1 Lanczos, 2 bilinear and 3 bicubic are)", resample);
  return image::Filter::bicubic;
}

// The middle of the picture as [height, width] of (pixel * factor - mean) / deviation in planes; black where the
// picture does not reach.
Tensor normalised(const image::Image& picture, int64_t width, int64_t height, const Json& config) {
  const bool rescale = classifier_flag(config, "do_rescale");
  const double factor = rescale ? find_number(config, "rescale_factor").value_or(1.0 / 255) : 1;
  const bool normalise = classifier_flag(config, "do_normalize");
  const auto mean = three_numbers(config, "image_mean", kMean),
             deviation = three_numbers(config, "image_std", kDeviation);
  const int64_t top = (picture.height - height) / 2, left = (picture.width - width) / 2;
  Tensor planes(DType::f32, {1, 3, height, width});
  float* out = planes.data<float>().data();
  for (size_t c = 0; c < 3; ++c) {
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        const int64_t from_y = y + top, from_x = x + left;
        const bool inside = from_y >= 0 && from_y < picture.height && from_x >= 0 && from_x < picture.width;
        const uint8_t pixel = inside ? picture.pixels[size_t((from_y * picture.width + from_x) * 3) + c] : 0;
        const double value = double(pixel) * factor;
        *out++ = float(normalise ? (value - mean[c]) / deviation[c] : value);
      }
    }
  }
  return planes;
}

}  // namespace

Tensor classifier_input(const image::Image& picture, const std::string& preprocessor_config) {
  const Json config = parse_json(preprocessor_config, "preprocessor_config.json");
  return with_context("preprocessor_config.json", [&] {
    const ClassifierSize fitted = contract::resized_for_classifier(picture.width, picture.height, config);
    const ClassifierSize shown = contract::cropped_for_classifier(fitted, config);
    if (!classifier_flag(config, "do_resize")) return normalised(picture, shown.width, shown.height, config);
    return normalised(image::resize(picture, fitted.width, fitted.height, filter_of(config)), shown.width,
                      shown.height, config);
  });
}

bool is_unsafe(std::span<const float> concept_scores, std::span<const float> special_scores) {
  const auto above = [](float score) { return std::nearbyint(score * 1000) > 0; };
  const float nearer = std::ranges::any_of(special_scores, above) ? 0.01f : 0;
  return std::ranges::any_of(concept_scores, [&](float score) { return above(score + nearer); });
}

std::vector<bool> hide_unsafe(const contract::Pictures& contract, Tensor& images, const Classifier& classify) {
  const tensor::Dims dims = images.dims();
  std::vector<bool> hidden;
  const std::span<float> all = images.data<float>();
  const size_t size = all.size() / size_t(dims[0]);
  for (int64_t i = 0; i < dims[0]; ++i) {
    const std::span<float> one = all.subspan(size_t(i) * size, size);
    const image::Image picture = image::from_planes(one, dims[3], dims[2]);
    hidden.push_back(classify(classifier_input(picture, contract.feature_extractor)));
    if (hidden.back()) std::ranges::fill(one, -1.0f);
  }
  return hidden;
}

}  // namespace lathe::pipeline

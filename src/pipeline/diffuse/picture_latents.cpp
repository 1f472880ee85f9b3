#include "pipeline/diffuse/picture_latents.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/fields.h"

namespace lathe::pipeline {
namespace {

using tensor::DType;
using tensor::Tensor;

// A sample of the distribution in `parameters` [1, 2 channels, h, w]: mean and log variance, clamped to +-30 and 20 as
// in "Auto-Encoding Variational Bayes" by diffusers' DiagonalGaussianDistribution.
void sample_distribution(std::span<const float> parameters, std::span<const float> noise, std::span<float> out) {
  const size_t size = out.size();
  for (size_t i = 0; i < size; ++i) {
    const float log_variance = std::clamp(parameters[size + i], -30.0f, 20.0f);
    out[i] = parameters[i] + std::exp(0.5f * log_variance) * noise[i];
  }
}

}  // namespace

contract::SchedulerConfig scheduler_config(const contract::Pictures& contract, const PictureRequest& request) {
  const bool inpainting = request.mask.defined();
  Json config = contract::parse_scheduler_json(contract.scheduler, "scheduler_config.json");
  if (!contract.two_encoders && !contract.guidance_embedded) {
    config = contract::as_pipeline_loads(
        config, inpainting ? contract::LoadedBy::stable_diffusion_inpainting : contract::LoadedBy::stable_diffusion);
  }
  return request.scheduler.empty() ? contract::read_scheduler(config)
                                   : contract::switch_scheduler(config, request.scheduler);
}

SchedulerName scheduler_name(const contract::Pictures& contract, const PictureRequest& request) {
  const contract::SchedulerConfig used = scheduler_config(contract, request);
  const bool sde = used.algorithm_type == contract::AlgorithmType::sde_dpmsolver_pp;
  SchedulerName found;
  for (const std::string& name : contract::scheduler_names()) {
    const bool karras = name.ends_with("_karras"), wants_sde = name.starts_with("dpm++2m_sde");
    if (contract::scheduler_class(name) != used.class_name) continue;
    if ((karras && !used.use_karras_sigmas) || (wants_sde && !sde)) continue;
    PictureRequest asked = request;
    asked.scheduler = name;
    const bool exact = to_json(scheduler_config(contract, asked)) == to_json(used);
    if (exact < found.exact) continue;
    if (exact == found.exact && name.size() <= found.name.size()) continue;
    found = {name, exact};
  }
  return found;
}

PictureLatents::PictureLatents(const contract::Pictures& contract, const PictureRequest& request, Encoder encoder)
    : contract_(contract),
      request_(request),
      encoder_(std::move(encoder)),
      height_(request.height / contract.latent_scale),
      width_(request.width / contract.latent_scale),
      size_(size_t(contract.latent_channels * height_ * width_)) {
  for (int64_t i = 0; i < request.batch; ++i)
    random_.push_back(make_normal_source(request.noise, request.seed + uint64_t(i)));
}

std::vector<float> PictureLatents::draw() {
  std::vector<float> noise(size_ * random_.size());
  for (size_t i = 0; i < random_.size(); ++i) random_[i]->fill(std::span(noise).subspan(i * size_, size_));
  return noise;
}

std::vector<float> PictureLatents::drawn(const Tensor& picture) {
  const bool draws = encoder_.draws();
  const bool given = contract_.tiny_autoencoder && !draws;
  std::vector<float> noise = given ? std::vector<float>() : draw();
  const auto noise_of = [&](size_t i) { return std::span(noise).subspan(i * size_, size_); };
  const size_t expected = contract_.tiny_autoencoder ? size_ : 2 * size_;
  std::vector<float> latents(size_ * random_.size());
  Tensor result;
  for (size_t i = 0; i < random_.size(); ++i) {
    const auto out = std::span(latents).subspan(i * size_, size_);
    if (i == 0 || draws) {
      const tensor::Dims dims = {1, contract_.latent_channels, height_, width_};
      result = encoder_.run(picture, draws ? Tensor::of<float>(dims, noise_of(i)) : Tensor());
    }
    const auto values = std::as_const(result).data<float>();
    if (values.size() != expected) {
      fail(ErrorCode::invalid_input, "vae_encoder gives {}{}, expected {} numbers", tensor::to_string(result.dtype()),
           tensor::to_string(std::span(result.dims())), expected);
    }
    if (contract_.tiny_autoencoder) {
      std::copy(values.begin(), values.end(), out.begin());
    } else {
      sample_distribution(values, noise_of(i), out);
    }
  }
  return latents;
}

std::vector<float> PictureLatents::encoded(const Tensor& picture) {
  std::vector<float> latents = drawn(picture);
  const float scale = float(contract_.scaling_factor), shift = float(contract_.shift_factor);
  for (float& value : latents) value = (value - shift) * scale;
  return latents;
}

// The nearest pixel of each latent, and the picture without what is painted.
void PictureLatents::set_mask() {
  const auto mask = request_.mask.data<float>();
  mask_.resize(size_t(height_ * width_));
  const int64_t scale = contract_.latent_scale;
  for (int64_t y = 0; y < height_; ++y) {
    for (int64_t x = 0; x < width_; ++x) {
      mask_[size_t(y * width_ + x)] = mask[size_t(y * scale * request_.width + x * scale)];
    }
  }
  Tensor kept = Tensor::of<float>(request_.image.dims(), request_.image.data<float>());
  const auto pixels = kept.data<float>();
  for (size_t i = 0; i < pixels.size(); ++i) {
    if (mask[i % mask.size()] >= 0.5f) pixels[i] = 0;
  }
  masked_picture_ = encoded(kept);
}

void PictureLatents::begin(const Scheduler& scheduler) {
  const bool whole = !request_.image.defined() || (request_.mask.defined() && request_.strength == 1);
  const bool knows_mask = contract_.unet_channels != contract_.latent_channels;
  // The picture itself is needed where noise is mixed into it or what the mask keeps is put back.
  if (request_.image.defined() && (!whole || !knows_mask)) picture_ = encoded(request_.image);
  noise_ = draw();
  sample_ = noise_;
  if (whole) {
    for (float& value : sample_) value *= scheduler.init_noise_sigma();
  } else {
    sample_ = picture_;
    scheduler.add_noise(0, noise_, sample_);
  }
  if (request_.mask.defined()) set_mask();
}

Tensor PictureLatents::model_input(const Scheduler& scheduler, size_t call, int64_t rows) const {
  const size_t plane = size_t(height_ * width_);
  Tensor input(DType::f32, {rows, contract_.unet_channels, height_, width_});
  std::vector<float> scaled = sample_;
  scheduler.scale_model_input(call, scaled);
  float* out = input.data<float>().data();
  for (int64_t row = 0; row < rows; ++row) {
    const size_t at = size_t(row % request_.batch) * size_;
    out = std::copy_n(scaled.data() + at, size_, out);
    if (contract_.unet_channels == contract_.latent_channels) continue;
    out = std::copy_n(mask_.data(), plane, out);
    out = std::copy_n(masked_picture_.data() + at, size_, out);
  }
  return input;
}

void PictureLatents::step(Scheduler& scheduler, size_t call, std::span<const float> output) {
  scheduler.step(call, output, sample_, [&](std::span<float> noise) {
    const std::vector<float> drawn = draw();
    LATHE_CHECK(noise.size() == drawn.size(), "noise for {} numbers, not {}", noise.size(), drawn.size());
    std::copy(drawn.begin(), drawn.end(), noise.begin());
  });
  if (mask_.empty() || contract_.unet_channels != contract_.latent_channels) return;
  std::vector<float> kept = picture_;
  if (call + 1 < scheduler.timesteps().size()) scheduler.add_noise(call + 1, noise_, kept);
  for (size_t i = 0; i < sample_.size(); ++i) {
    const float painted = mask_[i % mask_.size()];
    sample_[i] = (1 - painted) * kept[i] + painted * sample_[i];
  }
}

Tensor PictureLatents::tensor() const {
  return Tensor::of<float>({request_.batch, contract_.latent_channels, height_, width_},
                           std::span<const float>(sample_));
}

Tensor decode_latents(const contract::Pictures& contract, const Tensor& latents,
                      const std::function<Tensor(const Tensor& unscaled)>& decode) {
  const tensor::Dims& dims = latents.dims();
  const int64_t scale = contract.latent_scale;
  Tensor images(DType::f32, {dims[0], 3, dims[2] * scale, dims[3] * scale});
  const size_t size = size_t(dims[1] * dims[2] * dims[3]);
  const size_t pixels = images.data<float>().size() / size_t(dims[0]);
  for (int64_t i = 0; i < dims[0]; ++i) {
    Tensor one(DType::f32, {1, dims[1], dims[2], dims[3]});
    const auto from = latents.data<float>().subspan(size_t(i) * size, size);
    const float divisor = float(contract.scaling_factor), shift = float(contract.shift_factor);
    std::transform(from.begin(), from.end(), one.data<float>().begin(), [&](float v) { return v / divisor + shift; });
    const Tensor decoded = decode(one);
    const auto values = decoded.data<float>();
    if (values.size() != pixels) {
      fail(ErrorCode::invalid_input, "vae_decoder gives {}{}, expected {} numbers", tensor::to_string(decoded.dtype()),
           tensor::to_string(std::span(decoded.dims())), pixels);
    }
    std::copy(values.begin(), values.end(), images.data<float>().begin() + std::ptrdiff_t(size_t(i) * pixels));
  }
  return images;
}

}  // namespace lathe::pipeline

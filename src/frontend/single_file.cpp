#include "frontend/single_file.h"

#include <cmath>

#include "base/error.h"
#include "frontend/single_file_parts.h"

namespace lathe::frontend {
namespace {

constexpr std::string_view kFirstText = "cond_stage_model.transformer.";
constexpr std::string_view kOpenClipText = "cond_stage_model.model.";
constexpr std::string_view kXlFirstText = "conditioner.embedders.0.transformer.";
constexpr std::string_view kXlSecondText = "conditioner.embedders.1.model.";

bool has_prefix(const TensorMap& tensors, std::string_view prefix) {
  const auto it = tensors.lower_bound(prefix);
  return it != tensors.end() && it->first.starts_with(prefix);
}

// Published schedules of the three families (scheduler_config.json of their diffusers folders).
Json scheduler_config(std::string_view class_name, const std::string& prediction) {
  Json config = {{"_class_name", std::string(class_name)},
                 {"beta_start", 0.00085},
                 {"beta_end", 0.012},
                 {"beta_schedule", "scaled_linear"},
                 {"num_train_timesteps", 1000},
                 {"prediction_type", prediction},
                 {"steps_offset", 1}};
  if (class_name == "EulerDiscreteScheduler") {
    config["timestep_spacing"] = "leading";
    config["interpolation_type"] = "linear";
    return config;
  }
  config["set_alpha_to_one"] = false;
  if (class_name == "PNDMScheduler") config["skip_prk_steps"] = true;
  if (class_name == "DDIMScheduler") config["clip_sample"] = false;
  return config;
}

double deviation(const tensor::Source& source) {
  std::vector<float> values(size_t(source.rows() * source.row_elements()));
  source.read_rows_f32(0, source.rows(), values);
  double mean = 0, squares = 0;
  for (const float value : values) mean += value;
  mean /= double(values.size());
  for (const float value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / double(values.size() - 1));
}

// Stable Diffusion 2 comes in two kinds with the same shapes. A norm's bias in the last block is far wider spread in
// the one that predicts v (the threshold that ComfyUI uses).
constexpr std::string_view kTelling = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias";
constexpr double kTellingDeviation = 0.09;

std::pair<std::string, std::string> prediction_of(const TensorMap& tensors, bool version2,
                                                  const SingleFileWishes& wishes) {
  if (!wishes.prediction.empty()) {
    if (wishes.prediction != "epsilon" && wishes.prediction != "v_prediction") {
      fail(ErrorCode::usage, "--prediction {}: expected epsilon or v_prediction", wishes.prediction);
    }
    return {wishes.prediction, "--prediction"};
  }
  if (tensors.contains("v_pred")) return {"v_prediction", "the tensor \"v_pred\""};
  if (!version2) return {"epsilon", "all published models of its kind"};
  const auto telling = tensors.find(kTelling);
  if (telling == tensors.end()) {
    fail(ErrorCode::usage,
         "this file does not say whether the model predicts epsilon or v, and \"{}\" is not there to tell: give "
         "--prediction epsilon or --prediction v_prediction",
         kTelling);
  }
  const double found = deviation(*telling->second);
  return {found > kTellingDeviation ? "v_prediction" : "epsilon",
          fmt::format("the deviation of {}: {:.3f} ({} {})", kTelling, found,
                      found > kTellingDeviation ? "above" : "not above", kTellingDeviation)};
}

ComponentInput component(std::string role, NamedPart part) {
  return {.role = std::move(role), .config = std::move(part.config), .tensors = std::move(part.tensors)};
}

}  // namespace

bool is_single_file(const TensorMap& tensors) {
  return has_prefix(tensors, kSingleFileUNet);
}

SingleFile split_single_file(const TensorMap& tensors, const SingleFileWishes& wishes) {
  for (const auto& [prefix, kind] : {std::pair{"model.diffusion_model.joint_blocks.", "Stable Diffusion 3"},
                                     {"model.diffusion_model.double_blocks.", "Flux"}}) {
    if (has_prefix(tensors, prefix)) fail(ErrorCode::unsupported, "{} is not supported", kind);
  }
  SingleFile file;
  const bool xl = has_prefix(tensors, kXlSecondText);
  const bool version2 = !xl && has_prefix(tensors, kOpenClipText);
  if (!xl && !version2 && !has_prefix(tensors, kFirstText)) {
    fail(ErrorCode::unsupported, "no text encoder in this file (below {}, {} or {})", kFirstText, kOpenClipText,
         kXlSecondText);
  }
  file.kind = xl ? "Stable Diffusion XL" : version2 ? "Stable Diffusion 2" : "Stable Diffusion 1";
  std::string prediction;
  std::tie(prediction, file.prediction_from) = prediction_of(tensors, version2, wishes);
  file.scheduler = scheduler_config(xl         ? "EulerDiscreteScheduler"
                                    : version2 ? "DDIMScheduler"
                                               : "PNDMScheduler",
                                    prediction);

  ComponentInput unet = component("unet", unet_of_single_file(tensors, xl));
  const bool inpainting = unet.config["in_channels"] != unet.config["out_channels"];
  unet.config["sample_size"] = xl ? 128 : version2 && prediction == "v_prediction" ? 96 : 64;
  file.pipeline = fmt::format("StableDiffusion{}{}Pipeline", xl ? "XL" : "", inpainting ? "Inpaint" : "");
  file.components.emplace("unet", std::move(unet));
  file.components.emplace("vae", component("vae", vae_of_single_file(tensors, xl ? 0.13025 : 0.18215)));
  if (version2) {
    file.components.emplace(
        "text_encoder", component("text_encoder", open_clip_text(tensors, std::string(kOpenClipText), true, false)));
    return file;
  }
  const std::string_view first = xl ? kXlFirstText : kFirstText;
  if (has_prefix(tensors, first)) {
    file.components.emplace("text_encoder",
                            component("text_encoder", clip_text_of_single_file(tensors, std::string(first))));
  }
  if (xl) {
    file.components.emplace(
        "text_encoder_2",
        component("text_encoder_2", open_clip_text(tensors, std::string(kXlSecondText), false, true)));
  }
  return file;
}

}  // namespace lathe::frontend

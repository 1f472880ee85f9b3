#include "pipeline/diffuse/diffuse.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "pipeline/diffuse/guidance.h"
#include "pipeline/diffuse/picture_latents.h"
#include "pipeline/diffuse/picture_memory.h"
#include "pipeline/diffuse/prompt_states.h"
#include "pipeline/diffuse/safety.h"

namespace lathe::pipeline {
namespace {

using tensor::DType;
using tensor::Tensor;
using Clock = std::chrono::steady_clock;

constexpr int64_t kLargestSide = 1 << 14;
constexpr int kMostSteps = 10000;
constexpr int64_t kLargestBatch = 1024;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void check_side(const char* name, int64_t pixels, int64_t multiple) {
  if (pixels < multiple || pixels > kLargestSide || pixels % multiple != 0) {
    fail(ErrorCode::usage, "--{} {}: expected a multiple of {} up to {}", name, pixels, multiple, kLargestSide);
  }
}

void check_range(const char* name, double value, double low, double high) {
  if (!(value >= low && value <= high)) fail(ErrorCode::usage, "--{} {}: expected {} to {}", name, value, low, high);
}

// A picture's tensor must be f32 [1, channels, height, width].
void check_picture(const char* name, const Tensor& picture, int64_t channels, const PictureRequest& request) {
  const tensor::Dims expected = {1, channels, request.height, request.width};
  if (picture.dtype() != DType::f32 || picture.dims() != expected) {
    fail(ErrorCode::usage, "--{}: expected f32{}, found {}{}", name, tensor::to_string(std::span(expected)),
         tensor::to_string(picture.dtype()), tensor::to_string(std::span(picture.dims())));
  }
}

// `count` copies of row [1, ..].
void repeat_into(std::span<float>& out, const Tensor& row, int64_t count) {
  const auto values = row.data<float>();
  for (int64_t i = 0; i < count; ++i) {
    std::copy(values.begin(), values.end(), out.begin());
    out = out.subspan(values.size());
  }
}

// Without and with the prompt, each `batch` times.
Tensor rows_for(const std::optional<Tensor>& without, const Tensor& with, int64_t batch) {
  tensor::Dims dims = with.dims();
  dims[0] = batch * (without ? 2 : 1);
  Tensor rows(DType::f32, dims);
  std::span<float> out = rows.data<float>();
  if (without) repeat_into(out, *without, batch);
  repeat_into(out, with, batch);
  return rows;
}

bool all_finite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
}

bool all_finite(const Tensor& tensor) {
  return tensor.dtype() != DType::f32 || all_finite(tensor.data<float>());
}

}  // namespace

// Defaults are those of diffusers' pipelines.
PictureRequest completed(PictureRequest request, const contract::Pictures& contract) {
  const int64_t own = contract.sample_size * contract.latent_scale;
  if (request.width == 0) request.width = own;
  if (request.height == 0) request.height = own;
  if (request.steps == 0) request.steps = contract.guidance_embedded ? 4 : 50;
  if (request.guidance < 0) {
    request.guidance = contract.guidance_embedded ? 8.5 : contract.two_encoders ? 5.0 : 7.5;
  }
  if (request.strength < 0) {
    request.strength =
        request.mask.defined() ? (contract.two_encoders ? 0.9999 : 1) : (contract.two_encoders ? 0.3 : 0.8);
  }
  check_side("width", request.width, contract.latent_scale);
  check_side("height", request.height, contract.latent_scale);
  check_range("steps", request.steps, 1, kMostSteps);
  check_range("guidance", request.guidance, 0, 1e4);
  check_range("guidance-rescale", request.guidance_rescale, 0, 1);
  check_range("eta", request.eta, 0, 1);
  check_range("batch", double(request.batch), 1, double(kLargestBatch));
  check_range("strength", request.strength, 0, 1);
  if (request.clip_skip < 0) fail(ErrorCode::usage, "--clip-skip {}: expected 0 or more", request.clip_skip);
  if (request.mask.defined() && !request.image.defined()) fail(ErrorCode::usage, "--mask needs --image");
  if (contract.unet_channels != contract.latent_channels && !request.mask.defined()) {
    fail(ErrorCode::usage, "this UNet takes {} channels: it paints into a picture (--image and --mask)",
         contract.unet_channels);
  }
  return request;
}

struct Diffuser::Impl {
  contract::Pictures contract;
  std::vector<text::ClipTokenizer> tokenizers;
  PictureGraphs graphs;
  DiffuserOptions options;
  std::map<std::string, std::unique_ptr<runtime::GraphSession>> sessions;
  std::map<std::string, std::set<std::string>> input_names;  // of graphs that a session was made of
  double load_ms = 0;

  runtime::GraphSession& session(const std::string& name) {
    auto& found = sessions[name];
    if (!found) {
      const auto start = Clock::now();
      const std::shared_ptr<const plan::GraphModel> model = graphs(name);
      for (const int64_t input : model->plan.inputs) input_names[name].insert(model->plan.values[size_t(input)].name);
      found = std::make_unique<runtime::GraphSession>(model, options.graph);
      load_ms += ms_since(start);
    }
    return *found;
  }

  // Frees what the next stage does not need.
  void done_with(std::string_view prefix) {
    if (options.keep_models) return;
    std::erase_if(sessions, [&](const auto& entry) { return entry.first.starts_with(prefix); });
  }

  // The result named `output`; a NaN in it is an error that names where it began.
  Tensor run_checked(const std::string& name, const runtime::GraphSession::Data& inputs, const std::string& output,
                     std::string_view what) {
    runtime::GraphSession& graph = session(name);
    const Tensor result = graph.run(inputs).at(output).tensor();
    if (all_finite(result)) return result;
    for (const auto& [input, datum] : inputs) {
      if (!all_finite(datum.tensor())) {
        fail(ErrorCode::verification, "{}: {} was given NaN or infinity in {}", what, name, input);
      }
    }
    std::string first;
    graph.set_tap([&](const std::string& value, const Tensor& tensor) {
      if (first.empty() && !all_finite(tensor)) first = value;
    });
    graph.run(inputs);
    graph.set_tap({});
    fail(ErrorCode::verification, "{}: NaN or infinity in {} of {}; the first tensor that has it is \"{}\"", what,
         output, name, first.empty() ? output : first);
  }

  Tensor decode(const Tensor& latents) {
    return decode_latents(contract, latents, [&](const Tensor& unscaled) {
      return run_checked("vae_decoder", {{"latent_sample", unscaled}}, "sample", "decoding the latents");
    });
  }

  PictureResult run(const PictureRequest& wished, const OnStep& on_step);
  void hide(PictureResult& result, uint64_t seed);
};

namespace {

// What the UNet is given at every step but the sample and the time.
struct Conditions {
  bool guided = false;
  runtime::GraphSession::Data inputs;
};

Conditions make_conditions(const contract::Pictures& contract, const PictureRequest& request,
                           const PromptPair& prompts) {
  Conditions conditions;
  conditions.guided = prompts.negative.has_value();
  const int64_t rows = request.batch * (conditions.guided ? 2 : 1);
  const auto joined = [&](Tensor PromptStates::* member) {
    std::optional<Tensor> without;
    if (conditions.guided) without = (*prompts.negative).*member;
    return rows_for(without, prompts.positive.*member, request.batch);
  };
  conditions.inputs["encoder_hidden_states"] = joined(&PromptStates::states);
  if (contract.two_encoders) {
    conditions.inputs["text_embeds"] = joined(&PromptStates::pooled);
    // Original size, crop, target size: a whole picture of this size.
    const float height = float(request.height), width = float(request.width);
    const Tensor sizes = Tensor::of<float>({1, 6}, {height, width, 0, 0, height, width});
    conditions.inputs["time_ids"] = rows_for(std::nullopt, sizes, rows);
  }
  if (contract.guidance_embedded) {
    const auto embedding = guidance_embedding(request.guidance, size_t(contract.guidance_width));
    conditions.inputs["timestep_cond"] = rows_for(
        std::nullopt, Tensor::of<float>({1, contract.guidance_width}, std::span<const float>(embedding)), rows);
  }
  return conditions;
}

}  // namespace

PictureResult Diffuser::Impl::run(const PictureRequest& wished, const OnStep& on_step) {
  const PictureRequest request = completed(wished, contract);
  if (request.image.defined()) check_picture("image", request.image, 3, request);
  if (request.mask.defined()) check_picture("mask", request.mask, 1, request);
  PictureResult result;
  result.width = request.width;
  result.height = request.height;
  result.guidance = request.guidance;
  result.strength = request.strength;
  result.scheduler = scheduler_config(contract, request);
  const SchedulerName called = scheduler_name(contract, request);
  result.scheduler_name = called.name.empty() ? result.scheduler.class_name : called.name;
  result.scheduler_is_own = !called.exact;
  SchedulerRun scheduler_run{.eta = request.eta, .batch = request.batch, .strength = {}};
  if (request.image.defined()) scheduler_run.strength = request.strength;
  const auto scheduler = make_scheduler(result.scheduler, request.steps, scheduler_run);
  result.steps = request.steps;
  load_ms = 0;

  auto start = Clock::now();
  const bool guided = is_guided(contract, request);
  PromptPair prompts = encode_prompts(contract, tokenizers, request, guided,
                                      [&](const std::string& name) -> runtime::GraphSession& { return session(name); });
  result.notes = std::move(prompts.notes);
  const int64_t own = contract.sample_size * contract.latent_scale;
  if (request.width != own || request.height != own) {
    result.notes.push_back(
        fmt::format("{} x {} pixels; the model was made for {} x {}", request.width, request.height, own, own));
  }
  result.text_ms = ms_since(start) - load_ms;
  done_with("text_encoder");
  Conditions conditions = make_conditions(contract, request, prompts);

  start = Clock::now();
  const double loaded = load_ms;
  const auto encode = [&](const Tensor& picture, const Tensor& noise) {
    const std::string output = contract.tiny_autoencoder ? "latents" : "latent_parameters";
    runtime::GraphSession::Data inputs = {{"sample", picture}};
    if (noise.defined()) inputs.emplace("noise", noise);
    return run_checked("vae_encoder", inputs, output, "encoding the picture");
  };
  const auto draws = [&] {
    session("vae_encoder");
    return input_names.at("vae_encoder").contains("noise");
  };
  PictureLatents latents(contract, request, {encode, draws});
  latents.begin(*scheduler);
  result.encode_ms = ms_since(start) - (load_ms - loaded);
  done_with("vae_encoder");

  const size_t size = latents.sample().size();
  const int64_t rows = request.batch * (guided ? 2 : 1);
  const auto timesteps = scheduler->timesteps();
  for (size_t call = 0; call < timesteps.size(); ++call) {
    const std::string what = fmt::format("step {} of {}", call + 1, timesteps.size());
    conditions.inputs["sample"] = latents.model_input(*scheduler, call, rows);
    conditions.inputs["timestep"] = Tensor::scalar<float>(float(timesteps[call]));
    session("unet");
    start = Clock::now();
    const Tensor predicted = run_checked("unet", conditions.inputs, "out_sample", what);
    const auto values = predicted.data<float>();
    std::vector<float> output(values.begin(), values.begin() + std::ptrdiff_t(size));
    if (guided)
      guide(output, values.subspan(size, size), request.guidance, request.guidance_rescale, size_t(request.batch));
    latents.step(*scheduler, call, output);
    result.step_ms.push_back(ms_since(start));
    if (!all_finite(latents.sample())) fail(ErrorCode::verification, "{}: NaN or infinity in the latents", what);
    if (on_step && !on_step(int(call) + 1, int(timesteps.size()), latents.sample())) {
      fail(ErrorCode::usage, "stopped after {}", what);
    }
  }
  done_with("unet");

  start = Clock::now();
  const double before_decoder = load_ms;
  result.latents = latents.tensor();
  result.images = decode(result.latents);
  result.decode_ms = ms_since(start) - (load_ms - before_decoder);
  done_with("vae_decoder");
  if (contract.safety_checker && request.safety_checker) hide(result, request.seed);
  result.load_ms = load_ms;
  return result;
}

// Makes pictures black that the safety checker finds unsafe.
void Diffuser::Impl::hide(PictureResult& result, uint64_t seed) {
  const auto start = Clock::now();
  const double loaded = load_ms;
  result.hidden = hide_unsafe(contract, result.images, [&](const Tensor& clip_input) {
    const auto found = session("safety_checker").run({{"clip_input", clip_input}});
    for (const auto& [name, value] : found) {
      if (all_finite(value.tensor())) continue;
      fail(ErrorCode::verification, "the safety checker gives NaN or infinity in {}", name);
    }
    // One that somebody exported has decided already.
    if (const auto flags = found.find("has_nsfw_concepts"); flags != found.end()) {
      return flags->second.tensor().data<float>()[0] != 0;
    }
    return is_unsafe(found.at("concept_scores").tensor().data<float>(),
                     found.at("special_scores").tensor().data<float>());
  });
  for (size_t i = 0; i < result.hidden.size(); ++i) {
    if (!result.hidden[i]) continue;
    result.notes.push_back(fmt::format(
        "the picture of seed {} is black: the safety checker found it unsafe (--no-safety-checker shows it)",
        seed + i));
  }
  result.safety_ms = ms_since(start) - (load_ms - loaded);
  done_with("safety_checker");
}

Diffuser::Diffuser(contract::Pictures contract, std::vector<text::ClipTokenizer> tokenizers, PictureGraphs graphs,
                   const DiffuserOptions& options)
    : impl_(new Impl{std::move(contract), std::move(tokenizers), std::move(graphs), options, {}, {}, 0}) {}

Diffuser::~Diffuser() = default;

Tensor Diffuser::decode(const Tensor& latents) {
  return impl_->decode(latents);
}

PictureResult Diffuser::run(const PictureRequest& request, const OnStep& on_step) {
  return impl_->run(request, on_step);
}

}  // namespace lathe::pipeline

// Text to picture with a latent diffusion model: encode the prompt, denoise, decode; as diffusers' pipelines of Stable
// Diffusion do, from picture to picture and inpainting included.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "contract/pictures.h"
#include "pipeline/diffuse/scheduler.h"
#include "plan/graph_plan.h"
#include "runtime/graph_session.h"
#include "text/clip_tokenizer.h"

namespace lathe::pipeline {

struct PictureRequest {
  std::string prompt;
  std::optional<std::string> negative_prompt;  // nullopt is not "" where the contract says so (SDXL)
  int64_t width = 0;                           // pixels; 0: what the model was made for
  int64_t height = 0;
  int steps = 0;         // 0: 50, or 4 where guidance is an input of the UNet, as diffusers
  double guidance = -1;  // up to 1: no negative prompt is looked at. Below 0: 7.5, 5 (SDXL), 8.5 (LCM), as diffusers
  double guidance_rescale = 0;
  double eta = 0;
  uint64_t seed = 0;            // of the first picture, one more for each further one
  std::string noise = "torch";  // whose random numbers: torch, cuda, numpy (torch_random.h)
  int64_t batch = 1;
  int64_t clip_skip = 0;
  bool plain_prompt = false;  // no (word:1.3), cut off after the encoder's length, as diffusers; else as AUTOMATIC1111
  std::string scheduler;      // name or class; empty: the model's own
  // From a picture: f32 [1, 3, height, width] of -1 to 1, of the size asked for.
  tensor::Tensor image;
  // Where to paint: f32 [1, 1, height, width] of 0 (keep) and 1 (paint); needs an image.
  tensor::Tensor mask;
  // With an image: how much of the way is walked. Below 0: 0.8, 0.3 (SDXL), with a mask 1 and 0.9999, as diffusers.
  double strength = -1;
  bool safety_checker = true;  // where the pipeline has one: pictures it finds unsafe become black
};

// With the pipeline's own size, steps, guidance and strength where none are asked for. Throws usage, naming the option,
// for what cannot be.
PictureRequest completed(PictureRequest request, const contract::Pictures& contract);

struct PictureResult {
  tensor::Tensor latents;  // f32 [batch, channels, height / scale, width / scale], as diffusers' output_type="latent"
  tensor::Tensor images;   // f32 [batch, 3, height, width], -1 to 1 and what lies beyond
  contract::SchedulerConfig scheduler;
  std::string scheduler_name;     // of the command line; the class where it has none
  bool scheduler_is_own = false;  // asking for that name would give another one: the model's own is set up in its way
  int64_t width = 0, height = 0;
  int steps = 0;
  double guidance = 0, strength = 0;
  std::vector<double> step_ms;  // one for each call of the UNet
  double text_ms = 0, encode_ms = 0, decode_ms = 0;
  double load_ms = 0;              // getting graphs ready
  std::vector<bool> hidden;        // by the safety checker, for each picture; empty: none looked at them
  double safety_ms = 0;
  std::vector<std::string> notes;  // what a person should know: truncated prompts, an unusual size
};

// A compiled graph of the pipeline by its name: text_encoder (its normed_states are needed for clip_skip),
// text_encoder_2, unet, vae_decoder, vae_encoder, safety_checker. Asked for when it is needed.
using PictureGraphs = std::function<std::shared_ptr<const plan::GraphModel>(const std::string& name)>;

struct DiffuserOptions {
  runtime::GraphOptions graph;
  bool keep_models = false;  // between runs: faster, more memory
};

// Called after each step with the latents so far [batch, ..]; false stops the run (an Error of code usage).
using OnStep = std::function<bool(int step, int steps, std::span<const float> latents)>;

// One run at a time.
class Diffuser {
 public:
  // `tokenizers`: of text_encoder and text_encoder_2, those there are.
  Diffuser(contract::Pictures contract, std::vector<text::ClipTokenizer> tokenizers, PictureGraphs graphs,
           const DiffuserOptions& options = {});
  ~Diffuser();

  // Throws usage for sizes, steps and strengths that cannot be, naming them; verification where a model gives NaN or
  // infinity, naming the step and the first tensor that has it; what schedulers and sessions throw.
  PictureResult run(const PictureRequest& request, const OnStep& on_step = {});
  // Pictures [batch, 3, ..] out of latents as the UNet has them; also between the steps of a run, behind which the
  // decoder is let go.
  tensor::Tensor decode(const tensor::Tensor& latents);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lathe::pipeline

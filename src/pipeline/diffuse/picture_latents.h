// The latents of a run: from noise or a picture to what the decoder takes, masks included.
#pragma once

#include "contract/pictures.h"
#include "pipeline/diffuse/diffuse.h"
#include "pipeline/diffuse/torch_random.h"

namespace lathe::pipeline {

// The configuration a run uses: the model's own, or the class asked for with the model's settings, as diffusers'
// from_config. Throws usage for an unknown name, invalid_input, unsupported.
contract::SchedulerConfig scheduler_config(const contract::Pictures& contract, const PictureRequest& request);

// What the command line calls the scheduler of scheduler_config(): the most telling name ("dpm++2m_karras" before
// "dpm++2m"). `exact`: asking for that name gives the same configuration; else the name only says which kind it is.
struct SchedulerName {
  std::string name;  // empty: there is none
  bool exact = false;
};
SchedulerName scheduler_name(const contract::Pictures& contract, const PictureRequest& request);

// Random numbers are drawn in diffusers' order: for each picture one stream of torch's generator, in which the
// autoencoder's noise comes before the latents', and that of the masked picture behind.
class PictureLatents {
 public:
  // The encoder's output for a picture [1, 3, height, width].
  struct Encoder {
    // `noise`: [1, channels, h, w] that the latents are drawn with, where it draws them.
    std::function<tensor::Tensor(const tensor::Tensor& picture, const tensor::Tensor& noise)> run;
    std::function<bool()> draws;  // latents by itself; otherwise it gives them, or their distribution
  };
  PictureLatents(const contract::Pictures& contract, const PictureRequest& request, Encoder encoder);

  // Noise, or the picture with as much noise as the run begins with.
  void begin(const Scheduler& scheduler);
  // f32 [rows, channels of the UNet, h, w]: the scaled sample, `rows / batch` times, with mask and masked picture where
  // the UNet takes them.
  tensor::Tensor model_input(const Scheduler& scheduler, size_t call, int64_t rows) const;
  // One step; what the mask keeps is put back where the UNet does not know it.
  void step(Scheduler& scheduler, size_t call, std::span<const float> output);

  std::span<const float> sample() const { return sample_; }
  tensor::Tensor tensor() const;

 private:
  std::vector<float> draw();  // of the sample's size
  // Latents of the picture as the UNet has them, for each of the batch.
  std::vector<float> encoded(const tensor::Tensor& picture);
  std::vector<float> drawn(const tensor::Tensor& picture);
  void set_mask();

  const contract::Pictures& contract_;
  const PictureRequest& request_;
  Encoder encoder_;
  int64_t height_, width_;                             // of latents
  size_t size_;                                        // of one picture's latents
  std::vector<std::unique_ptr<NormalSource>> random_;  // of each picture
  std::vector<float> sample_, noise_;
  std::vector<float> picture_;         // clean latents of the picture, for each of the batch
  std::vector<float> mask_;            // [h, w], 1: paint
  std::vector<float> masked_picture_;  // latents of what the mask keeps
};

// [batch, 3, height, width] of about -1 to 1 out of latents as the UNet has them, picture by picture. `decode` gives
// the decoder's output for unscaled latents [1, channels, h, w].
tensor::Tensor decode_latents(const contract::Pictures& contract, const tensor::Tensor& latents,
                              const std::function<tensor::Tensor(const tensor::Tensor& unscaled)>& decode);

}  // namespace lathe::pipeline

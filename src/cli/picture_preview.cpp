#include "cli/picture_preview.h"

#include <algorithm>

#include "base/file.h"
#include "cli/picture_files.h"
#include "image/resize.h"
#include "pipeline/diffuse/preview.h"

namespace lathe::cli {

StepWatcher::StepWatcher(const PictureFlags& flags, const contract::Pictures& contract,
                         const pipeline::PictureRequest& request, pipeline::Diffuser& diffuser, const Output& output)
    : flags_(flags),
      contract_(contract),
      request_(request),
      diffuser_(diffuser),
      progress_(output.progress(ProgressUnit::steps)) {
  progress_({.step = "reading the prompt"});
}

pipeline::OnStep StepWatcher::on_step() {
  return [this](int step, int steps, std::span<const float> latents) {
    progress_({.step = "denoising", .done_bytes = uint64_t(step), .total_bytes = uint64_t(steps)});
    if (flags_.preview > 0 && step % flags_.preview == 0 && step < steps) write_preview(latents);
    if (step == steps) progress_({.step = "decoding"});
    return true;
  };
}

// All pictures of the batch side by side.
void StepWatcher::write_preview(std::span<const float> latents) const {
  constexpr int64_t kGap = 4, kColumns = 4;
  constexpr uint8_t kBackground = 128;
  const int64_t width = request_.width / contract_.latent_scale, height = request_.height / contract_.latent_scale;
  const size_t size = latents.size() / size_t(request_.batch);
  std::vector<image::Image> images;
  for (size_t at = 0; at + size <= latents.size(); at += size) {
    const tensor::Tensor small = pipeline::preview_latents(contract_, latents.subspan(at, size), height, width);
    const tensor::Tensor picture = diffuser_.decode(small);
    images.push_back(image::from_planes(picture.data<float>(), picture.dims()[3], picture.dims()[2]));
  }
  const auto shown = images.size() == 1
                         ? images[0]
                         : image::contact_sheet(images, std::min(kColumns, request_.batch), kGap, kBackground);
  write_text_file(beside(flags_.output, "-preview").replace_extension(".png"), image::encode_png(shown));
}

}  // namespace lathe::cli

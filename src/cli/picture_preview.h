// What a run does at each step for the person who waits: a line of progress, a picture of the latents so far.
#pragma once

#include "cli/picture_request.h"
#include "cli/verb.h"

namespace lathe::cli {

class StepWatcher {
 public:
  // `request` is complete. With flags.preview the decoder stays loaded beside the UNet.
  StepWatcher(const PictureFlags& flags, const contract::Pictures& contract, const pipeline::PictureRequest& request,
              pipeline::Diffuser& diffuser, const Output& output);

  pipeline::OnStep on_step();

 private:
  void write_preview(std::span<const float> latents) const;

  const PictureFlags& flags_;
  const contract::Pictures& contract_;
  const pipeline::PictureRequest& request_;
  pipeline::Diffuser& diffuser_;
  ProgressSink progress_;
};

}  // namespace lathe::cli

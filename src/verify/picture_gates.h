// Gate 9: pictures of a pipeline in a lower precision against those in f32.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "contract/pictures.h"
#include "pipeline/diffuse/diffuse.h"
#include "plan/receipt.h"
#include "text/clip_tokenizer.h"
#include "verify/graph_runs.h"

namespace lathe::verify {

struct PictureSetup {
  contract::Pictures contract;
  std::vector<text::ClipTokenizer> tokenizers;
  runtime::GraphOptions options = {};
  bool full = false;  // of the size the model was made for, else small
};

// One run of one graph, with copies of what went in and came out.
struct PictureCall {
  std::string graph;
  GraphData inputs, results;
};

// A picture of a fixed prompt and seed by a deterministic scheduler of few steps; one that the UNet paints into a
// picture where it is made for that.
struct PictureRecording {
  std::vector<PictureCall> calls;
  std::vector<std::vector<float>> latents;  // before the first step and behind each
  tensor::Tensor images;
  contract::SchedulerConfig scheduler;
  int steps = 0;
  double guidance = 0;
  bool guided = false;
  std::optional<double> strength;
};
PictureRecording record_pictures(const PictureSetup& setup, const pipeline::PictureGraphs& graphs);

// Inputs of the recorded calls of a graph.
std::vector<GraphData> calls_of(const PictureRecording& recording, const std::string& graph);

// How near a graph of a lower precision comes to what was recorded, in dB.
struct ComponentPsnr {
  double least;  // of its outputs in all calls
  int runs = 0;
  std::vector<double> steps = {};  // of the UNet: each step of the scheduler, from the latents recorded before it
  double worst() const;
};
ComponentPsnr component_psnr(const PictureRecording& recording, const std::string& graph,
                             std::shared_ptr<const plan::GraphModel> model, const runtime::GraphOptions& options);

// The error of each component on the inputs of the recording (of f32), of each step from its latents, and of the
// picture that `found` draws; a blank picture where the recorded one is not fails. `precision` as bands.h names it.
std::vector<plan::Gate> picture_gates(const PictureSetup& setup, const PictureRecording& recording,
                                      const pipeline::PictureGraphs& found, const std::string& precision);

}  // namespace lathe::verify

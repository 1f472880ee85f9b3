// How much memory a picture will take and how much there is to compute, told from plans before anything is loaded.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "contract/pictures.h"
#include "pipeline/diffuse/diffuse.h"

namespace lathe::pipeline {

// A graph's plan with those constants that binding looks at; weight_bytes: all of them, once they are loaded.
struct MeasurableGraph {
  std::shared_ptr<const plan::GraphModel> model;
  uint64_t weight_bytes = 0;
  uint64_t packing_bytes = 0;  // besides, while they are loaded
};
struct MeasurableGraphs {
  std::vector<std::string> names;  // those the pipeline has: text_encoder, unet ...
  std::function<MeasurableGraph(const std::string& name)> get;
};

// One graph in a run.
struct PicturePart {
  std::string graph;
  uint64_t weight_bytes = 0;
  uint64_t working_bytes = 0;  // values between its instructions, or packing where that takes more
  double multiplications = 0;  // of one call

  uint64_t bytes() const { return weight_bytes + working_bytes; }
};

struct PictureMemory {
  std::vector<PicturePart> parts;  // in the order of the run
  uint64_t picture_bytes = 0;      // finished pictures, beside the decoder

  // Of the part with the most, pictures included.
  const PicturePart& largest() const;
  uint64_t peak_bytes() const;
  // Where every part stays loaded.
  uint64_t sum_bytes() const;
  const PicturePart& get(std::string_view graph) const;
};

// Lengths that the graphs of a pipeline leave open, for a run of this (complete) request: GraphSession::measured.
// `rows`: pictures in a call of the UNet; `tokens`: of the prompt, chunks one behind the other.
op::Bindings picture_lengths(const contract::Pictures& contract, const PictureRequest& request,
                             const std::string& graph, int64_t rows, int64_t tokens);

// Whether the run calls the UNet with and without the prompt.
bool is_guided(const contract::Pictures& contract, const PictureRequest& request);

// Keeps the graphs it has asked for: it should not outlive the question.
class PictureMeter {
 public:
  // `preview`: the decoder is beside the UNet, for pictures of kPreviewSide latents.
  PictureMeter(const contract::Pictures& contract, MeasurableGraphs graphs, const runtime::GraphOptions& options,
               bool preview = false);
  ~PictureMeter();

  // `request` is complete (completed()); a prompt of one chunk is assumed, more hardly take more.
  PictureMemory predict(const PictureRequest& request);
  // The same; throws resource, with the numbers and what would fit instead, where a run takes more than `available`
  // bytes.
  PictureMemory require(const PictureRequest& request, uint64_t available);

 private:
  struct Entry;
  Entry& entry(const std::string& name);

  const contract::Pictures& contract_;
  MeasurableGraphs graphs_;
  runtime::GraphOptions options_;
  bool preview_;
  std::map<std::string, std::unique_ptr<Entry>> entries_;
};

}  // namespace lathe::pipeline

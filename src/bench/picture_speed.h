// Measuring a picture pipeline: its models one by one, and whole pictures.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pipeline/diffuse/picture_memory.h"

namespace lathe::bench {

struct PictureTest {
  std::string test;             // "text_encoder", "unet", "unet_guided" or "unet_batch", "vae_decoder", "picture"
  int64_t rows = 1;             // pictures in a call of the model
  double flop = 0;              // two for each multiplication of convolutions, products and attention, as defined
  std::vector<double> samples;  // ms
  double median = 0;

  double gflops() const { return flop / median / 1e6; }
};

struct PictureBench {
  const contract::Pictures& contract;
  pipeline::PictureRequest request;  // complete
  std::vector<std::string> names;    // of the graphs there are
  pipeline::PictureGraphs graphs;
  runtime::GraphOptions options;
  int repeats = 9;
};

// One call of each model on made-up numbers, loaded one after the other; the UNet with one picture and, where a step of
// the request takes more, with as many. Each is called once before, which binds it.
void run_models(const PictureBench& bench, const std::function<void(const PictureTest&)>& on_test);

// A run without loading: what text encoders, steps and decoder took.
double picture_ms(const pipeline::PictureResult& result);

// Multiplications of a whole run, times two: every call of the UNet, the prompts and the decoder.
double picture_flop(const contract::Pictures& contract, const pipeline::PictureRequest& request,
                    const pipeline::PictureMemory& memory, size_t unet_calls);

}  // namespace lathe::bench

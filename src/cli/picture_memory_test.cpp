// What a run is said to take is what its sessions then bind; previews resemble what the decoder draws.
#include "pipeline/diffuse/picture_memory.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "cli/picture_model.h"
#include "pipeline/diffuse/preview.h"

namespace lathe::cli {
namespace {

namespace fs = std::filesystem;
using tensor::Tensor;

const fs::path kPictures = LATHE_TESTS_DIR "/pictures";
const fs::path kShapes = LATHE_TESTS_DIR "/../models/shapes";
const runtime::GraphOptions kOptions{.threads = 2, .isa = "", .limits = {}};

pipeline::PictureRequest request_for(const contract::Pictures& contract, int64_t side, int64_t batch) {
  pipeline::PictureRequest request;
  request.width = request.height = side;
  request.batch = batch;
  if (contract.unet_channels != contract.latent_channels) {
    request.image = Tensor(tensor::DType::f32, {1, 3, side, side});
    request.mask = Tensor(tensor::DType::f32, {1, 1, side, side});
  }
  return pipeline::completed(request, contract);
}

// Measured on a plan without weights, the arena is that of the loaded graph bound to tensors of those lengths.
TEST(PictureMemory, IsWhatSessionsBind) {
  for (const char* name : {"sd15", "sd21", "inpaint", "sdxl", "lcm"}) {
    SCOPED_TRACE(name);
    const PictureModel model = open_picture_model(kPictures / name, {}, false);
    pipeline::PictureMeter meter(model.contract, model.measurable, kOptions);
    const auto request = request_for(model.contract, 32, 3);
    const auto memory = meter.predict(request);
    for (const pipeline::PicturePart& part : memory.parts) {
      SCOPED_TRACE(part.graph);
      const auto loaded = model.graphs(part.graph);
      uint64_t weights = 0;
      for (const Tensor& constant : loaded->constants) weights += constant.bytes().size();
      EXPECT_EQ(part.weight_bytes, weights);
      const int64_t rows = pipeline::is_guided(model.contract, request) ? 6 : 3;
      const auto lengths = pipeline::picture_lengths(model.contract, request, part.graph, rows, 77);
      runtime::GraphSession::Data inputs;
      for (const int64_t input : loaded->plan.inputs) {
        const plan::GraphValue& value = loaded->plan.values[size_t(input)];
        tensor::Shape shape = value.type.shape;
        for (tensor::Dim& dim : shape) dim = dim.bind(lengths);
        inputs.emplace(value.name, Tensor(value.type.dtype, *tensor::to_dims(shape)));
      }
      runtime::GraphSession session(loaded, kOptions);
      const runtime::BoundGraph bound = session.bound(inputs);
      EXPECT_EQ(session.measured(lengths).arena_bytes, bound.arena_bytes);
      EXPECT_EQ(bound.not_bound, 0u);
      EXPECT_GE(part.working_bytes, bound.arena_bytes);
      EXPECT_EQ(part.multiplications, bound.multiplications);
      EXPECT_GT(part.multiplications, 0);
    }
  }
}

TEST(PictureMemory, GrowsWithSizeAndBatch) {
  const PictureModel model = open_picture_model(kShapes, {}, false);
  pipeline::PictureMeter meter(model.contract, model.measurable, kOptions);
  const auto at = [&](int64_t side, int64_t batch) { return meter.predict(request_for(model.contract, side, batch)); };
  EXPECT_LT(at(128, 1).get("vae_decoder").working_bytes, at(256, 1).get("vae_decoder").working_bytes);
  EXPECT_LT(at(128, 1).get("unet").working_bytes, at(128, 4).get("unet").working_bytes);
  EXPECT_EQ(at(128, 1).get("vae_decoder").working_bytes, at(128, 4).get("vae_decoder").working_bytes);  // one by one
  EXPECT_EQ(at(128, 4).picture_bytes, 4u * 3 * 128 * 128 * 4);
  // The decoder's convolutions are in proportion to the area, its attention to the square of it.
  const double small = at(128, 1).get("vae_decoder").multiplications,
               large = at(256, 1).get("vae_decoder").multiplications;
  EXPECT_GT(large / small, 3.9);
  EXPECT_LT(large / small, 5);
}

TEST(PictureMemory, RefusalsSayWhatWouldFit) {
  const PictureModel model = open_picture_model(kShapes, {}, false);
  pipeline::PictureMeter meter(model.contract, model.measurable, kOptions);
  const auto refusal = [&](const pipeline::PictureRequest& request, uint64_t available) -> std::string {
    try {
      meter.require(request, available);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::resource);
      return error.what();
    }
    return "";
  };
  const auto batch = request_for(model.contract, 256, 8);
  EXPECT_EQ(refusal(batch, meter.predict(batch).peak_bytes()), "");
  const std::string fewer = refusal(batch, meter.predict(batch).peak_bytes() - 1);
  EXPECT_NE(fewer.find("--batch 4 would fit"), std::string::npos) << fewer;
  const auto large = request_for(model.contract, 1024, 1);
  const std::string smaller = refusal(large, meter.predict(large).peak_bytes() / 2);
  EXPECT_NE(smaller.find("--width 640 --height 640 would fit"), std::string::npos) << smaller;
  EXPECT_NE(refusal(large, 1000).find("no smaller picture fits either"), std::string::npos);
}

// Correlation of the preview of finished latents with the picture, block by block.
TEST(Previews, ResembleThePicture) {
  PictureModel model = open_picture_model(kShapes, {}, false);
  const contract::Pictures contract = model.contract;
  const auto diffuser = open_diffuser(std::move(model), {.graph = kOptions, .keep_models = true});
  pipeline::PictureRequest request;
  request.prompt = "a red circle on a white background";
  request.width = request.height = 256;  // 32 x 32 latents, in blocks of 2 x 2
  request.steps = 12;
  request.guidance = 3;
  request.seed = 1;
  const auto result = diffuser->run(request);
  const Tensor small = pipeline::preview_latents(contract, result.latents.data<float>(), 32, 32);
  ASSERT_EQ(small.dims(), (tensor::Dims{1, 4, 16, 16}));
  const Tensor preview = diffuser->decode(small);
  ASSERT_EQ(preview.dims(), (tensor::Dims{1, 3, 128, 128}));
  std::vector<double> truth(preview.data<float>().size());
  for (int64_t i = 0; i < 3 * 256 * 256; ++i) {
    const int64_t c = i / (256 * 256), y = i / 256 % 256, x = i % 256;
    truth[size_t((c * 128 + y / 2) * 128 + x / 2)] += result.images.data<float>()[size_t(i)] / 4.0;
  }
  double a = 0, b = 0, aa = 0, bb = 0, ab = 0;
  const double n = double(truth.size());
  for (size_t i = 0; i < truth.size(); ++i) {
    const double seen = preview.data<float>()[i];
    a += seen, b += truth[i], aa += seen * seen, bb += truth[i] * truth[i], ab += seen * truth[i];
  }
  EXPECT_GT((ab - a * b / n) / std::sqrt((aa - a * a / n) * (bb - b * b / n)), 0.8);
}

TEST(Previews, AreMeansOfBlocks) {
  contract::Pictures contract;
  contract.latent_channels = 2;
  std::vector<float> latents(2 * 30 * 50);  // blocks of 3 x 3: 10 x 17, the last column two wide
  for (size_t i = 0; i < latents.size(); ++i) latents[i] = i < 1500 ? 0.01f * float(i % 50) : 0.5f;
  const Tensor small = pipeline::preview_latents(contract, latents, 30, 50);
  ASSERT_EQ(small.dims(), (tensor::Dims{1, 2, 10, 17}));
  EXPECT_FLOAT_EQ(small.data<float>()[0], 0.01f);
  EXPECT_FLOAT_EQ(small.data<float>()[16], 0.485f);
  EXPECT_FLOAT_EQ(small.data<float>()[170], 0.5f);
  for (float& value : latents) value *= 100;
  const Tensor toned = pipeline::preview_latents(contract, latents, 30, 50);
  double squares = 0;
  for (const float value : toned.data<float>()) squares += double(value) * value;
  EXPECT_NEAR(std::sqrt(squares / 340), 1.25, 1e-4);
}

}  // namespace
}  // namespace lathe::cli

// Folders of ONNX graphs draw what the checkpoints they were exported from draw: our own exports (Optimum's layout) of
// every kind of pipeline, and the layout of diffusers' OnnxStableDiffusionPipeline (tests/pictures/onnx_sd15, made by
// tools/make_onnx_pipeline_fixtures.py with torch's exporter).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "cli/export_pictures.h"
#include "cli/picture_model.h"
#include "frontend/builder.h"
#include "frontend/onnx_interface.h"
#include "io/npy.h"

namespace lathe::cli {
namespace {

namespace fs = std::filesystem;
using tensor::Dim;
using tensor::DType;
using tensor::Tensor;

const fs::path kPictures = LATHE_TESTS_DIR "/pictures";

std::unique_ptr<pipeline::Diffuser> open(const fs::path& folder) {
  return open_diffuser(open_picture_model(folder, {}, false),
                       {.graph = {.threads = 2, .isa = "", .limits = {}}, .keep_models = true});
}

// Runs the cases of the goldens that begin with noise and need nothing that an export leaves out.
int compare_with_goldens(pipeline::Diffuser& diffuser, const fs::path& golden) {
  const Json cases = read_json_file(golden / "cases.json");
  int compared = 0;
  for (size_t i = 0; i < cases["cases"].size(); ++i) {
    const Json& row = cases["cases"][i];
    if (row.contains("image") || row.contains("clip_skip") || row.contains("scheduler")) continue;
    SCOPED_TRACE(row.dump());
    pipeline::PictureRequest request;
    request.prompt = get_string(cases, "prompt");
    request.negative_prompt = find_string(row, "negative");
    request.width = get_int(row, "width");
    request.height = get_int(row, "height");
    request.steps = int(get_int(row, "steps"));
    request.guidance = get_number(row, "guidance");
    request.guidance_rescale = find_number(row, "rescale").value_or(0);
    request.eta = find_number(row, "eta").value_or(0);
    request.seed = uint64_t(get_int(row, "seed"));
    const auto result = diffuser.run(request);
    const Tensor expected = io::read_npy(golden / fmt::format("latents.{}.npy", i));
    EXPECT_EQ(expected.dims(), result.latents.dims());
    if (expected.dims() != result.latents.dims()) return compared;
    float largest = 0, error = 0;
    for (size_t at = 0; at < expected.data<float>().size(); ++at) {
      largest = std::max(largest, std::abs(expected.data<float>()[at]));
      error = std::max(error, std::abs(expected.data<float>()[at] - result.latents.data<float>()[at]));
    }
    EXPECT_LE(error, 1e-4f * largest) << "largest " << largest;
    ++compared;
  }
  return compared;
}

class ExportedPipelines : public testing::TestWithParam<const char*> {
 protected:
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_ = fs::path(testing::TempDir()) / fmt::format("exported_{}", GetParam());
};

TEST_P(ExportedPipelines, DrawTheSame) {
  const auto checkpoint = frontend::PictureCheckpoint::open(kPictures / GetParam());
  frontend::OnnxExportOptions onnx;
  onnx.opset = 17;
  export_pictures(checkpoint, {.destination = folder_, .precision = "", .onnx = onnx, .overwrite = true},
                  Output(true, true));
  ASSERT_TRUE(frontend::PictureCheckpoint::recognises(folder_));
  EXPECT_TRUE(frontend::PictureCheckpoint::open(folder_).is_onnx());
  EXPECT_GE(compare_with_goldens(*open(folder_), kPictures / GetParam() / "golden"), 3);
}

INSTANTIATE_TEST_SUITE_P(Pictures, ExportedPipelines, testing::Values("sd15", "sd21", "sdxl", "lcm"),
                         [](const auto& test) { return std::string(test.param); });

TEST(OnnxPipelines, OfDiffusersWithoutConfigs) {
  const fs::path folder = kPictures / "onnx_sd15";
  const auto checkpoint = frontend::PictureCheckpoint::open(folder);
  EXPECT_EQ(checkpoint.contract().context_width, 32);
  EXPECT_EQ(checkpoint.contract().latent_scale, 2);
  EXPECT_EQ(checkpoint.contract().latent_channels, 4);
  EXPECT_EQ(checkpoint.contract().unet_channels, 4);
  EXPECT_GE(compare_with_goldens(*open(folder), kPictures / "sd15/golden"), 3);
}

// This layout's encoder draws its latents: with the noise of the seed, as the checkpoint that it was exported from.
TEST(OnnxPipelines, FromAPicture) {
  EXPECT_TRUE(frontend::PictureCheckpoint::open(kPictures / "onnx_sd15").notes().empty());
  pipeline::PictureRequest request;
  request.prompt = "a red circle";
  request.width = request.height = 32;
  request.steps = 4;
  request.batch = 2;
  request.seed = 5;
  request.image = Tensor(DType::f32, {1, 3, 32, 32});
  for (size_t i = 0; i < request.image.data<float>().size(); ++i) {
    request.image.data<float>()[i] = float(i % 37) / 18 - 1;
  }
  const auto found = open(kPictures / "onnx_sd15")->run(request);
  const auto expected = open(kPictures / "sd15")->run(request);
  ASSERT_EQ(found.latents.dims(), (tensor::Dims{2, 4, 16, 16}));
  ASSERT_EQ(found.latents.dims(), expected.latents.dims());
  float largest = 0, error = 0;
  for (size_t i = 0; i < expected.latents.data<float>().size(); ++i) {
    const float wanted = expected.latents.data<float>()[i];
    largest = std::max(largest, std::abs(wanted));
    error = std::max(error, std::abs(wanted - found.latents.data<float>()[i]));
  }
  EXPECT_LE(error, 1e-4f * largest) << "largest " << largest;
}

TEST(OnnxPipelines, WhatNeedsACheckpointIsRefused) {
  frontend::PictureOptions options;
  options.parts.loras = {{kPictures / "lora/kohya.safetensors", 1}};
  EXPECT_THROW(frontend::PictureCheckpoint::open(kPictures / "onnx_sd15", options), Error);
  pipeline::PictureRequest request;
  request.width = request.height = 32;
  request.steps = 1;
  request.clip_skip = 1;
  try {
    open(kPictures / "onnx_sd15")->run(request);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported) << error.what();
  }
}

// A UNet that takes its time as `time` and its text as "text".
ir::Graph small_unet(const op::TypeInfo& time, const op::TypeInfo& text) {
  ir::Graph graph("main");
  const frontend::Builder b(graph);
  const ir::Value sample =
      graph.add_input("x", {DType::f32, {Dim::symbol("n"), 4, Dim::symbol("h"), Dim::symbol("w")}, {}});
  const ir::Value t = graph.add_input("t", time), states = graph.add_input("text", text);
  const ir::Value sum = b.node("ReduceSum", {b.cast(states, DType::f32)}, {{"keepdims", int64_t{0}}});
  graph.add_output(b.add(b.add(sample, sum), b.reshape(b.cast(t, DType::f32), {-1, 1, 1, 1})), "y");
  return graph;
}

TEST(OnnxInterface, IsFoundByRanksAndCast) {
  const op::TypeInfo states = {DType::f16, {Dim::symbol("n"), Dim::symbol("s"), 8}, {}};
  for (const op::TypeInfo& time : {op::TypeInfo{DType::i64, {1}, {}}, op::TypeInfo{DType::f32, {Dim::symbol("n")}, {}},
                                   op::TypeInfo{DType::f16, {}, {}}}) {
    SCOPED_TRACE(op::to_string(time));
    const ir::Graph graph = frontend::with_own_interface(small_unet(time, states), "unet");
    ir::verify(graph);
    const Tensor sample(DType::f32, {2, 4, 3, 5}), text(DType::f32, {2, 7, 8});
    const auto results = ir::evaluate(
        graph, {{"sample", sample}, {"timestep", Tensor::scalar<float>(7)}, {"encoder_hidden_states", text}});
    EXPECT_EQ(results.at("out_sample").data<float>()[0], 7);
    EXPECT_EQ(results.at("out_sample").dims(), sample.dims());
  }
}

TEST(OnnxInterface, WhatCannotBeToldIsAnError) {
  const op::TypeInfo time = {DType::f32, {}, {}}, states = {DType::f32, {Dim::symbol("n"), Dim::symbol("s"), 8}, {}};
  const auto refusal = [](ir::Graph graph, const char* name) -> std::string {
    try {
      frontend::with_own_interface(std::move(graph), name);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  ir::Graph more = small_unet(time, states);
  more.add_input("mask", {DType::f32, {2, 2}, {}});
  EXPECT_NE(refusal(std::move(more), "unet").find("input \"mask\" f32[2, 2]"), std::string::npos);
  EXPECT_NE(refusal(small_unet(time, time), "unet").find("none of those that a UNet takes"), std::string::npos);
  EXPECT_NE(refusal(ir::Graph("main"), "vae_decoder").find("no input \"latent_sample\""), std::string::npos);
}

}  // namespace
}  // namespace lathe::cli

// The models of picture pipelines give what diffusers and transformers give, from the reference executor
// (tests/pictures, made by tools/make_picture_fixtures.py); damaged pipelines are refused by name.
#include "frontend/picture_checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/error.h"
#include "io/npy.h"

namespace lathe::frontend {
namespace {

namespace fs = std::filesystem;
using tensor::Tensor;

const fs::path kPictures = LATHE_TESTS_DIR "/pictures";

// GRAPH.NAME.npy of a pipeline's goldens.
Tensor golden(const std::string& pipeline, const std::string& graph, const std::string& name) {
  return io::read_npy(kPictures / pipeline / "golden" / (graph + "." + name + ".npy"));
}

bool has_golden(const std::string& pipeline, const std::string& graph, const std::string& name) {
  return fs::exists(kPictures / pipeline / "golden" / (graph + "." + name + ".npy"));
}

void expect_near(const Tensor& expected, const Tensor& found) {
  ASSERT_EQ(expected.dims(), found.dims());
  const auto e = expected.data<float>(), f = found.data<float>();
  float largest = 0, error = 0;
  for (size_t i = 0; i < e.size(); ++i) {
    largest = std::max(largest, std::abs(e[i]));
    error = std::max(error, std::abs(e[i] - f[i]));
  }
  EXPECT_LE(error, 1e-5f * largest) << "largest " << largest;
}

// Every input has a golden; so has at least one output.
void expect_goldens(const PictureCheckpoint& checkpoint, const std::string& pipeline, const std::string& name) {
  SCOPED_TRACE(name);
  const ir::Graph graph = checkpoint.build(name);
  std::map<std::string, Tensor> inputs;
  for (const ir::Value input : graph.inputs()) {
    inputs.emplace(graph.name(input), golden(pipeline, name, graph.name(input)));
  }
  const auto results = ir::evaluate(graph, inputs);
  int compared = 0;
  for (const auto& [output, tensor] : results) {
    if (!has_golden(pipeline, name, output)) continue;
    SCOPED_TRACE(output);
    expect_near(golden(pipeline, name, output), tensor);
    ++compared;
  }
  EXPECT_GE(compared, 1);
}

class PictureGoldens : public testing::TestWithParam<const char*> {};

TEST_P(PictureGoldens, EveryModelComputesWhatDiffusersDoes) {
  const PictureCheckpoint checkpoint = PictureCheckpoint::open(kPictures / GetParam());
  const auto names = checkpoint.graph_names();
  EXPECT_GE(names.size(), 4u);
  for (const std::string& name : names) expect_goldens(checkpoint, GetParam(), name);
}

INSTANTIATE_TEST_SUITE_P(Pictures, PictureGoldens, testing::Values("sd15", "sd21", "inpaint", "sdxl", "lcm"),
                         [](const auto& test) { return std::string(test.param); });

TEST(PictureContract, SaysWhatTheNumbersMean) {
  const auto contract_of = [](const char* name) { return PictureCheckpoint::open(kPictures / name).contract(); };
  const contract::Pictures sd21 = contract_of("sd21");
  EXPECT_EQ(sd21.sample_size, 16);
  EXPECT_EQ(sd21.latent_scale, 2);
  EXPECT_EQ(sd21.scaling_factor, 0.18215);
  EXPECT_NE(sd21.scheduler.find("v_prediction"), std::string::npos);
  EXPECT_EQ(contract_of("inpaint").unet_channels, 9);
  const contract::Pictures sdxl = contract_of("sdxl");
  EXPECT_TRUE(sdxl.two_encoders && sdxl.zero_empty_negative);
  EXPECT_EQ(sdxl.scaling_factor, 0.13025);
  const contract::Pictures lcm = contract_of("lcm");
  EXPECT_TRUE(lcm.guidance_embedded && lcm.tiny_autoencoder);
  EXPECT_EQ(lcm.scaling_factor, 1.0);
}

// A copy of sd21 that a test damages.
class DamagedPipeline : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::copy(kPictures / "sd21", folder_, fs::copy_options::recursive);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Sets a key of a file's JSON; null removes it.
  void set(const std::string& file, const std::string& key, const Json& value) {
    Json json = read_json_file(folder_ / file);
    if (value.is_null()) {
      json.erase(key);
    } else {
      json[key] = value;
    }
    std::ofstream(folder_ / file) << json;
  }

  // Opens and builds everything; the error's text.
  std::string refusal() {
    try {
      const PictureCheckpoint checkpoint = PictureCheckpoint::open(folder_);
      for (const std::string& name : checkpoint.graph_names()) checkpoint.build(name);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  void expect_refusal(const std::string& part) {
    const std::string text = refusal();
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }

  fs::path folder_;
};

TEST_F(DamagedPipeline, IsWholeAtFirst) {
  EXPECT_EQ(refusal(), "");
}

TEST_F(DamagedPipeline, MissingParts) {
  fs::remove_all(folder_ / "vae");
  expect_refusal("vae: no folder");
  set("model_index.json", "vae", nullptr);
  expect_refusal("names no vae");
}

TEST_F(DamagedPipeline, MissingWeights) {
  fs::remove(folder_ / "unet/diffusion_pytorch_model.safetensors");
  expect_refusal("unet: no weights");
  std::ofstream(folder_ / "unet/diffusion_pytorch_model.bin") << "x";
  expect_refusal("expected a header length");
}

TEST_F(DamagedPipeline, AnotherVariantIsTakenAndSaid) {
  fs::rename(folder_ / "unet/diffusion_pytorch_model.safetensors",
             folder_ / "unet/diffusion_pytorch_model.fp16.safetensors");
  const auto notes = PictureCheckpoint::open(folder_).notes();
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_EQ(notes[0], "unet: only weights of variant fp16: diffusion_pytorch_model.fp16.safetensors");
}

TEST_F(DamagedPipeline, MissingScheduler) {
  fs::remove(folder_ / "scheduler/scheduler_config.json");
  expect_refusal("scheduler_config.json");
}

TEST_F(DamagedPipeline, PartsThatDoNotFit) {
  set("unet/config.json", "cross_attention_dim", 48);
  expect_refusal("states of 32 numbers, the UNet's cross_attention_dim is 48");
}

TEST_F(DamagedPipeline, LatentsThatDoNotFit) {
  set("vae/config.json", "latent_channels", 8);
  expect_refusal("gives 4 channels, the autoencoder takes 8");
}

TEST_F(DamagedPipeline, ChannelsThatNoPipelineHas) {
  set("unet/config.json", "in_channels", 5);
  expect_refusal("takes 5 channels");
}

TEST_F(DamagedPipeline, AConfigThatIsNotTheWeights) {
  set("unet/config.json", "block_out_channels", Json::array({16, 48}));
  expect_refusal("conv_shortcut.weight\": expected [48, 16, 1, 1], found f16[32, 16, 1, 1]");
  set("unet/config.json", "block_out_channels", Json::array({16, 32}));
  set("unet/config.json", "layers_per_block", 2);
  expect_refusal("missing tensor \"down_blocks.0.resnets.1.norm1.weight\"");
}

TEST_F(DamagedPipeline, TensorsThatNobodyAskedFor) {
  set("text_encoder/config.json", "num_hidden_layers", 2);
  expect_refusal("encoder.layers.2.layer_norm1.bias\" [32] is not part of this model");
}

TEST_F(DamagedPipeline, AbsurdSizes) {
  set("unet/config.json", "block_out_channels", Json::array({16, -32}));
  expect_refusal("block_out_channels is -32");
  set("unet/config.json", "block_out_channels", "many");
  expect_refusal("block_out_channels (how many)");
}

TEST_F(DamagedPipeline, VariantsThatAreNotBuilt) {
  set("unet/config.json", "class_embed_type", "timestep");
  expect_refusal("class_embed_type");
}

TEST_F(DamagedPipeline, UnknownClasses) {
  set("unet/config.json", "_class_name", "FluxTransformer2DModel");
  expect_refusal("FluxTransformer2DModel");
  set("model_index.json", "_class_name", "FluxPipeline");
  expect_refusal("\"FluxPipeline\" are not supported (known: StableDiffusionPipeline");
}

TEST_F(DamagedPipeline, TruncatedWeights) {
  fs::resize_file(folder_ / "vae/diffusion_pytorch_model.safetensors", 1000);
  EXPECT_NE(refusal(), "");
}

}  // namespace
}  // namespace lathe::frontend

// Single-file checkpoints are split into the models they were written from: the same tensors under diffusers' names
// (tests/pictures/single, made by tools/make_single_file_fixtures.py, which diffusers' converters agree with), and the
// published configs of the real models from their shapes alone.
#include "frontend/single_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/error.h"
#include "frontend/picture_checkpoint.h"
#include "io/safetensors.h"

namespace lathe::frontend {
namespace {

namespace fs = std::filesystem;

const fs::path kPictures = LATHE_TESTS_DIR "/pictures";

// Dims without numbers.
class ShapeOnly final : public tensor::Source {
 public:
  explicit ShapeOnly(tensor::Dims dims)
      : Source(tensor::DType::f16, tensor::Encoding::plain, std::move(dims), "shapes") {}
  void read_rows(int64_t, int64_t, std::span<std::byte> out) const override {
    std::fill(out.begin(), out.end(), std::byte{0});
  }
};

TensorMap shapes_of(const std::string& name) {
  std::ifstream in(kPictures / "single" / (name + ".shapes"));
  TensorMap tensors;
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    std::string key, dims;
    fields >> key >> dims;
    tensor::Dims lengths;
    std::istringstream numbers(dims);
    for (std::string number; std::getline(numbers, number, ',');) lengths.push_back(std::stoll(number));
    tensors.emplace(key, std::make_shared<ShapeOnly>(lengths));
  }
  EXPECT_GT(tensors.size(), 500u);
  return tensors;
}

std::vector<std::byte> bytes_of(const tensor::Source& source) {
  std::vector<std::byte> bytes(source.byte_size());
  source.read_rows(0, source.rows(), bytes);
  return bytes;
}

// Names may lack the model's own ("text_model."), as transformers 5 writes them.
void expect_same_tensors(const TensorMap& expected, const TensorMap& found) {
  for (const auto& [name, source] : expected) {
    SCOPED_TRACE(name);
    auto it = found.find(name);
    if (it == found.end()) it = found.find("text_model." + name);
    ASSERT_NE(it, found.end());
    EXPECT_TRUE(bytes_of(*source) == bytes_of(*it->second));
  }
  EXPECT_EQ(expected.size(), found.size());
}

class SingleFiles : public testing::TestWithParam<const char*> {};

TEST_P(SingleFiles, HoldTheTensorsOfTheFolder) {
  const auto folder = PictureCheckpoint::open(kPictures / GetParam());
  TensorMap tensors;
  const auto file = io::SafetensorsFile::open(kPictures / "single" / (std::string(GetParam()) + ".safetensors"));
  for (const io::StoredTensor& tensor : file.tensors) tensors.emplace(tensor.name, tensor.source());
  ASSERT_TRUE(is_single_file(tensors));
  const SingleFile single = split_single_file(tensors, {.prediction = "v_prediction"});
  EXPECT_EQ(single.components.size(), folder.components().size());
  for (const auto& [role, component] : folder.components()) {
    SCOPED_TRACE(role);
    ASSERT_TRUE(single.components.contains(role));
    expect_same_tensors(component.tensors, single.components.at(role).tensors);
  }
}

INSTANTIATE_TEST_SUITE_P(Pictures, SingleFiles, testing::Values("sd15", "sd21", "sdxl"),
                         [](const auto& test) { return std::string(test.param); });

// What the published config.json files say (facts of the architectures).
TEST(SingleFileConfigs, AreThePublishedOnes) {
  const SingleFile sd15 = split_single_file(shapes_of("sd15"), {});
  const Json& unet15 = sd15.components.at("unet").config;
  EXPECT_EQ(unet15["block_out_channels"], (Json{320, 640, 1280, 1280}));
  EXPECT_EQ(unet15["attention_head_dim"], (Json{8, 8, 8, 8}));
  EXPECT_EQ(unet15["layers_per_block"], (Json{2, 2, 2, 2}));
  EXPECT_EQ(unet15["cross_attention_dim"], 768);
  EXPECT_EQ(unet15["down_block_types"],
            (Json{"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"}));
  EXPECT_EQ(unet15["up_block_types"],
            (Json{"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"}));
  EXPECT_EQ(sd15.components.at("text_encoder").config["num_hidden_layers"], 12);
  EXPECT_EQ(sd15.components.at("text_encoder").config["hidden_act"], "quick_gelu");
  EXPECT_EQ(sd15.scheduler["_class_name"], "PNDMScheduler");
  EXPECT_EQ(sd15.components.at("vae").config["block_out_channels"], (Json{128, 256, 512, 512}));
  EXPECT_EQ(sd15.components.at("vae").config["layers_per_block"], 2);

  const SingleFile sd21 = split_single_file(shapes_of("sd21"), {.prediction = "v_prediction"});
  EXPECT_EQ(sd21.components.at("unet").config["attention_head_dim"], (Json{5, 10, 20, 20}));
  EXPECT_EQ(sd21.components.at("unet").config["sample_size"], 96);
  EXPECT_EQ(sd21.components.at("text_encoder").config["num_hidden_layers"], 23);
  EXPECT_EQ(sd21.components.at("text_encoder").config["num_attention_heads"], 16);
  EXPECT_EQ(sd21.components.at("text_encoder").config["hidden_act"], "gelu");

  const SingleFile sdxl = split_single_file(shapes_of("sdxl"), {});
  const Json& unet_xl = sdxl.components.at("unet").config;
  EXPECT_EQ(unet_xl["transformer_layers_per_block"], (Json{1, 2, 10}));
  EXPECT_EQ(unet_xl["attention_head_dim"], (Json{5, 10, 20}));
  EXPECT_EQ(unet_xl["down_block_types"], (Json{"DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"}));
  EXPECT_EQ(unet_xl["projection_class_embeddings_input_dim"], 2816);
  EXPECT_EQ(sdxl.components.at("text_encoder_2").config["num_hidden_layers"], 32);
  EXPECT_EQ(sdxl.components.at("text_encoder_2").config["num_attention_heads"], 20);
  EXPECT_EQ(sdxl.components.at("vae").config["scaling_factor"], 0.13025);
  EXPECT_EQ(sdxl.pipeline, "StableDiffusionXLPipeline");
  // Every config builds, with every tensor in its place.
  for (const SingleFile* single : {&sd15, &sd21, &sdxl}) {
    for (const auto& [role, component] : single->components) build_component(component, {});
  }
}

std::string refusal(const TensorMap& tensors, const SingleFileWishes& wishes) {
  try {
    split_single_file(tensors, wishes);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// The two kinds of Stable Diffusion 2 differ in numbers only.
TEST(SingleFilePrediction, IsFoundOrAskedFor) {
  TensorMap tensors = shapes_of("sd21");
  const std::string telling = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias";
  const auto found = [&](float spread) {
    tensor::Tensor bias(tensor::DType::f32, {320});
    for (size_t i = 0; i < 320; ++i) bias.data<float>()[i] = i % 2 ? spread : -spread;
    tensors[telling] = tensor::memory_source(bias, "bias");
    const SingleFile single = split_single_file(tensors, {});
    return single.scheduler["prediction_type"].get<std::string>();
  };
  EXPECT_EQ(found(0.2f), "v_prediction");
  EXPECT_EQ(found(0.02f), "epsilon");
  tensors.erase(telling);
  EXPECT_NE(refusal(tensors, {}).find("give --prediction epsilon or --prediction v_prediction"), std::string::npos);
  EXPECT_NE(refusal(tensors, {.prediction = "magic"}).find("--prediction magic"), std::string::npos);
  EXPECT_EQ(refusal(tensors, {.prediction = "epsilon"}), "");
}

TEST(SingleFileErrors, NameTheTensor) {
  TensorMap tensors = shapes_of("sd15");
  tensors.emplace("model.diffusion_model.extra.weight", std::make_shared<ShapeOnly>(tensor::Dims{4}));
  EXPECT_NE(refusal(tensors, {}).find("tensor \"extra.weight\" has no place in a UNet"), std::string::npos);
  tensors.erase("model.diffusion_model.extra.weight");
  tensors.erase("model.diffusion_model.input_blocks.0.0.weight");
  EXPECT_NE(refusal(tensors, {}).find("input_blocks.0.0.weight"), std::string::npos);
  TensorMap others;
  others.emplace("model.diffusion_model.joint_blocks.0.x", std::make_shared<ShapeOnly>(tensor::Dims{4}));
  EXPECT_NE(refusal(others, {}).find("Stable Diffusion 3"), std::string::npos);
}

}  // namespace
}  // namespace lathe::frontend

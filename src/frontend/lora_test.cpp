// LoRA files of every form are merged as diffusers merges them; whole runs with them are in cli/picture_parts_test.cpp.
#include "frontend/lora.h"

#include <gtest/gtest.h>

#include <functional>

#include "frontend/checkpoint_testing.h"
#include "frontend/lora_names.h"
#include "frontend/low_rank_source.h"
#include "frontend/original_unet.h"
#include "frontend/picture_checkpoint.h"
#include "frontend/single_file_parts.h"
#include "io/tensor_file.h"

namespace lathe::frontend {
namespace {

namespace fs = std::filesystem;
using tensor::Dims;
using tensor::DType;
using tensor::SourcePtr;
using tensor::Tensor;

const fs::path kPictures = LATHE_TESTS_DIR "/pictures";

// 0.1, 0.2 ... under any dims.
SourcePtr counting(const Dims& dims, DType dtype = DType::f32) {
  Tensor tensor(DType::f32, dims);
  float value = 0;
  for (float& x : tensor.data<float>()) x = value += 0.1f;
  return tensor::converted_source(tensor::memory_source(std::move(tensor), "counting"), dtype);
}

std::vector<float> floats_of(const SourcePtr& source) {
  std::vector<float> values(size_t(tensor::element_count(source->dims())));
  source->read_rows_f32(0, source->rows(), values);
  return values;
}

TEST(LowRank, IsTheSumWhereverItIsRead) {
  const SourcePtr base = counting({4, 3, 2, 2}, DType::f16), up = counting({4, 2, 1, 1}), down = counting({2, 3, 2, 2});
  const SourcePtr sum = low_rank_source(base, up, down, 0.5);
  ASSERT_EQ(sum->dims(), base->dims());
  const auto b = floats_of(base), u = floats_of(up), d = floats_of(down), found = floats_of(sum);
  for (size_t i = 0; i < 48; ++i) {
    const size_t row = i / 12, column = i % 12;
    EXPECT_NEAR(found[i], b[i] + 0.5f * (u[row * 2] * d[column] + u[row * 2 + 1] * d[12 + column]), 1e-5f);
  }
  // A part of some rows.
  std::vector<float> part(3);
  sum->read_part(7, 3, 1, 1, std::as_writable_bytes(std::span(part)));
  EXPECT_EQ(part, (std::vector<float>{found[15], found[17], found[19]}));
}

TEST(LoraOptions, FileAndScale) {
  EXPECT_EQ(parse_lora("a.safetensors"), (LoraFile{"a.safetensors", 1}));
  EXPECT_EQ(parse_lora("x/a.safetensors:0.75"), (LoraFile{"x/a.safetensors", 0.75}));
  EXPECT_EQ(parse_lora("a:-1e-1"), (LoraFile{"a", -0.1}));
  for (const char* text : {"a:", "a:much", "a:0.5x", "a:nan"}) EXPECT_THROW(parse_lora(text), Error) << text;
}

// The names of a whole UNet of every kind, there and back.
TEST(OriginalNames, AreThoseOfSingleFiles) {
  for (const char* name : {"sd15", "sdxl"}) {
    SCOPED_TRACE(name);
    TensorMap stored;
    for (const auto& tensor :
         io::TensorFile::open(kPictures / "single" / (std::string(name) + ".safetensors")).tensors) {
      stored.emplace(tensor.name, tensor.source);
    }
    const NamedPart unet = unet_of_single_file(stored, std::string(name) == "sdxl");
    const OriginalUnetNames original(unet.tensors);
    for (const auto& [tensor, source] : unet.tensors) {
      if (source->dims().size() < 2) continue;  // norms are none of a LoRA's layers
      const std::string module = tensor.substr(0, tensor.rfind('.'));
      const std::string full = fmt::format("{}{}.weight", kSingleFileUNet, original.of(module));
      ASSERT_TRUE(stored.contains(full)) << module << " " << full;
      EXPECT_EQ(stored.at(full), source) << module;
    }
  }
}

// A file with changes, against sd15.
class LoraFiles : public testing::Test {
 protected:
  using Tensors = std::vector<io::NamedSource>;

  std::string note(const std::function<void(Tensors&)>& change, const char* pipeline = "sd15") {
    Tensors tensors = io::TensorFile::open(kPictures / "lora/kohya.safetensors").tensors;
    change(tensors);
    const fs::path file = folder_.path() / "changed.safetensors";
    io::write_safetensors(file, tensors);
    PictureOptions options;
    options.parts.loras = {{file, 0.5}};
    return PictureCheckpoint::open(kPictures / pipeline, options).notes().at(0);
  }
  std::string refusal(const std::function<void(Tensors&)>& change, const char* pipeline = "sd15") {
    try {
      note(change, pipeline);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  void expect_refusal(const std::function<void(Tensors&)>& change, const std::string& part,
                      const char* pipeline = "sd15") {
    const std::string text = refusal(change, pipeline);
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }

  TemporaryFolder folder_;
};

TEST_F(LoraFiles, SayWhatTheyChange) {
  const std::string text = note([](Tensors&) {});
  EXPECT_NE(text.find("changed.safetensors x 0.5: layers 12 of text_encoder, "), std::string::npos) << text;
}

TEST_F(LoraFiles, OfAnotherModelAreRefusedByName) {
  expect_refusal([](Tensors&) {}, "lora_unet_down_blocks_0_attentions_0_proj_in (no such layer)", "sdxl");
}

TEST_F(LoraFiles, OfAnotherWidthAreRefusedByShape) {
  const auto narrow = [](Tensors& tensors) {
    for (io::NamedSource& tensor : tensors) {
      if (tensor.name == "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight") {
        tensor.source = counting({2, 48});
      }
    }
  };
  expect_refusal(narrow, "attn2_to_k ([32, 2] x [2, 48] for a weight [32, 32])");
  expect_refusal(narrow, "1 of its");
}

TEST_F(LoraFiles, WithHalvesMissingAreRefused) {
  expect_refusal(
      [](Tensors& tensors) {
        std::erase_if(tensors, [](const auto& t) {
          return t.name == "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight";
        });
      },
      "layer \"lora_te_text_model_encoder_layers_0_mlp_fc1\": the up half is missing");
}

TEST_F(LoraFiles, OfOtherKindsAreRefused) {
  expect_refusal([](Tensors& tensors) { tensors.push_back({"lora_unet_x.hada_w1_a", counting({2})}); }, "LoHa");
  expect_refusal([](Tensors& tensors) { tensors.push_back({"lora_unet_x.dora_scale", counting({2})}); }, "DoRA");
  expect_refusal([](Tensors& tensors) { tensors.push_back({"lora_unet_x.bias", counting({2})}); }, "none of a LoRA's");
  expect_refusal([](Tensors& tensors) { tensors.clear(); }, "holds no LoRA");
}

// A convolution in three parts: up x mid x down.
TEST_F(LoraFiles, WithAMiddlePart) {
  const std::string layer = "lora_unet_down_blocks_0_resnets_0_conv1", weight = "down_blocks.0.resnets.0.conv1.weight";
  Tensors tensors = {{layer + ".lora_down.weight", counting({3, 16, 1, 1})},
                     {layer + ".lora_mid.weight", counting({2, 3, 3, 3})},
                     {layer + ".lora_up.weight", counting({16, 2, 1, 1})},
                     {layer + ".alpha", tensor::memory_source(Tensor::scalar<float>(1), "alpha")}};
  auto components = PictureCheckpoint::open(kPictures / "sd15").components();
  const auto before = floats_of(components.at("unet").tensors.at(weight));
  io::write_safetensors(folder_.path() / "mid.safetensors", tensors);
  apply_lora(components, {folder_.path() / "mid.safetensors", 1});
  const auto after = floats_of(components.at("unet").tensors.at(weight));
  const auto down = floats_of(tensors[0].source), mid = floats_of(tensors[1].source), up = floats_of(tensors[2].source);
  for (size_t o = 0; o < 16; ++o) {
    for (size_t i = 0; i < 16; ++i) {
      for (size_t p = 0; p < 9; ++p) {
        double sum = 0;
        for (size_t a = 0; a < 2; ++a) {
          for (size_t b = 0; b < 3; ++b) sum += double(up[o * 2 + a]) * mid[(a * 3 + b) * 9 + p] * down[b * 16 + i];
        }
        const size_t at = (o * 16 + i) * 9 + p;
        ASSERT_NEAR(after[at], before[at] + sum / 2, 1e-4 * std::abs(sum));  // alpha 1 of rank 2
      }
    }
  }
}

}  // namespace
}  // namespace lathe::frontend

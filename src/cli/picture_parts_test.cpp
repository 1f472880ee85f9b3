// Pipelines with parts added to them end in diffusers' latents: LoRA files of every form (tests/pictures/lora, made by
// tools/make_lora_fixtures.py) and trained concepts (tests/pictures/embeddings, by tools/make_embedding_fixtures.py);
// and the safety checker hides the pictures that diffusers' hides (tests/pictures/checker, by
// tools/make_checker_fixtures.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "cli/picture_model.h"
#include "io/npy.h"

namespace lathe::cli {
namespace {

namespace fs = std::filesystem;
using tensor::Tensor;

const fs::path kPictures = LATHE_TESTS_DIR "/pictures";

pipeline::PictureRequest request_of(const Json& json, const std::string& prompt) {
  pipeline::PictureRequest request;
  request.prompt = prompt;
  request.width = get_int(json, "width");
  request.height = get_int(json, "height");
  request.steps = int(get_int(json, "steps"));
  request.guidance = get_number(json, "guidance");
  request.seed = uint64_t(get_int(json, "seed"));
  return request;
}

Tensor latents_of(const fs::path& pipeline, const frontend::PictureParts& parts,
                  const pipeline::PictureRequest& request) {
  return open_diffuser(open_picture_model(pipeline, {.parts = parts}, false),
                       {.graph = {.threads = 2, .isa = "", .limits = {}}, .keep_models = true})
      ->run(request)
      .latents;
}

void expect_near(const Tensor& expected, const Tensor& found) {
  ASSERT_EQ(expected.dims(), found.dims());
  const auto e = expected.data<float>(), f = found.data<float>();
  float largest = 0, error = 0;
  for (size_t i = 0; i < e.size(); ++i) {
    largest = std::max(largest, std::abs(e[i]));
    error = std::max(error, std::abs(e[i] - f[i]));
  }
  EXPECT_LE(error, 1e-4f * largest) << "largest " << largest;
}

TEST(Loras, EndInTheLatentsOfDiffusers) {
  const fs::path folder = kPictures / "lora";
  const Json cases = read_json_file(folder / "cases.json");
  ASSERT_EQ(cases["cases"].size(), 4u);
  for (const Json& row : cases["cases"]) {
    SCOPED_TRACE(row.dump());
    const frontend::PictureParts parts{{{folder / get_string(row, "file"), get_number(row, "scale")}}, {}};
    expect_near(
        io::read_npy(folder / get_string(row, "latents")),
        latents_of(kPictures / get_string(row, "pipeline"), parts, request_of(cases, get_string(cases, "prompt"))));
  }
}

// A LoRA added and taken away again leaves nothing behind.
TEST(Loras, AddUp) {
  const fs::path folder = kPictures / "lora";
  const Json cases = read_json_file(folder / "cases.json");
  const auto request = request_of(cases, get_string(cases, "prompt"));
  const fs::path file = folder / "kohya.safetensors";
  expect_near(latents_of(kPictures / "sd15", {}, request),
              latents_of(kPictures / "sd15", {{{file, 0.25}, {file, 0.5}, {file, -0.75}}, {}}, request));
}

frontend::EmbeddingFile embedding_of(const Json& row) {
  return {kPictures / "embeddings" / get_string(row, "file"), find_string(row, "word").value_or("")};
}

TEST(Embeddings, BecomeTheTokensOfDiffusers) {
  const Json cases = read_json_file(kPictures / "embeddings/cases.json");
  ASSERT_EQ(cases["cases"].size(), 5u);
  for (const Json& row : cases["cases"]) {
    SCOPED_TRACE(get_string(row, "file"));
    frontend::PictureOptions options;
    options.parts.embeddings = {embedding_of(row)};
    const auto checkpoint = frontend::PictureCheckpoint::open(kPictures / get_string(row, "pipeline"), options);
    for (const auto& [role, component] : checkpoint.components()) {
      if (!role.starts_with("text_encoder")) continue;
      const std::string folder = "tokenizer" + role.substr(12);
      const auto clip = text::make_clip_tokenizer(frontend::tokenizer_files(checkpoint.assets(), folder));
      for (const Json& prompt : row["prompts"]) {
        auto ids = prompt["ids"].get<std::vector<int32_t>>();
        ids = {ids.begin() + 1, ids.end() - 1};  // without start and end
        EXPECT_EQ(clip.encode(get_string(prompt, "prompt")), ids) << prompt["prompt"].dump();
      }
    }
  }
}

TEST(Embeddings, EndInTheLatentsOfDiffusers) {
  const Json cases = read_json_file(kPictures / "embeddings/cases.json");
  for (const Json& row : cases["cases"]) {
    SCOPED_TRACE(get_string(row, "file"));
    const frontend::PictureParts parts{{}, {embedding_of(row)}};
    expect_near(io::read_npy(kPictures / "embeddings" / get_string(row, "latents")),
                latents_of(kPictures / get_string(row, "pipeline"), parts,
                           request_of(cases, get_string(row["prompts"][0], "prompt"))));
  }
}

std::string refusal(const char* pipeline, const std::vector<frontend::EmbeddingFile>& embeddings) {
  try {
    frontend::PictureOptions options;
    options.parts.embeddings = embeddings;
    frontend::PictureCheckpoint::open(kPictures / pipeline, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Embeddings, ThatDoNotFitAreRefused) {
  const fs::path folder = kPictures / "embeddings";
  const auto expect = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  expect(refusal("sdxl", {{folder / "diffusers.bin", ""}}), "made for another model");
  expect(refusal("sd15", {{folder / "xl.safetensors", ""}}), "made for another model");
  expect(refusal("sd15", {{folder / "web_ui.safetensors", "!"}}), "has a token \"!\" already");
  expect(refusal("sd15", {{folder / "diffusers.bin", ""}, {folder / "diffusers.bin", ""}}), "<Ring-Toy>\" already");
  expect(refusal("sd15", {{kPictures / "lora/kohya.safetensors", ""}}), "no concept");
  expect(refusal("sd15", {{folder / "missing.bin", ""}}), "missing.bin");
  EXPECT_EQ(refusal("sd15", {{folder / "diffusers.bin", "other"}, {folder / "web_ui.pt", ""}}), "");
}

TEST(EmbeddingOptions, FileAndName) {
  EXPECT_EQ(frontend::parse_embedding("a/b.pt"), (frontend::EmbeddingFile{"a/b.pt", ""}));
  EXPECT_EQ(frontend::parse_embedding("<x>=a/b=c.pt"), (frontend::EmbeddingFile{"a/b=c.pt", "<x>"}));
  EXPECT_EQ(frontend::parse_embedding("a/b=c.pt"), (frontend::EmbeddingFile{"a/b=c.pt", ""}));
}

// The pipeline, and its checker's folder in tests/pictures/checker.
class CheckedPipeline : public testing::TestWithParam<std::pair<const char*, const char*>> {
 protected:
  // As it would be published with a checker.
  void SetUp() override {
    const auto& [pipeline, checker] = GetParam();
    fs::remove_all(folder_);
    fs::copy(kPictures / pipeline, folder_, fs::copy_options::recursive);
    fs::copy(kPictures / "checker" / checker, folder_ / "safety_checker", fs::copy_options::recursive);
    fs::copy(kPictures / "checker/feature_extractor", folder_ / "feature_extractor", fs::copy_options::recursive);
    Json index = read_json_file(folder_ / "model_index.json");
    index["safety_checker"] = {"stable_diffusion", "StableDiffusionSafetyChecker"};
    std::ofstream(folder_ / "model_index.json") << index;
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_ = fs::path(testing::TempDir()) / "checked_pipeline";
};

INSTANTIATE_TEST_SUITE_P(Checkpoints, CheckedPipeline,
                         testing::Values(std::pair("sd15", "safety_checker"), std::pair("onnx_sd15", "safety_checker"),
                                         std::pair("onnx_sd15", "onnx")));

TEST_P(CheckedPipeline, HidesWhatDiffusersHides) {
  const Json cases = read_json_file(kPictures / "checker/golden/cases.json");
  const auto diffuser = open_diffuser(open_picture_model(folder_, {}, false),
                                      {.graph = {.threads = 2, .isa = "", .limits = {}}, .keep_models = true});
  Json run = cases;
  run["seed"] = cases["seeds"][0];
  auto request = request_of(run, get_string(cases, "prompt"));
  request.batch = int64_t(cases["seeds"].size());  // seeds that follow each other
  const auto result = diffuser->run(request);
  EXPECT_EQ(result.hidden, cases["hidden"].get<std::vector<bool>>());
  const size_t size = result.images.data<float>().size() / result.hidden.size();
  size_t told = 0;
  for (size_t i = 0; i < result.hidden.size(); ++i) {
    const auto pixels = result.images.data<float>().subspan(i * size, size);
    EXPECT_EQ(std::ranges::all_of(pixels, [](float pixel) { return pixel == -1; }), bool(result.hidden[i])) << i;
    told += result.hidden[i];
  }
  EXPECT_EQ(std::ranges::count_if(result.notes, [](const auto& note) { return note.find("is black") != note.npos; }),
            told);
  request.safety_checker = false;
  EXPECT_TRUE(diffuser->run(request).hidden.empty());
}

}  // namespace
}  // namespace lathe::cli

// The safety checker computes what diffusers' does (tests/pictures/checker, made by tools/make_checker_fixtures.py).
#include <gtest/gtest.h>

#include <cmath>

#include "frontend/checkpoint_testing.h"
#include "frontend/picture_checkpoint.h"
#include "io/npy.h"

namespace lathe::frontend {
namespace {

namespace fs = std::filesystem;

const fs::path kPictures = LATHE_TESTS_DIR "/pictures";

// sd15 as it would be published with a checker.
void make_pipeline(const fs::path& folder) {
  fs::copy(kPictures / "sd15", folder, fs::copy_options::recursive);
  for (const char* part : {"safety_checker", "feature_extractor"}) {
    fs::copy(kPictures / "checker" / part, folder / part, fs::copy_options::recursive);
  }
  Json index = read_json_file(folder / "model_index.json");
  index["safety_checker"] = {"stable_diffusion", "StableDiffusionSafetyChecker"};
  index["feature_extractor"] = {"transformers", "CLIPImageProcessor"};
  std::ofstream(folder / "model_index.json") << index;
}

TEST(SafetyChecker, ComputesWhatDiffusersDoes) {
  const TemporaryFolder folder;
  make_pipeline(folder.path());
  const auto checkpoint = PictureCheckpoint::open(folder.path());
  EXPECT_TRUE(checkpoint.contract().safety_checker);
  const auto golden = [&](const char* name) {
    return io::read_npy(kPictures / "checker/golden" / fmt::format("safety_checker.{}.npy", name));
  };
  const ir::Graph graph = checkpoint.build("safety_checker");
  const auto results = ir::evaluate(graph, {{"clip_input", golden("clip_input")}});
  for (const char* name : {"concept_scores", "special_scores"}) {
    SCOPED_TRACE(name);
    const tensor::Tensor expected = golden(name), found = results.at(name);
    ASSERT_EQ(expected.dims(), found.dims());
    for (size_t i = 0; i < expected.data<float>().size(); ++i) {
      EXPECT_NEAR(expected.data<float>()[i], found.data<float>()[i], 1e-5f);
    }
  }
}

TEST(SafetyChecker, IsLeftOutOnRequest) {
  const TemporaryFolder folder;
  make_pipeline(folder.path());
  fs::remove_all(folder.path() / "safety_checker");
  EXPECT_THROW(PictureCheckpoint::open(folder.path()), Error);
  PictureOptions options;
  options.safety_checker = false;
  const auto checkpoint = PictureCheckpoint::open(folder.path(), options);
  EXPECT_FALSE(checkpoint.contract().safety_checker);
  ASSERT_EQ(checkpoint.notes().size(), 1u);
  EXPECT_NE(checkpoint.notes()[0].find("left out"), std::string::npos);
  EXPECT_TRUE(parse_json(checkpoint.assets().at("model_index.json"), "index")["safety_checker"][1].is_null());
}

TEST(SafetyChecker, NeedsItsFeatureExtractor) {
  const TemporaryFolder folder;
  make_pipeline(folder.path());
  fs::remove_all(folder.path() / "feature_extractor");
  try {
    PictureCheckpoint::open(folder.path());
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("feature_extractor/preprocessor_config.json"), std::string::npos);
  }
}

}  // namespace
}  // namespace lathe::frontend

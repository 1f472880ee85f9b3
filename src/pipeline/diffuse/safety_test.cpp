// What the safety checker is shown and when it hides a picture are transformers' and diffusers'
// (tests/pictures/checker, made by tools/make_checker_fixtures.py).
#include "pipeline/diffuse/safety.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "io/npy.h"

namespace lathe::pipeline {
namespace {

namespace fs = std::filesystem;

const fs::path kChecker = LATHE_TESTS_DIR "/pictures/checker";

image::Image picture(int64_t width, int64_t height) {
  image::Image image{width, height, 3, {}};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (const int64_t value : {x * 7, y * 9, x * y}) image.pixels.push_back(uint8_t(value % 256));
    }
  }
  return image;
}

TEST(ClassifierInput, IsTransformers) {
  const std::string config = read_text_file(kChecker / "feature_extractor/preprocessor_config.json");
  for (const auto& [width, height] : {std::pair{40, 24}, {32, 32}, {20, 61}}) {
    SCOPED_TRACE(fmt::format("{} x {}", width, height));
    const tensor::Tensor expected = io::read_npy(kChecker / fmt::format("golden/pixels.{}x{}.npy", width, height));
    const tensor::Tensor found = classifier_input(picture(width, height), config);
    ASSERT_EQ(expected.dims(), found.dims());
    for (size_t i = 0; i < expected.data<float>().size(); ++i) {
      ASSERT_NEAR(expected.data<float>()[i], found.data<float>()[i], 1e-6f) << i;
    }
  }
}

// Files of before 2023 give sizes as numbers.
TEST(ClassifierInput, OldConfigs) {
  const std::string config = R"({"size": 28, "crop_size": 28, "resample": 3})";
  const std::string file = read_text_file(kChecker / "feature_extractor/preprocessor_config.json");
  const tensor::Tensor old = classifier_input(picture(40, 24), config), now = classifier_input(picture(40, 24), file);
  ASSERT_EQ(old.dims(), now.dims());
  for (size_t i = 0; i < old.data<float>().size(); ++i) ASSERT_NEAR(old.data<float>()[i], now.data<float>()[i], 1e-6f);
  for (const char* wrong : {R"({})", R"({"size": 0})", R"({"size": {"shortest_edge": 28}, "crop_size": "large"})",
                            R"({"size": 28, "crop_size": 28, "resample": 5})", "[]", "no JSON",
                            R"({"size": 28, "crop_size": 28, "image_mean": [1, 2]})"}) {
    EXPECT_THROW(classifier_input(picture(4, 4), wrong), Error) << wrong;
  }
}

TEST(Safety, HidesWhatDiffusersHides) {
  const Json cases = read_json_file(kChecker / "golden/cases.json");
  ASSERT_EQ(cases["rules"].size(), 200u);
  for (const Json& rule : cases["rules"]) {
    EXPECT_EQ(is_unsafe(rule["concepts"].get<std::vector<float>>(), rule["specials"].get<std::vector<float>>()),
              rule["hidden"].get<bool>())
        << rule.dump();
  }
}

}  // namespace
}  // namespace lathe::pipeline

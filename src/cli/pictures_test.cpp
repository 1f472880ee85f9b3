// Whole runs end in diffusers' latents: every kind of pipeline, several schedulers, from noise, from a picture and
// through a mask (tests/pictures, made by tools/make_picture_fixtures.py).
#include "cli/pictures.h"

#include <gtest/gtest.h>

#include <cmath>

#include "io/npy.h"

namespace lathe::cli {
namespace {

namespace fs = std::filesystem;
using tensor::Tensor;

const fs::path kPictures = LATHE_TESTS_DIR "/pictures";

// The picture and the mask of the fixtures.
Tensor example_picture(int64_t width, int64_t height) {
  Tensor picture(tensor::DType::f32, {1, 3, height, width});
  float* out = picture.data<float>().data();
  for (int c = 0; c < 3; ++c) {
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        const int64_t pixel = (c == 0 ? x * 7 : c == 1 ? y * 9 : x * y) % 256;
        *out++ = 2.0f * (float(pixel) / 255.0f) - 1.0f;
      }
    }
  }
  return picture;
}

Tensor example_mask(int64_t width, int64_t height) {
  Tensor mask(tensor::DType::f32, {1, 1, height, width});
  for (int64_t y = 4; y < 14; ++y) {
    for (int64_t x = 8; x < 22; ++x) mask.data<float>()[size_t(y * width + x)] = 1;
  }
  return mask;
}

pipeline::PictureRequest request_of(const Json& golden, const Json& json) {
  pipeline::PictureRequest request;
  request.prompt = get_string(golden, "prompt");
  request.negative_prompt = find_string(json, "negative");
  request.width = get_int(json, "width");
  request.height = get_int(json, "height");
  request.steps = int(get_int(json, "steps"));
  request.guidance = get_number(json, "guidance");
  request.guidance_rescale = find_number(json, "rescale").value_or(0);
  request.eta = find_number(json, "eta").value_or(0);
  request.seed = uint64_t(get_int(json, "seed"));
  request.clip_skip = find_int(json, "clip_skip").value_or(0);
  request.scheduler = find_string(json, "scheduler").value_or("");
  if (find_bool(json, "image").value_or(false)) request.image = example_picture(request.width, request.height);
  if (find_bool(json, "mask").value_or(false)) request.mask = example_mask(request.width, request.height);
  request.strength = find_number(json, "strength").value_or(-1);
  return request;
}

float largest_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.dims(), b.dims());
  if (a.dims() != b.dims()) return INFINITY;
  float largest = 0;
  for (size_t i = 0; i < a.data<float>().size(); ++i)
    largest = std::max(largest, std::abs(a.data<float>()[i] - b.data<float>()[i]));
  return largest;
}

float largest_of(const Tensor& a) {
  return largest_difference(a, Tensor(a.dtype(), a.dims()));
}

pipeline::PictureRequest request_for(std::string prompt, int steps) {
  pipeline::PictureRequest request;
  request.prompt = std::move(prompt);
  request.steps = steps;
  return request;
}

std::unique_ptr<pipeline::Diffuser> open(const std::string& name, int threads = 2) {
  return open_diffuser(open_picture_model(kPictures / name, {}, false),
                       {.graph = {.threads = threads, .isa = "", .limits = {}}, .keep_models = true});
}

class PictureRuns : public testing::TestWithParam<const char*> {};

TEST_P(PictureRuns, EndInTheLatentsOfDiffusers) {
  const fs::path golden = kPictures / GetParam() / "golden";
  const Json cases = read_json_file(golden / "cases.json");
  const auto diffuser = open(GetParam());
  ASSERT_GE(cases["cases"].size(), 2u);
  for (size_t i = 0; i < cases["cases"].size(); ++i) {
    SCOPED_TRACE(cases["cases"][i].dump());
    const auto result = diffuser->run(request_of(cases, cases["cases"][i]));
    const Tensor expected = io::read_npy(golden / fmt::format("latents.{}.npy", i));
    EXPECT_LE(largest_difference(expected, result.latents), 1e-4f * largest_of(expected));
    if (i > 0) continue;
    const Tensor image = io::read_npy(golden / "image.0.npy");  // [height, width, 3]
    const int64_t plane = result.height * result.width;
    float error = 0;
    for (int64_t at = 0; at < plane; ++at) {
      for (int64_t c = 0; c < 3; ++c) {
        const float found = result.images.data<float>()[size_t(c * plane + at)];
        const float clamped = std::clamp(found * 0.5f + 0.5f, 0.0f, 1.0f);
        error = std::max(error, std::abs(image.data<float>()[size_t(at * 3 + c)] - clamped));
      }
    }
    EXPECT_LE(error, 1e-4f);
  }
}

INSTANTIATE_TEST_SUITE_P(Pictures, PictureRuns, testing::Values("sd15", "sd21", "inpaint", "sdxl", "lcm"),
                         [](const auto& test) { return std::string(test.param); });

// A picture of a batch is the picture of its own seed.
TEST(PictureBatches, AreTheirPictures) {
  for (const char* name : {"sd21", "sdxl", "lcm"}) {
    SCOPED_TRACE(name);
    const auto diffuser = open(name);
    pipeline::PictureRequest request = request_for("a green ring", 3);
    request.guidance = 4;
    request.seed = 11;
    request.batch = 3;
    request.scheduler = std::string(name) == "lcm" ? "" : "euler_a";
    const auto batch = diffuser->run(request);
    const size_t size = batch.latents.data<float>().size() / 3;
    for (uint64_t i = 0; i < 3; ++i) {
      pipeline::PictureRequest alone = request;
      alone.batch = 1;
      alone.seed = request.seed + i;
      const Tensor expected = diffuser->run(alone).latents;
      const Tensor part = Tensor::of<float>(expected.dims(), batch.latents.data<float>().subspan(i * size, size));
      EXPECT_LE(largest_difference(expected, part), 1e-4f * largest_of(expected));
    }
  }
}

TEST(PictureRequests, ThatCannotBeAreRefused) {
  const auto diffuser = open("sd21");
  const auto refusal = [&](const std::function<void(pipeline::PictureRequest&)>& change) -> std::string {
    pipeline::PictureRequest request = request_for("a ring", 1);
    change(request);
    try {
      diffuser->run(request);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      return error.what();
    }
    return "";
  };
  using Request = pipeline::PictureRequest;
  EXPECT_EQ(refusal([](Request&) {}), "");
  EXPECT_NE(refusal([](Request& r) { r.width = 31; }).find("--width 31: expected a multiple of 2"), std::string::npos);
  EXPECT_NE(refusal([](Request& r) { r.height = 1 << 20; }).find("--height"), std::string::npos);
  EXPECT_NE(refusal([](Request& r) { r.steps = -3; }).find("--steps -3"), std::string::npos);
  EXPECT_NE(refusal([](Request& r) { r.guidance = NAN; }).find("--guidance"), std::string::npos);
  EXPECT_NE(refusal([](Request& r) { r.batch = 0; }).find("--batch 0"), std::string::npos);
  EXPECT_NE(refusal([](Request& r) { r.strength = 1.5; }).find("--strength 1.5"), std::string::npos);
  EXPECT_NE(refusal([](Request& r) { r.mask = example_mask(32, 32); }).find("--mask needs --image"), std::string::npos);
  EXPECT_NE(refusal([](Request& r) { r.image = example_picture(16, 32); }).find("--image: expected f32[1, 3, 32, 32]"),
            std::string::npos);
  EXPECT_NE(refusal([](Request& r) { r.prompt = std::string(3 << 20, 'a'); }).find("3145728 bytes"), std::string::npos);
}

TEST(PictureRequests, LongPlainPromptsAreCutWithANote) {
  pipeline::PictureRequest request = request_for("", 1);
  request.plain_prompt = true;
  for (int i = 0; i < 100000; ++i) request.prompt += "star ";
  const auto result = open("sd21")->run(request);
  ASSERT_EQ(result.notes.size(), 1u);  // the size is the model's own
  EXPECT_NE(result.notes[0].find("the prompt has 100000 tokens, the model reads 75"), std::string::npos)
      << result.notes[0];
}

// Weights of 1 change nothing; others do; a long prompt is read to its end.
TEST(PictureRequests, WeightsAndLongPrompts) {
  const auto diffuser = open("sd21");
  const auto latents = [&](const std::string& prompt) {
    pipeline::PictureRequest request = request_for(prompt, 2);
    request.guidance = 5;
    return diffuser->run(request).latents;
  };
  const Tensor plain = latents("a red circle on white");
  EXPECT_EQ(largest_difference(plain, latents("a (red:1.0) circle on white")), 0);
  EXPECT_GT(largest_difference(plain, latents("a (red:1.5) circle on white")), 1e-3f);
  std::string many;
  for (int i = 0; i < 80; ++i) many += "star ";
  EXPECT_GT(largest_difference(latents(many + "red"), latents(many + "blue")), 1e-3f);
  pipeline::PictureRequest absurd = request_for("", 1);
  for (int i = 0; i < 100000; ++i) absurd.prompt += "star ";
  EXPECT_THROW(diffuser->run(absurd), Error);
}

TEST(PictureRequests, AnotherSizeThanTheModelsIsSaid) {
  pipeline::PictureRequest request = request_for("a ring", 1);
  request.width = 40;
  const auto result = open("sd21")->run(request);
  ASSERT_EQ(result.notes.size(), 1u);
  EXPECT_EQ(result.notes[0], "40 x 32 pixels; the model was made for 32 x 32");
}

TEST(PictureRequests, APipelineThatPaintsNeedsAPicture) {
  try {
    open("inpaint")->run(request_for("a ring", 1));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("takes 9 channels"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace lathe::cli

// The normals of torch and numpy, bit for bit.
#include "pipeline/diffuse/torch_random.h"

#include <gtest/gtest.h>

#include <bit>

#include "base/error.h"
#include "base/json.h"

namespace lathe::pipeline {
namespace {

TEST(TorchRandom, BitForBitFromSeveralMillionDraws) {
  size_t total = 0;
  for (const Json& golden : read_json_file(LATHE_TESTS_DIR "/diffuse/random.json")) {
    SCOPED_TRACE(
        fmt::format("{} seed {} sizes {}", golden["kind"].dump(), golden["seed"].dump(), golden["sizes"].dump()));
    const auto source = make_normal_source(golden["kind"].get<std::string>(), golden["seed"].get<uint64_t>());
    std::vector<uint32_t> bits;
    for (const Json& size : golden["sizes"]) {
      std::vector<float> normals(size.get<size_t>());
      source->fill(normals);
      for (const float x : normals) bits.push_back(std::bit_cast<uint32_t>(x));
    }
    const Json& first = golden["first"];
    for (size_t i = 0; i < first.size(); ++i) EXPECT_EQ(bits[i], first[i].get<uint32_t>()) << i;
    uint64_t sum = 0;
    for (size_t i = 0; i < bits.size(); ++i) sum += uint64_t{bits[i]} * (2 * i + 1);
    EXPECT_EQ(std::to_string(sum), golden["sum"].get<std::string>());
    total += bits.size();
  }
  EXPECT_GT(total, 2'000'000u);
}

// From the notes of web UI's rng_philox.py, five digits each.
TEST(TorchRandom, CudaAsWrittenDownFromAGpu) {
  const auto check = [](uint64_t seed, const std::vector<float>& expected) {
    std::vector<float> normals(16384);
    TorchCudaRandom(seed).fill(normals);
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(normals[i], expected[i], 1e-5) << seed << " " << i;
  };
  check(0, {-0.92466f, -0.42534f, -2.64385f, 0.14518f, -0.12087f, -0.57973f});
  check(42, {0.19402f, 2.16137f, -0.17205f, 0.84906f});
}

// Small draws do not depend on the GPU, and a second draw goes on in the stream.
TEST(TorchRandom, CudaDrawsBeyondTheThreadsUseAllFourNormals) {
  std::vector<float> small(4096), large(3 * 2048 + 100);
  TorchCudaRandom(3, 132).fill(small);
  TorchCudaRandom one(3, 1);
  one.fill(large);
  for (size_t i = 0; i < 2048; ++i) EXPECT_EQ(small[i], large[i]);
  EXPECT_NE(small[2048], large[2048]);  // the second normal of thread 0
  double sum = 0, squares = 0;
  for (const float x : large) {
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / double(large.size()), 0, 0.05);
  EXPECT_NEAR(squares / double(large.size()), 1, 0.06);
  std::vector<float> next(4);
  one.fill(next);
  EXPECT_NE(next[0], large[0]);
}

TEST(TorchRandom, WhatCannotBeIsRefused) {
  const auto code = [](std::string_view kind, uint64_t seed) {
    try {
      make_normal_source(kind, seed);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::internal;
  };
  EXPECT_EQ(code("gpu", 0), ErrorCode::usage);
  EXPECT_EQ(code("numpy", uint64_t{1} << 32), ErrorCode::usage);
  TorchCpuRandom random(1);
  random.fill({});  // nothing is drawn
}

}  // namespace
}  // namespace lathe::pipeline

#include "pipeline/diffuse/torch_random.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/error.h"
#include "pipeline/diffuse/torch_math.h"

namespace lathe::pipeline {
namespace {

constexpr size_t kBlock = 16;

// 24 bits, 0 to 1 without 1.
float uniform_float(std::mt19937& engine) {
  return float(engine() & 0xFFFFFFu) * 0x1p-24f;
}

// 53 bits; the first of two numbers has the high ones.
double uniform_double(std::mt19937& engine) {
  const uint64_t high = engine(), low = engine();
  return double(((high << 32) | low) & ((uint64_t{1} << 53) - 1)) * 0x1p-53;
}

// Box and Muller's pairs: a block's first 8 uniforms are radii, its last 8 angles; so are the normals' cosines and
// sines.
void transform_block(float* block) {
  for (size_t j = 0; j < kBlock / 2; ++j) {
    const float radius = std::sqrt(-2.0f * torch_log(1.0f - block[j]));
    const SineCosine angle = torch_sincos(float(2 * std::numbers::pi) * block[j + 8]);
    block[j] = radius * angle.cosine + 0.0f;  // times the deviation 1, plus the mean 0: no negative zero is left
    block[j + 8] = radius * angle.sine + 0.0f;
  }
}

// 10 rounds of Philox 4x32 (Salmon and others, 2011).
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter[0], b = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {uint32_t(b >> 32) ^ counter[1] ^ key0, uint32_t(b), uint32_t(a >> 32) ^ counter[3] ^ key1, uint32_t(a)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// cuRAND's pair of normals from two numbers.
std::array<float, 2> cuda_pair(uint32_t x, uint32_t y) {
  constexpr auto kTurn = float(2 * std::numbers::pi);
  const float u = float(x) * 0x1p-32f + 0x1p-33f;
  const float angle = float(y) * (0x1p-32f * kTurn) + (0x1p-33f * kTurn);
  const float radius = std::sqrt(-2.0f * std::log(u));
  return {radius * std::sin(angle), radius * std::cos(angle)};
}

}  // namespace

TorchCpuRandom::TorchCpuRandom(uint64_t seed) : engine_(uint32_t(seed)) {}

double TorchCpuRandom::next_double_normal() {
  if (has_kept_) {
    has_kept_ = false;
    return kept_;
  }
  const double turn = uniform_double(engine_), u = uniform_double(engine_);
  const double radius = std::sqrt(-2.0 * std::log1p(-u)), angle = 2.0 * std::numbers::pi * turn;
  kept_ = radius * std::sin(angle);
  has_kept_ = true;
  return radius * std::cos(angle);
}

void TorchCpuRandom::fill(std::span<float> normals) {
  const size_t count = normals.size();
  if (count < kBlock) {
    for (float& x : normals) x = float(next_double_normal());
    return;
  }
  for (float& x : normals) x = uniform_float(engine_);
  for (size_t i = 0; i + kBlock <= count; i += kBlock) transform_block(&normals[i]);
  if (count % kBlock == 0) return;
  // The last 16 are drawn again, those among them that were done included.
  const std::span<float> last = normals.last(kBlock);
  for (float& x : last) x = uniform_float(engine_);
  transform_block(last.data());
}

TorchCudaRandom::TorchCudaRandom(uint64_t seed, int processors) : seed_(seed) {
  if (processors < 1) fail(ErrorCode::usage, "processors: expected at least 1, found {}", processors);
  constexpr uint64_t kThreadsPerProcessor = 2048;
  most_threads_ = kThreadsPerProcessor * uint64_t(processors);
}

void TorchCudaRandom::fill(std::span<float> normals) {
  if (normals.empty()) return;
  constexpr uint64_t kThreadsPerBlock = 256;
  const uint64_t wanted = (normals.size() + kThreadsPerBlock - 1) / kThreadsPerBlock * kThreadsPerBlock;
  const uint64_t threads = std::min(wanted, most_threads_);
  // A thread draws four normals at a time, for places that are `threads` apart.
  const uint64_t rounds = (normals.size() + 4 * threads - 1) / (4 * threads);
  for (uint64_t thread = 0; thread < std::min<uint64_t>(threads, normals.size()); ++thread) {
    for (uint64_t round = 0; round < rounds; ++round) {
      const uint64_t place = offset_ / 4 + round;
      const auto bits = philox({uint32_t(place), uint32_t(place >> 32), uint32_t(thread), uint32_t(thread >> 32)},
                               uint32_t(seed_), uint32_t(seed_ >> 32));
      const auto first = cuda_pair(bits[0], bits[1]), second = cuda_pair(bits[2], bits[3]);
      const std::array<float, 4> four = {first[0], first[1], second[0], second[1]};
      for (uint64_t k = 0; k < 4; ++k) {
        const uint64_t at = thread + threads * (4 * round + k);
        if (at < normals.size()) normals[at] = four[k];
      }
    }
  }
  offset_ += 4 * rounds;
}

NumpyRandom::NumpyRandom(uint32_t seed) : engine_(seed) {}

void NumpyRandom::fill(std::span<float> normals) {
  const auto uniform = [&] {
    const uint32_t high = uint32_t(engine_()) >> 5, low = uint32_t(engine_()) >> 6;
    return (double(high) * 0x1p26 + double(low)) * 0x1p-53;
  };
  for (float& normal : normals) {
    if (has_kept_) {
      has_kept_ = false;
      normal = float(kept_);
      continue;
    }
    double x = 0, y = 0, square = 0;
    do {  // Marsaglia's polar method
      x = 2.0 * uniform() - 1.0;
      y = 2.0 * uniform() - 1.0;
      square = x * x + y * y;
    } while (square >= 1.0 || square == 0.0);
    const double factor = std::sqrt(-2.0 * std::log(square) / square);
    kept_ = factor * x;
    has_kept_ = true;
    normal = float(factor * y);
  }
}

std::vector<std::string> normal_source_kinds() {
  return {"torch", "cuda", "numpy"};
}

std::unique_ptr<NormalSource> make_normal_source(std::string_view kind, uint64_t seed) {
  if (kind == "torch") return std::make_unique<TorchCpuRandom>(seed);
  if (kind == "cuda") return std::make_unique<TorchCudaRandom>(seed);
  if (kind != "numpy")
    fail(ErrorCode::usage, "noise: expected one of {}, found \"{}\"", fmt::join(normal_source_kinds(), ", "), kind);
  if (seed > std::numeric_limits<uint32_t>::max())
    fail(ErrorCode::usage, "seed: numpy takes 0 to {}, found {}", std::numeric_limits<uint32_t>::max(), seed);
  return std::make_unique<NumpyRandom>(uint32_t(seed));
}

}  // namespace lathe::pipeline

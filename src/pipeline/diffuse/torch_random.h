// Standard normals exactly as others draw them from a seed: torch on the CPU and on CUDA, and numpy.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lathe::pipeline {

// A stream of standard normals. Every call continues it. For one thread.
class NormalSource {
 public:
  virtual ~NormalSource() = default;
  // What one call of randn for so many numbers gives; cutting a call in two gives other numbers.
  virtual void fill(std::span<float> normals) = 0;
};

// torch.randn(n, generator=torch.Generator("cpu").manual_seed(seed)) in float32, bit for bit as torch computes it with
// AVX2 or better.
class TorchCpuRandom : public NormalSource {
 public:
  explicit TorchCpuRandom(uint64_t seed);
  void fill(std::span<float> normals) override;

 private:
  double next_double_normal();

  std::mt19937 engine_;
  double kept_ = 0;  // the second of a pair of normals, for calls of fewer than 16
  bool has_kept_ = false;
};

// torch.randn(n, device="cuda") after manual_seed(seed): Philox 4x32-10. The GPU computes logarithm and sine with its
// own last places; these are the correct ones. Numbers of large draws depend on the GPU, by how many threads it runs
// at once: `processors` is its count of multiprocessors (2,048 threads each).
class TorchCudaRandom : public NormalSource {
 public:
  static constexpr int kH200Processors = 132;
  explicit TorchCudaRandom(uint64_t seed, int processors = kH200Processors);
  void fill(std::span<float> normals) override;

 private:
  uint64_t seed_;
  uint64_t most_threads_;
  uint64_t offset_ = 0;
};

// numpy.random.RandomState(seed).randn(n), rounded to float32.
class NumpyRandom : public NormalSource {
 public:
  explicit NumpyRandom(uint32_t seed);
  void fill(std::span<float> normals) override;

 private:
  std::mt19937 engine_;
  double kept_ = 0;
  bool has_kept_ = false;
};

// "torch", "cuda" or "numpy"; throws usage for other names and for seeds that the library would not take.
std::unique_ptr<NormalSource> make_normal_source(std::string_view kind, uint64_t seed);
std::vector<std::string> normal_source_kinds();

}  // namespace lathe::pipeline

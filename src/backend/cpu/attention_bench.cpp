// Times attention alone at the shape of SmolLM2-135M (9 query heads, 3 KV heads, 64 dimensions, 30 layers),
// and checks that two runs give the same bits.
//
//   attention_bench [threads [isa [dtype]]]
//
// With one thread it counts the processor's time, which holds on a busy machine too; with more, wall time.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

#include "backend/cpu/attention.h"
#include "base/error.h"

namespace lathe::backend::cpu {
namespace {

constexpr int64_t kHeads = 9;
constexpr int64_t kLayers = 30;

double seconds(clockid_t clock) {
  timespec time;
  ::clock_gettime(clock, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

class Bench {
 public:
  Bench(Isa isa, int threads, tensor::DType dtype, int64_t context)
      : isa_(isa),
        team_(threads),
        kv_{dtype, 3, 64},
        context_(context),
        blocks_((context + kKvBlock - 1) / kKvBlock),
        layer_size_(size_t(blocks_) * kv_block_size(kv_)),
        cache_(size_t(kLayers) * layer_size_) {
    // Small numbers that are valid in every dtype: 0x2c2c is 0.065 in fp16, 2.4e-12 in bf16 and fp32.
    std::memset(cache_.data(), 0x2c, cache_.size());
    for (int64_t i = 0; i < blocks_; ++i) table_.push_back(int32_t(blocks_ - 1 - i));
  }

  // Best time in ms of all layers for `tokens` tokens that end at the context's end.
  double measure(int64_t tokens, int repeats) {
    const int64_t row = (kHeads + 6) * 64;
    std::vector<float> qkv(size_t(tokens * row)), cos(size_t(tokens * 32), 0.8f),
        sin(size_t(tokens * 32), 0.6f);
    std::mt19937 random(1);
    for (float& x : qkv) x = float(int(random() % 2001) - 1000) * 1e-3f;
    std::vector<float> out(size_t(tokens * kHeads * 64)), first;
    std::vector<std::byte> scratch(attention_scratch_size(tokens, kHeads, kv_, team_.size()) + 64);
    const int32_t first_token[2] = {0, int32_t(tokens)};
    const int32_t first_position[1] = {int32_t(context_ - tokens)};
    AttentionCall call{};
    call.qkv = qkv.data();
    call.tokens = tokens;
    call.heads = kHeads;
    call.kv = kv_;
    call.scale = 0.125f;
    call.cos = cos.data();
    call.sin = sin.data();
    call.rotary_dim = 64;
    call.sequences = 1;
    call.first_token = first_token;
    call.first_position = first_position;
    call.block_table = table_.data();
    call.blocks_per_sequence = blocks_;
    call.out = out.data();
    call.scratch = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64);
    const AttentionKernel kernel = attention_kernel(isa_);
    const clockid_t clock = team_.size() == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
    double best = 1e9;
    for (int r = 0; r < repeats; ++r) {
      const double start = seconds(clock);
      team_.run([&](TeamMember& member) {
        for (int64_t layer = 0; layer < kLayers; ++layer) {
          AttentionCall mine = call;
          mine.cache = cache_.data() + size_t(layer) * layer_size_;
          kernel(mine, member);
          member.barrier();
        }
      });
      best = std::min(best, (seconds(clock) - start) * 1e3);
      if (first.empty()) first = out;
      LATHE_CHECK(std::memcmp(first.data(), out.data(), out.size() * sizeof(float)) == 0, "results differ");
    }
    return best;
  }

  double cache_bytes() const {
    return double(context_) * 3 * 64 * 2 * (kv_.dtype == tensor::DType::f32 ? 4 : 2) * kLayers;
  }

 private:
  Isa isa_;
  Team team_;
  KvShape kv_;
  int64_t context_;
  int64_t blocks_;
  size_t layer_size_;
  std::vector<std::byte> cache_;
  std::vector<int32_t> table_;
};

void run(int threads, std::string_view isa_name, std::string_view dtype_name) {
  for (const Isa isa : {Isa::avx2, Isa::avx512}) {
    if (!has_isa(isa) || (!isa_name.empty() && to_string(isa) != isa_name)) continue;
    for (const tensor::DType dtype : {tensor::DType::f16, tensor::DType::bf16, tensor::DType::f32}) {
      if (!dtype_name.empty() && tensor::to_string(dtype) != dtype_name) continue;
      for (const int64_t context : {64, 512, 1024, 4096, 8000}) {
        Bench bench(isa, threads, dtype, context);
        const double ms = bench.measure(1, 12);
        fmt::print("{:6} {:4} threads {} decode at {:5}: {:7.2f} ms a token, {:5.1f} GB/s\n", to_string(isa),
                   tensor::to_string(dtype), threads, context, ms, bench.cache_bytes() / ms * 1e-6);
      }
      for (const int64_t tokens : {128, 512, 2048}) {
        Bench bench(isa, threads, dtype, tokens);
        const double ms = bench.measure(tokens, 3);
        // Multiplications and additions of the causal half of both products.
        const double gflop = 4e-9 * double(kLayers * kHeads * 64) * double(tokens) * double(tokens + 1) / 2;
        fmt::print("{:6} {:4} threads {} prefill {:6}:   {:7.2f} ms, {:5.1f} GFLOP/s\n", to_string(isa),
                   tensor::to_string(dtype), threads, tokens, ms, gflop / ms * 1e3);
      }
    }
  }
}

}  // namespace
}  // namespace lathe::backend::cpu

int main(int argc, char** argv) {
  lathe::backend::cpu::run(argc > 1 ? std::atoi(argv[1]) : 2, argc > 2 ? argv[2] : "",
                           argc > 3 ? argv[3] : "");
  return 0;
}

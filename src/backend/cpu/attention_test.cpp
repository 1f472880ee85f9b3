// The attention kernels against a plain reference in double, and what their header promises about bits.
#include "backend/cpu/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "base/error.h"
#include "base/numbers.h"

namespace lathe::backend::cpu {
namespace {

using tensor::DType;

struct Model {
  int64_t heads;
  KvShape kv;
  int64_t rotary_dim = 0;
  bool interleaved = false;
  float scale = 0;

  int64_t row() const { return (heads + 2 * kv.kv_heads) * kv.head_dim; }
};

float rounded(float x, DType dtype) {
  if (dtype == DType::f16) return f16_to_f32(f32_to_f16(x));
  if (dtype == DType::bf16) return bf16_to_f32(f32_to_bf16(x));
  return x;
}

struct FreeAligned {
  void operator()(std::byte* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<std::byte, FreeAligned>;
// Filled with NaNs of every dtype: nothing may be read before it was written.
Buffer dirty_buffer(size_t bytes) {
  bytes = (bytes + 63) / 64 * 64;
  Buffer buffer(static_cast<std::byte*>(std::aligned_alloc(64, std::max<size_t>(bytes, 64))));
  std::memset(buffer.get(), 0xff, bytes);
  return buffer;
}

std::vector<float> random_floats(size_t count, uint32_t seed, float range = 1.0f) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-range, range);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  return values;
}

float angle(int64_t position, int64_t pair, int64_t rotary_dim) {
  return float(position) * float(std::pow(10000.0, -2.0 * double(pair) / double(rotary_dim)));
}

// One sequence: inputs of all its tokens, and what attention over them must give.
struct Sequence {
  int64_t length;
  std::vector<float> qkv;        // [length, row]
  std::vector<double> expected;  // [length, heads * head_dim]
  std::vector<float> keys;       // [length, kv_heads, head_dim], rotated and rounded
  std::vector<float> values;
};

std::vector<float> rotated(const Model& model, const float* x, int64_t position) {
  std::vector<float> out(x, x + model.kv.head_dim);
  const int64_t half = model.rotary_dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    const float c = std::cos(angle(position, i, model.rotary_dim));
    const float s = std::sin(angle(position, i, model.rotary_dim));
    const int64_t a = model.interleaved ? 2 * i : i;
    const int64_t b = model.interleaved ? 2 * i + 1 : i + half;
    out[size_t(a)] = x[a] * c - x[b] * s;
    out[size_t(b)] = x[b] * c + x[a] * s;
  }
  return out;
}

// Only tokens from `first` on get expected values.
Sequence make_sequence(const Model& model, int64_t length, uint32_t seed, int64_t first = 0) {
  const int64_t dim = model.kv.head_dim;
  Sequence sequence{length, random_floats(size_t(length * model.row()), seed, 2.0f), {}, {}, {}};
  sequence.expected.assign(size_t(length * model.heads * dim), 0);
  for (int64_t t = 0; t < length; ++t) {
    for (int64_t h = 0; h < model.kv.kv_heads; ++h) {
      const float* key = &sequence.qkv[size_t(t * model.row() + (model.heads + h) * dim)];
      const float* value = key + model.kv.kv_heads * dim;
      for (const float x : rotated(model, key, t)) sequence.keys.push_back(rounded(x, model.kv.dtype));
      for (int64_t i = 0; i < dim; ++i) sequence.values.push_back(rounded(value[i], model.kv.dtype));
    }
  }
  for (int64_t t = first; t < length; ++t) {
    for (int64_t h = 0; h < model.heads; ++h) {
      const auto q = rotated(model, &sequence.qkv[size_t(t * model.row() + h * dim)], t);
      const int64_t kv_head = h / (model.heads / model.kv.kv_heads);
      std::vector<double> weights(size_t(t + 1));
      for (int64_t p = 0; p <= t; ++p) {
        const float* key = &sequence.keys[size_t((p * model.kv.kv_heads + kv_head) * dim)];
        double score = 0;
        for (int64_t i = 0; i < dim; ++i) score += double(q[size_t(i)]) * double(key[i]);
        weights[size_t(p)] = score * double(model.scale);
      }
      const double top = *std::max_element(weights.begin(), weights.end());
      double sum = 0;
      for (double& weight : weights) sum += weight = std::exp(weight - top);
      double* out = &sequence.expected[size_t((t * model.heads + h) * dim)];
      for (int64_t p = 0; p <= t; ++p) {
        const float* value = &sequence.values[size_t((p * model.kv.kv_heads + kv_head) * dim)];
        for (int64_t i = 0; i < dim; ++i) out[i] += weights[size_t(p)] / sum * double(value[i]);
      }
    }
  }
  return sequence;
}

// A cache for some sequences, with blocks handed out in an order drawn from `seed`.
class Cache {
 public:
  Cache(const Model& model, int64_t sequences, int64_t max_length, uint32_t seed)
      : model_(model),
        per_sequence_((max_length + kKvBlock - 1) / kKvBlock),
        table_(size_t(sequences * per_sequence_)),
        bytes_(dirty_buffer(table_.size() * kv_block_size(model.kv))) {
    std::iota(table_.begin(), table_.end(), 0);
    std::shuffle(table_.begin(), table_.end(), std::mt19937(seed));
  }

  // Tokens [from, to) of one sequence of a step.
  struct Part {
    int64_t slot;  // which sequence of the cache
    const Sequence* sequence;
    int64_t from;
    int64_t to;
  };

  // One call; returns [tokens, heads * head_dim].
  std::vector<float> step(Isa isa, Team& team, const std::vector<Part>& parts) {
    std::vector<float> qkv, cos, sin;
    std::vector<int32_t> first_token{0}, first_position, table;
    for (const Part& part : parts) {
      const auto begin = part.sequence->qkv.begin();
      qkv.insert(qkv.end(), begin + part.from * model_.row(), begin + part.to * model_.row());
      for (int64_t t = part.from; t < part.to; ++t) {
        for (int64_t i = 0; i < model_.rotary_dim / 2; ++i) {
          cos.push_back(std::cos(angle(t, i, model_.rotary_dim)));
          sin.push_back(std::sin(angle(t, i, model_.rotary_dim)));
        }
      }
      first_token.push_back(first_token.back() + int32_t(part.to - part.from));
      first_position.push_back(int32_t(part.from));
      const auto row = table_.begin() + part.slot * per_sequence_;
      table.insert(table.end(), row, row + per_sequence_);
    }
    const int64_t tokens = first_token.back();
    std::vector<float> out(size_t(tokens * model_.heads * model_.kv.head_dim), -1e30f);
    const size_t scratch_size = attention_scratch_size(tokens, model_.heads, model_.kv, team.size());
    const Buffer scratch = dirty_buffer(scratch_size);
    AttentionCall call{};
    call.qkv = qkv.data();
    call.tokens = tokens;
    call.heads = model_.heads;
    call.kv = model_.kv;
    call.scale = model_.scale;
    call.cos = model_.rotary_dim ? cos.data() : nullptr;
    call.sin = model_.rotary_dim ? sin.data() : nullptr;
    call.rotary_dim = model_.rotary_dim;
    call.interleaved = model_.interleaved;
    call.sequences = int64_t(parts.size());
    call.first_token = first_token.data();
    call.first_position = first_position.data();
    call.block_table = table.data();
    call.blocks_per_sequence = per_sequence_;
    call.cache = bytes_.get();
    call.out = out.data();
    call.scratch = scratch.get();
    const AttentionKernel kernel = attention_kernel(isa);
    team.run([&](TeamMember& member) { kernel(call, member); });
    return out;
  }

  const std::byte* block(int64_t slot, int64_t index) const {
    return bytes_.get() + size_t(table_[size_t(slot * per_sequence_ + index)]) * kv_block_size(model_.kv);
  }

 private:
  Model model_;
  int64_t per_sequence_;
  std::vector<int32_t> table_;
  Buffer bytes_;
};

std::vector<Isa> isas() {
  std::vector<Isa> all;
  for (const Isa isa : {Isa::avx2, Isa::avx512}) {
    if (has_isa(isa)) all.push_back(isa);
  }
  return all;
}

Model model_of(int64_t heads, int64_t kv_heads, int64_t head_dim, DType dtype = DType::f32) {
  Model model{heads, {dtype, kv_heads, head_dim}, 0, false, 0};
  model.scale = 1.0f / std::sqrt(float(head_dim));
  return model;
}

// Largest difference between out and the expected rows [from, to) of a sequence.
double worst_error(const Model& model, const Sequence& sequence, int64_t from, int64_t to, const float* out) {
  const int64_t width = model.heads * model.kv.head_dim;
  double worst = 0;
  for (int64_t i = 0; i < (to - from) * width; ++i) {
    const double error = std::abs(double(out[i]) - sequence.expected[size_t(from * width + i)]);
    worst = error <= worst ? worst : error;  // a NaN stays
  }
  return worst;
}

// Values are at most 2; scores of up to a few tens carry a rounding error of 1e-6 each. The inputs of the
// reference are rounded like the cache, so the same bound holds for all dtypes.
constexpr double kTolerance = 2e-5;

std::string describe(const Model& model, Isa isa, int threads) {
  return fmt::format("{} heads {}/{} dim {} {} rotary {}{} threads {}", to_string(isa), model.heads,
                     model.kv.kv_heads, model.kv.head_dim, tensor::to_string(model.kv.dtype),
                     model.rotary_dim, model.interleaved ? " interleaved" : "", threads);
}

// Prefill of all but the last three tokens, then three decode steps, all compared.
void check_prefill_and_decode(const Model& model, int64_t length, Isa isa, Team& team) {
  SCOPED_TRACE(describe(model, isa, team.size()) + fmt::format(" length {}", length));
  const Sequence sequence = make_sequence(model, length, uint32_t(length * 31 + model.heads));
  Cache cache(model, 1, length, 7);
  const int64_t prompt = std::max<int64_t>(1, length - 3);
  const auto out = cache.step(isa, team, {{0, &sequence, 0, prompt}});
  EXPECT_LE(worst_error(model, sequence, 0, prompt, out.data()), kTolerance);
  for (int64_t t = prompt; t < length; ++t) {
    const auto next = cache.step(isa, team, {{0, &sequence, t, t + 1}});
    EXPECT_LE(worst_error(model, sequence, t, t + 1, next.data()), kTolerance);
  }
}

TEST(Attention, MatchesReferenceForAllShapes) {
  const int64_t head_counts[][2] = {{1, 1}, {4, 2}, {9, 3}, {8, 1}, {71, 1}};
  for (const int threads : {1, 2, 3}) {
    Team team(threads);
    for (const Isa isa : isas()) {
      for (const auto& [heads, kv_heads] : head_counts) {
        for (const int64_t dim : {8, 16, 20, 64, 80, 96, 128, 256}) {
          if (heads == 71 && dim > 64) continue;  // slow reference, nothing new
          for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
            check_prefill_and_decode(model_of(heads, kv_heads, dim, dtype), 70 + threads, isa, team);
          }
        }
      }
    }
  }
}

TEST(Attention, MatchesReferenceForOddHeadDims) {
  Team team(2);
  for (const Isa isa : isas()) {
    for (const int64_t dim : {1, 2, 7, 33, 100}) {
      for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
        check_prefill_and_decode(model_of(6, 3, dim, dtype), 67, isa, team);
      }
    }
  }
}

TEST(Attention, RotatesInBothConventions) {
  Team team(2);
  for (const Isa isa : isas()) {
    for (const int64_t dim : {16, 20, 64, 80, 128}) {
      for (const int64_t rotary_dim : {dim, dim / 4 * 2, int64_t{2}}) {
        for (const bool interleaved : {false, true}) {
          for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
            Model model = model_of(6, 2, dim, dtype);
            model.rotary_dim = rotary_dim;
            model.interleaved = interleaved;
            check_prefill_and_decode(model, 75, isa, team);
          }
        }
      }
    }
  }
}

TEST(Attention, MatchesReferenceAtBlockEdgesAndAllLengths) {
  std::mt19937 random(3);
  for (const int threads : {1, 2, 3}) {
    Team team(threads);
    for (const Isa isa : isas()) {
      std::vector<int64_t> lengths{1, 2, 3, 4, 63, 64, 65, 66, 127, 128, 129, 130, 131};
      for (int i = 0; i < 8; ++i) lengths.push_back(1 + int64_t(random() % 200));
      for (const int64_t length : lengths) {
        Model model = model_of(9, 3, 64, length % 2 ? DType::f16 : DType::f32);
        model.rotary_dim = 64;
        check_prefill_and_decode(model, length, isa, team);
      }
    }
  }
}

TEST(Attention, MatchesReferenceAtLongContexts) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    const Model model = model_of(3, 1, 64, dtype);
    const int64_t prompt = 700;
    const int64_t length = 2500;
    const Sequence sequence = make_sequence(model, length, 11, length - 2);
    const Sequence start = make_sequence(model, prompt, 12);
    for (const int threads : {1, 2, 3}) {
      Team team(threads);
      for (const Isa isa : isas()) {
        SCOPED_TRACE(describe(model, isa, threads));
        Cache cache(model, 2, length, 5);
        const auto out = cache.step(isa, team, {{1, &start, 0, prompt}});
        EXPECT_LE(worst_error(model, start, 0, prompt, out.data()), kTolerance);
        cache.step(isa, team, {{0, &sequence, 0, length - 1}});
        const auto last = cache.step(isa, team, {{0, &sequence, length - 1, length}});
        EXPECT_LE(worst_error(model, sequence, length - 1, length, last.data()), kTolerance);
      }
    }
  }
}

// Random steps over several sequences, each with its own mix of long chunks, short chunks and single tokens.
TEST(Attention, MixedStepsMatchReference) {
  Model model = model_of(4, 2, 64, DType::f16);
  model.rotary_dim = 32;
  std::vector<Sequence> sequences;
  for (const int64_t length : {130, 1, 77, 200, 64}) {
    sequences.push_back(make_sequence(model, length, uint32_t(100 + length)));
  }
  for (const int threads : {1, 2, 3}) {
    Team team(threads);
    for (const Isa isa : isas()) {
      SCOPED_TRACE(describe(model, isa, threads));
      std::mt19937 random(uint32_t(threads) * 17);
      Cache cache(model, int64_t(sequences.size()), 200, 9);
      std::vector<int64_t> done(sequences.size(), 0);
      for (;;) {
        std::vector<Cache::Part> parts;
        for (size_t s = 0; s < sequences.size(); ++s) {
          const int64_t left = sequences[s].length - done[s];
          if (left == 0 || random() % 4 == 0) continue;
          const int64_t wish = std::vector<int64_t>{1, 1, 5, 13, 90}[random() % 5];
          const int64_t count = std::min(left, wish);
          parts.push_back({int64_t(s), &sequences[s], done[s], done[s] + count});
          done[s] += count;
        }
        if (parts.empty()) {
          if (std::equal(done.begin(), done.end(), sequences.begin(),
                         [](int64_t d, const Sequence& s) { return d == s.length; })) {
            break;
          }
          continue;
        }
        const auto out = cache.step(isa, team, parts);
        const float* at = out.data();
        for (const auto& part : parts) {
          EXPECT_LE(worst_error(model, *part.sequence, part.from, part.to, at), kTolerance);
          at += (part.to - part.from) * model.heads * model.kv.head_dim;
        }
      }
    }
  }
}

TEST(Attention, PrefillEqualsShorterPrefillAndDecodes) {
  const Model model = model_of(9, 3, 64);
  const int64_t length = 150;
  const Sequence sequence = make_sequence(model, length, 1, length);
  Team team(2);
  const int64_t width = model.heads * model.kv.head_dim;
  for (const Isa isa : isas()) {
    Cache whole(model, 1, length, 1);
    const auto all = whole.step(isa, team, {{0, &sequence, 0, length}});
    for (const int64_t decodes : {1, 2, 7, 40}) {
      Cache parts(model, 1, length, 2);
      parts.step(isa, team, {{0, &sequence, 0, length - decodes}});
      for (int64_t t = length - decodes; t < length; ++t) {
        const auto one = parts.step(isa, team, {{0, &sequence, t, t + 1}});
        for (int64_t i = 0; i < width; ++i) ASSERT_NEAR(one[size_t(i)], all[size_t(t * width + i)], 1e-5);
      }
    }
  }
}

// Bits of a sequence depend on its own tokens and positions: not on block numbers, on other sequences of the
// step, or on the number of threads.
TEST(Attention, BitsDoNotDependOnBlocksCompanyOrThreads) {
  for (const DType dtype : {DType::f32, DType::f16}) {
    const Model model = model_of(9, 3, 64, dtype);
    const Sequence sequence = make_sequence(model, 1200, 21, 1200);
    const Sequence other = make_sequence(model, 500, 22, 500);
    for (const Isa isa : isas()) {
      std::vector<float> prefill, decode;
      for (const int threads : {1, 2, 3, 5}) {
        Team team(threads);
        for (const bool company : {false, true}) {
          Cache cache(model, 3, 1200, uint32_t(threads * 2 + company));
          std::vector<Cache::Part> first{{0, &sequence, 0, 1190}};
          std::vector<Cache::Part> then{{0, &sequence, 1190, 1191}};
          if (company) {
            first.insert(first.begin(), {2, &other, 0, 333});
            then.insert(then.begin(), {2, &other, 333, 400});
          }
          auto a = cache.step(isa, team, first);
          auto b = cache.step(isa, team, then);
          const int64_t width = model.heads * model.kv.head_dim;
          if (company) {
            a.erase(a.begin(), a.begin() + 333 * width);
            b.erase(b.begin(), b.begin() + 67 * width);
          }
          if (prefill.empty()) {
            prefill = a;
            decode = b;
          }
          SCOPED_TRACE(describe(model, isa, threads));
          EXPECT_TRUE(std::memcmp(a.data(), prefill.data(), prefill.size() * 4) == 0)
              << "prefill, company " << company;
          EXPECT_TRUE(std::memcmp(b.data(), decode.data(), decode.size() * 4) == 0)
              << "decode, company " << company;
        }
      }
    }
  }
}

TEST(Attention, CacheHoldsRoundedKeysAndValues) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    for (const int64_t dim : {20, 64, 80}) {
      Model model = model_of(4, 2, dim, dtype);
      model.rotary_dim = dim;
      const int64_t length = 100;
      const Sequence sequence = make_sequence(model, length, 4, length);
      Team team(2);
      for (const Isa isa : isas()) {
        Cache cache(model, 1, length, 3);
        cache.step(isa, team, {{0, &sequence, 0, 90}});
        cache.step(isa, team, {{0, &sequence, 90, 100}});
        for (int64_t b = 0; b < 2; ++b) {
          const int64_t count = std::min(kKvBlock, length - b * kKvBlock);
          std::vector<float> keys(size_t(2 * count * dim)), values(keys.size());
          read_kv_block(model.kv, cache.block(0, b), count, keys.data(), values.data());
          for (int64_t h = 0; h < 2; ++h) {
            for (int64_t p = 0; p < count; ++p) {
              for (int64_t i = 0; i < dim; ++i) {
                const size_t found = size_t((h * count + p) * dim + i);
                const size_t wanted = size_t(((b * kKvBlock + p) * 2 + h) * dim + i);
                ASSERT_EQ(keys[found], sequence.keys[wanted]) << h << " " << p << " " << i;
                ASSERT_EQ(values[found], sequence.values[wanted]) << h << " " << p << " " << i;
              }
            }
          }
        }
      }
    }
  }
}

// Scores far apart: the softmax must neither overflow nor lose the largest.
TEST(Attention, LargeScores) {
  Model model = model_of(3, 1, 64);
  model.scale = 30.0f;
  Team team(2);
  for (const Isa isa : isas()) {
    const Sequence sequence = make_sequence(model, 140, 8);
    Cache cache(model, 1, 140, 1);
    const auto out = cache.step(isa, team, {{0, &sequence, 0, 140}});
    // Scores reach thousands, where one float step is 2.4e-4 and shows in the weights.
    EXPECT_LE(worst_error(model, sequence, 0, 140, out.data()), 2e-2);
  }
}

TEST(Attention, NanInTheInputReachesTheOutput) {
  const Model model = model_of(3, 1, 64);
  Team team(1);
  for (const Isa isa : isas()) {
    Sequence sequence = make_sequence(model, 70, 8, 70);
    sequence.qkv[size_t(10 * model.row() + 3 * 64)] = NAN;  // key of position 10
    Cache cache(model, 1, 70, 1);
    const auto out = cache.step(isa, team, {{0, &sequence, 0, 70}});
    const auto row_has_nan = [&](int64_t t) {
      return std::any_of(out.begin() + t * 192, out.begin() + (t + 1) * 192,
                         [](float x) { return std::isnan(x); });
    };
    EXPECT_TRUE(row_has_nan(10));
    EXPECT_TRUE(row_has_nan(69));
  }
}

TEST(Attention, RefusesWhatItCannotDo) {
  const auto code_of = [](auto&& body) {
    try {
      body();
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::internal;
  };
  EXPECT_EQ(code_of([] { kv_block_size({DType::i8, 1, 64}); }), ErrorCode::unsupported);
  EXPECT_EQ(code_of([] { kv_block_size({DType::f16, 0, 64}); }), ErrorCode::unsupported);
  EXPECT_EQ(code_of([] { attention_scratch_size(1, 5, {DType::f16, 2, 64}, 1); }), ErrorCode::unsupported);
  EXPECT_EQ(code_of([] { attention_scratch_size(INT64_MAX / 2, 4, {DType::f16, 2, 64}, 1); }),
            ErrorCode::invalid_input);
  EXPECT_EQ(kv_block_size({DType::f16, 3, 64}), 3u * 2 * 64 * 64 * 2);
}

}  // namespace
}  // namespace lathe::backend::cpu

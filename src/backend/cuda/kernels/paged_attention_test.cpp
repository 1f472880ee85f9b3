// Attention over a paged cache on the emulated device, against the definition in double.
#include "backend/cuda/kernels/paged_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace lathe::backend::cuda {
namespace {

using emulated::Buffer;

struct Shape {
  int heads, kv_heads, head_dim, rotary_dim;
  bool interleaved;
  int row() const { return (heads + 2 * kv_heads) * head_dim; }
};

std::vector<float> random_floats(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-2, 2);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  return values;
}

double angle(int position, int pair, int rotary_dim) {
  return position * std::pow(10000.0, -2.0 * pair / rotary_dim);
}

template <class Format>
float stored_and_back(float x) {
  return Format::widen(narrowed<Format>(x));
}

// Sequences with different lengths; the first `known` positions come in an earlier step.
template <class Format, int kLanes, int kHeads>
class Scene {
 public:
  Scene(const Shape& shape, std::vector<int> lengths, uint32_t seed)
      : shape_(shape),
        lengths_(std::move(lengths)),
        longest_(*std::max_element(lengths_.begin(), lengths_.end())),
        per_sequence_((longest_ + kPositions - 1) / kPositions),
        table_(size_t(per_sequence_) * lengths_.size()),
        cache_("cache", table_.size() * 2 * size_t(shape.kv_heads) * kPositions * size_t(shape.head_dim)) {
    std::iota(table_.begin(), table_.end(), 0);
    std::shuffle(table_.begin(), table_.end(), std::mt19937(seed));
    for (size_t s = 0; s < lengths_.size(); ++s) {
      qkv_.push_back(random_floats(size_t(lengths_[s] * shape.row()), seed + uint32_t(s) + 1));
    }
  }

  // Tokens [from(s), to(s)) of each sequence, in one step: [tokens][heads][head_dim].
  std::vector<float> step(const std::vector<int>& from, const std::vector<int>& to, unsigned seed) {
    std::vector<float> qkv, cos, sin;
    std::vector<int> sequence, position;
    for (size_t s = 0; s < lengths_.size(); ++s) {
      for (int t = from[s]; t < to[s]; ++t) {
        const auto row = qkv_[s].begin() + t * shape_.row();
        qkv.insert(qkv.end(), row, row + shape_.row());
        sequence.push_back(int(s));
        position.push_back(t);
        for (int i = 0; i < shape_.rotary_dim / 2; ++i) {
          cos.push_back(float(std::cos(angle(t, i, shape_.rotary_dim))));
          sin.push_back(float(std::sin(angle(t, i, shape_.rotary_dim))));
        }
      }
    }
    const unsigned tokens = unsigned(sequence.size()), heads = unsigned(shape_.heads);
    const int parts = (longest_ + kPart - 1) / kPart;
    const size_t per_head = size_t(shape_.head_dim);
    Buffer<float> x("qkv", qkv), c("cos", cos), s("sin", sin), queries("queries", tokens * heads * per_head);
    Buffer<float> partial("parts", tokens * heads * size_t(parts) * (per_head + 2)),
        out("out", tokens * heads * per_head);
    Buffer<int> of("sequence", sequence), at("position", position), table("block_table", table_);
    PagedAttention<Format> call{};
    call.qkv = x;
    call.heads = shape_.heads;
    call.kv_heads = shape_.kv_heads;
    call.head_dim = shape_.head_dim;
    call.scale = scale();
    if (shape_.rotary_dim > 0) call.cos = c;
    if (shape_.rotary_dim > 0) call.sin = s;
    call.rotary_dim = shape_.rotary_dim;
    call.interleaved = shape_.interleaved;
    call.sequence = of;
    call.position = at;
    call.block_table = table;
    call.blocks_per_sequence = per_sequence_;
    call.cache = cache_;
    call.queries = queries;
    call.parts = partial;
    call.part_count = parts;
    call.out = out;
    emulated::launch({"append_kv", {tokens}, {kAppendThreads}, 0, seed}, [&] { append_kv<Format>(call); });
    emulated::launch({"attend_part", {unsigned(parts), unsigned(shape_.kv_heads), tokens}, {kAttendThreads}, 0, seed},
                     [&] {
                       if (shape_.head_dim % kLaneDims == 0)
                         attend_part<Format, kLanes, kHeads, true>(call);
                       else
                         attend_part<Format, kLanes, kHeads, false>(call);
                     });
    emulated::launch({"merge_parts", {heads, tokens}, {kMergeThreads}, 0, seed}, [&] { merge_parts<Format>(call); });
    return out.elements();
  }

  // What token t of sequence s must give: [heads][head_dim].
  std::vector<double> expected(size_t s, int t) const {
    std::vector<double> out(size_t(shape_.heads * shape_.head_dim));
    for (int h = 0; h < shape_.heads; ++h) {
      const int kv = h / (shape_.heads / shape_.kv_heads);
      const auto q = rotated(s, t, h);
      std::vector<double> weights;
      for (int p = 0; p <= t; ++p) {
        const auto k = rotated(s, p, shape_.heads + kv);
        double score = 0;
        for (int i = 0; i < shape_.head_dim; ++i) {
          score += double(q[size_t(i)]) * double(stored_and_back<Format>(k[size_t(i)]));
        }
        weights.push_back(score * double(scale()));
      }
      const double top = *std::max_element(weights.begin(), weights.end());
      double sum = 0;
      for (double& weight : weights) sum += weight = std::exp(weight - top);
      for (int p = 0; p <= t; ++p) {
        const float* v = &qkv_[s][size_t(p * shape_.row() + (shape_.heads + shape_.kv_heads + kv) * shape_.head_dim)];
        for (int i = 0; i < shape_.head_dim; ++i) {
          out[size_t(h * shape_.head_dim + i)] += weights[size_t(p)] / sum * double(stored_and_back<Format>(v[i]));
        }
      }
    }
    return out;
  }

 private:
  float scale() const { return 1.0f / std::sqrt(float(shape_.head_dim)); }

  std::vector<float> rotated(size_t s, int t, int head) const {
    const float* x = &qkv_[s][size_t(t * shape_.row() + head * shape_.head_dim)];
    std::vector<float> out(x, x + shape_.head_dim);
    const int half = shape_.rotary_dim / 2;
    for (int i = 0; i < half; ++i) {
      const int a = shape_.interleaved ? 2 * i : i, b = shape_.interleaved ? 2 * i + 1 : i + half;
      const float c = float(std::cos(angle(t, i, shape_.rotary_dim))),
                  n = float(std::sin(angle(t, i, shape_.rotary_dim)));
      out[size_t(a)] = x[a] * c - x[b] * n;
      out[size_t(b)] = x[b] * c + x[a] * n;
    }
    return out;
  }

  Shape shape_;
  std::vector<int> lengths_;
  int longest_;
  int per_sequence_;
  std::vector<int> table_;
  Buffer<typename Format::Stored> cache_;
  std::vector<std::vector<float>> qkv_;
};

// A prefill of all but the last token of each sequence, then one more: decode at other lengths in one step.
template <class Format, int kLanes, int kHeads>
void check(const Shape& shape, const std::vector<int>& lengths, double bound) {
  Scene<Format, kLanes, kHeads> scene(shape, lengths, 3);
  std::vector<int> zero(lengths.size()), most = lengths;
  for (int& length : most) --length;
  const auto prefill = scene.step(zero, most, 1);
  const auto decode = scene.step(most, lengths, 2);
  const size_t width = size_t(shape.heads * shape.head_dim);
  const auto compare = [&](const std::vector<float>& found, size_t row, size_t s, int t) {
    const auto expected = scene.expected(s, t);
    for (size_t i = 0; i < width; ++i) {
      ASSERT_NEAR(double(found[row * width + i]), expected[i], bound)
          << "sequence " << s << " token " << t << " at " << i;
    }
  };
  size_t row = 0;
  for (size_t s = 0; s < lengths.size(); ++s) {
    for (const int t : {0, most[s] / 2, most[s] - 1}) compare(prefill, row + size_t(t), s, t);
    compare(decode, s, s, most[s]);
    row += size_t(most[s]);
  }
}

// Values up to 2, weights that sum to 1: the bounds are those of f32 sums and exponentials.
constexpr double kBound = 4e-6;

TEST(PagedAttention, HeadsOfAllSizesAndFormats) {
  check<F16Format, 8, 4>({4, 1, 64, 64, false}, {9, 70}, kBound);
  check<Bf16Format, 16, 1>({2, 2, 128, 32, false}, {5, 3}, kBound);
  check<F32Format, 8, 2>({3, 1, 40, 40, true}, {4, 66}, kBound);  // heads and lanes that are left over
  check<F16Format, 16, 4>({4, 2, 80, 20, false}, {6}, kBound);
  check<F16Format, 32, 1>({1, 1, 256, 0, false}, {3}, kBound);
  check<F32Format, 8, 4>({6, 2, 12, 12, false}, {3, 68}, kBound);  // heads that fill no vectors
  check<Bf16Format, 8, 1>({2, 2, 3, 2, true}, {5}, kBound);
}

TEST(PagedAttention, PartsOfALongContextAreMerged) {
  check<F16Format, 2, 2>({2, 1, 16, 16, false}, {2 * kPart + 3, kPart, kPart + 1, 2}, kBound);
}

TEST(PagedAttention, ASequenceAloneHasTheSameBits) {
  const Shape shape = {2, 1, 16, 16, false};
  Scene<F16Format, 2, 2> both(shape, {70, kPart + 9}, 5), alone(shape, {70}, 5);
  both.step({0, 0}, {69, kPart + 8}, 1);
  alone.step({0}, {69}, 2);
  const auto a = both.step({69, kPart + 8}, {70, kPart + 9}, 3), b = alone.step({69}, {70}, 4);
  EXPECT_TRUE(std::equal(b.begin(), b.end(), a.begin()));
}

}  // namespace
}  // namespace lathe::backend::cuda

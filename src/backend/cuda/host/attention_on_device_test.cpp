// Attention of the library on a GPU, against its definition in double: a prefill of several sequences, then one more
// token of each, over a cache whose blocks lie in any order.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "backend/cuda/host/on_device.h"
#include "base/numbers.h"

namespace lathe::backend::cuda {
namespace {

constexpr int kBlock = 64, kPart = 256;  // positions

struct Shape {
  int heads, kv_heads, head_dim, rotary_dim, interleaved, format;
  int all() const { return heads + 2 * kv_heads; }
};

float stored(float x, int format) {
  if (format == LATHE_CUDA_F16) return f16_to_f32(f32_to_f16(x));
  return format == LATHE_CUDA_BF16 ? bf16_to_f32(f32_to_bf16(x)) : x;
}

// Quarter turns, which differ by position and pair: exact whether or not products and sums are fused, so that what is
// stored in the cache is the same number everywhere.
float turn_cos(int position, int pair) {
  constexpr float kCos[] = {1, 0, -1, 0};
  return kCos[(position + pair) % 4];
}
float turn_sin(int position, int pair) {
  return turn_cos(position + 3, pair);
}

// A head of a token, rotated as far as rotary_dim.
std::vector<float> rotated(const float* x, int position, const Shape& shape) {
  std::vector<float> out(x, x + shape.head_dim);
  for (int i = 0; i < shape.rotary_dim / 2; ++i) {
    const int a = shape.interleaved ? 2 * i : i, b = shape.interleaved ? 2 * i + 1 : i + shape.rotary_dim / 2;
    const float c = turn_cos(position, i), s = turn_sin(position, i);
    out[size_t(a)] = x[a] * c - x[b] * s;
    out[size_t(b)] = x[b] * c + x[a] * s;
  }
  return out;
}

// What head `head` of token `t` must give: qkv is [tokens][all][head_dim] of one sequence.
std::vector<double> expected(const std::vector<float>& qkv, int t, int head, const Shape& shape) {
  const auto at = [&](int token, int h) { return &qkv[size_t((token * shape.all() + h) * shape.head_dim)]; };
  const int kv = head / (shape.heads / shape.kv_heads);
  const std::vector<float> q = rotated(at(t, head), t, shape);
  std::vector<double> weights;
  for (int p = 0; p <= t; ++p) {
    const std::vector<float> k = rotated(at(p, shape.heads + kv), p, shape);
    double score = 0;
    for (size_t i = 0; i < k.size(); ++i) score += double(q[i]) * double(stored(k[i], shape.format));
    weights.push_back(score / std::sqrt(double(shape.head_dim)));
  }
  const double top = *std::max_element(weights.begin(), weights.end());
  double sum = 0;
  for (double& weight : weights) sum += weight = std::exp(weight - top);
  std::vector<double> out(size_t(shape.head_dim));
  for (int p = 0; p <= t; ++p) {
    const float* v = at(p, shape.heads + shape.kv_heads + kv);
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] += weights[size_t(p)] / sum * double(stored(v[i], shape.format));
    }
  }
  return out;
}

class AttentionOnDevice : public OnDevice {
 protected:
  void check(const Shape& s, const std::vector<int>& lengths) {
    SCOPED_TRACE(fmt::format("{} heads, {} of keys, of {}, format {}", s.heads, s.kv_heads, s.head_dim, s.format));
    shape = s;
    std::mt19937 random(7);
    std::uniform_real_distribution<float> uniform(-2, 2);
    qkv.clear();
    for (const int length : lengths) {
      qkv.emplace_back(size_t(length * s.all() * s.head_dim));
      for (float& value : qkv.back()) value = uniform(random);
    }
    longest = *std::max_element(lengths.begin(), lengths.end());
    blocks = (longest + kBlock - 1) / kBlock;
    std::vector<int32_t> order(lengths.size() * size_t(blocks));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    table = upload(order);
    cache = upload(std::vector<float>(order.size() * 2 * size_t(s.kv_heads * kBlock * s.head_dim)));
    std::vector<int> zero(lengths.size()), most = lengths;
    for (int& length : most) --length;
    step(zero, most);
    step(most, lengths);
    release_all();
  }

 private:
  // Tokens [from, to) of each sequence; compares some of them.
  void step(const std::vector<int>& from, const std::vector<int>& to) {
    std::vector<float> rows, cos, sin;
    std::vector<int32_t> sequence, position;
    for (size_t s = 0; s < to.size(); ++s) {
      for (int t = from[s]; t < to[s]; ++t) {
        const auto row = qkv[s].begin() + t * shape.all() * shape.head_dim;
        rows.insert(rows.end(), row, row + shape.all() * shape.head_dim);
        sequence.push_back(int32_t(s));
        position.push_back(t);
        for (int i = 0; i < shape.rotary_dim / 2; ++i) {
          cos.push_back(turn_cos(t, i));
          sin.push_back(turn_sin(t, i));
        }
      }
    }
    const size_t tokens = sequence.size(), width = size_t(shape.heads * shape.head_dim);
    LatheCudaPagedAttention call = {};
    call.qkv = upload(rows);
    call.cos = upload(cos);
    call.sin = upload(sin);
    call.sequence = upload(sequence);
    call.position = upload(position);
    call.block_table = table;
    call.cache = cache;
    call.part_count = (longest + kPart - 1) / kPart;
    call.queries = upload(std::vector<float>(tokens * width));
    call.parts = upload(std::vector<float>(tokens * size_t(shape.heads * call.part_count * (shape.head_dim + 2))));
    call.out = upload(std::vector<float>(tokens * width));
    call.tokens = int32_t(tokens);
    call.heads = shape.heads;
    call.kv_heads = shape.kv_heads;
    call.head_dim = shape.head_dim;
    call.rotary_dim = shape.rotary_dim;
    call.interleaved = shape.interleaved;
    call.blocks_per_sequence = blocks;
    call.format = shape.format;
    call.scale = 1.0f / std::sqrt(float(shape.head_dim));
    good(api->paged_attention(stream, &call, &message));
    const std::vector<float> found = download(call.out, tokens * width);
    for (size_t row = 0; row < tokens; ++row) {
      if (position[row] % 29 != 0 && position[row] != to[size_t(sequence[row])] - 1) continue;
      for (int head = 0; head < shape.heads; ++head) {
        const auto wanted = expected(qkv[size_t(sequence[row])], position[row], head, shape);
        for (size_t i = 0; i < wanted.size(); ++i) {
          // Scores of some tens in f32 are right to about 1e-5, and so are exponentials; values are up to 2.
          ASSERT_NEAR(double(found[row * width + size_t(head) * wanted.size() + i]), wanted[i], 5e-5)
              << "sequence " << sequence[row] << " token " << position[row] << " head " << head << " at " << i;
        }
      }
    }
  }

  Shape shape = {};
  std::vector<std::vector<float>> qkv;  // by sequence
  int longest = 0, blocks = 0;
  int32_t* table = nullptr;
  void* cache = nullptr;
};

TEST_F(AttentionOnDevice, EqualsTheDefinition) {
  check({4, 1, 64, 64, 0, LATHE_CUDA_F16}, {9, 70});
  check({2, 2, 128, 32, 0, LATHE_CUDA_BF16}, {5, 3, 300});
  check({3, 1, 40, 40, 1, LATHE_CUDA_F32}, {4, 66});
  check({4, 2, 80, 20, 0, LATHE_CUDA_F16}, {6, 2 * kPart + 3, kPart, kPart + 1});
  check({2, 1, 256, 0, 0, LATHE_CUDA_F16}, {3, 130});
}

}  // namespace
}  // namespace lathe::backend::cuda

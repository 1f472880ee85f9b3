#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "backend/cpu/linear_cases.h"
#include "base/error.h"

namespace lathe::backend::cpu {
namespace {

std::vector<float> random_floats(size_t count, uint32_t seed, float scale) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// A problem with its data.
struct Linear {
  LinearProblem problem;
  std::vector<tensor::SourcePtr> sources;
  std::vector<AlignedBytes> packed;
  std::vector<std::vector<float>> biases;
  std::vector<float> x, norm_scale, norm_bias, residual;
  int64_t outputs = 0;
  static constexpr float kEpsilon = 1e-5f;

  explicit Linear(const LinearProblem& p) : problem(p) {
    for (size_t i = 0; i < p.layouts.size(); ++i) {
      sources.push_back(random_weights(p.layouts[i], p.rows[i], p.columns, uint32_t(17 + i)));
      packed.push_back(pack_all(p.layouts[i], *sources.back()));
      biases.push_back(random_floats(size_t(p.rows[i]), uint32_t(29 + i), 0.3f));
      outputs += p.rows[i];
    }
    if (gated()) outputs = p.rows[0];
    x = random_floats(size_t(p.tokens * p.columns), 3, 1.0f);
    norm_scale = random_floats(size_t(p.columns), 5, 1.0f);
    if (p.norm == Norm::layer) norm_bias = random_floats(size_t(p.columns), 6, 0.5f);
    if (p.residual) residual = random_floats(size_t(p.tokens * outputs), 7, 1.0f);
  }
  bool gated() const {
    return problem.activation >= Activation::silu_gate && problem.activation <= Activation::gelu_tanh_gate;
  }

  std::vector<float> run(Isa isa, Team& team, int64_t tokens, bool in_place = false) const {
    std::vector<LinearPart> parts;
    for (size_t i = 0; i < packed.size(); ++i) {
      parts.push_back(
          {packed[i].data, problem.layouts[i], problem.rows[i], problem.bias ? biases[i].data() : nullptr});
    }
    std::vector<float> y(size_t(tokens * outputs), std::numeric_limits<float>::quiet_NaN());
    const AlignedBytes scratch(linear_scratch_size(tokens, problem.columns, team.size()));
    std::memset(scratch.data, 0xff,
                scratch.size);  // NaN everywhere: nothing may be read before it is written
    LinearCall call = {};
    call.x = x.data();
    call.tokens = tokens;
    call.columns = problem.columns;
    call.norm = problem.norm;
    if (problem.norm != Norm::none) call.norm_scale = norm_scale.data();
    if (!norm_bias.empty()) call.norm_bias = norm_bias.data();
    call.epsilon = kEpsilon;
    call.parts = parts;
    call.activation = problem.activation;
    if (!residual.empty()) call.residual = residual.data();
    if (in_place) {
      y.assign(residual.begin(), residual.begin() + std::ptrdiff_t(y.size()));
      call.residual = y.data();
    }
    call.y = y.data();
    call.compute = problem.compute;
    call.scratch = scratch.data;
    team.run([&](TeamMember& member) { linear_kernel(isa)(call, member); });
    return y;
  }
};

std::vector<Isa> isas() {
  std::vector<Isa> found;
  for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::amx}) {
    if (has_isa(isa)) found.push_back(isa);
  }
  return found;
}

bool is_integer(Compute compute) {
  return compute == Compute::i8 || compute == Compute::i16;
}

// A number and how far a correct float computation may be from it.
struct Bounded {
  double value = 0, error = 0;
};

// Rounds normalised activations of a token as `compute` says. Norms in float may end on the other side of a
// rounding boundary: where a relative change of 2e-6 does so, the step counts as error.
std::vector<Bounded> rounded_token(const Linear& linear, int64_t token) {
  const int64_t columns = linear.problem.columns;
  const float* x = linear.x.data() + token * columns;
  std::vector<double> v(x, x + columns);
  double slack = 0;
  if (linear.problem.norm != Norm::none) {
    double mean = 0, square = 0;
    if (linear.problem.norm == Norm::layer) {
      for (const double value : v) mean += value / double(columns);
    }
    for (const double value : v) square += (value - mean) * (value - mean) / double(columns);
    const double inverse = 1 / std::sqrt(square + double(Linear::kEpsilon));
    for (size_t c = 0; c < v.size(); ++c) {
      v[c] = (v[c] - mean) * inverse * linear.norm_scale[c];
      if (!linear.norm_bias.empty()) v[c] += linear.norm_bias[c];
    }
    slack = 2e-6;
  }
  std::vector<Bounded> out(v.size());
  const auto put = [&](size_t c, auto&& round) {
    // x - mean and + bias may cancel, hence the absolute part.
    const double nudge = slack * (std::abs(v[c]) + 1);
    out[c] = {round(v[c]), std::abs(round(v[c] + nudge) - round(v[c] - nudge)) + nudge};
  };
  if (!is_integer(linear.problem.compute)) {
    for (size_t c = 0; c < v.size(); ++c) {
      put(c, [&](double value) -> double {
        if (linear.problem.compute == Compute::bf16) return bf16_to_f32(f32_to_bf16(float(value)));
        if (linear.problem.compute == Compute::f16) return f16_to_f32(f32_to_f16(float(value)));
        return value;
      });
    }
    return out;
  }
  const float largest = linear.problem.compute == Compute::i8 ? 127.0f : 32767.0f;
  for (size_t first = 0; first < v.size(); first += 32) {
    float amax = 0;
    for (size_t c = first; c < first + 32; ++c) amax = std::max(amax, std::abs(float(v[c])));
    const float inverse = amax >= 0x1p-120f ? largest / amax : 0.0f;
    for (size_t c = first; c < first + 32; ++c) {
      put(c, [&](double value) { return double(amax / largest) * std::nearbyint(float(value) * inverse); });
    }
  }
  return out;
}

double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::silu_gate:
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::gelu_gate:
    case Activation::gelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::gelu_tanh_gate:
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::relu:
      return std::max(0.0, x);
    case Activation::none:
      return x;
  }
  return x;
}

// y[token][output] of the definition in linear.h, in double. `row_of` gives weights of a part's row.
Bounded product(const Linear& linear, const std::vector<Bounded>& x, size_t part, int64_t row,
                const std::vector<float>& weights) {
  Bounded sum;
  double magnitude = 0;
  for (size_t c = 0; c < x.size(); ++c) {
    const double w = weights[size_t(row) * x.size() + c];
    sum.value += w * x[c].value;
    sum.error += std::abs(w) * x[c].error;
    magnitude += std::abs(w * x[c].value);
  }
  // Minima are summed apart from scaled codes, whose sums may be larger than that of the weights: 16 codes.
  sum.error += (is_integer(linear.problem.compute) ? 1e-5 : 3e-6) * magnitude + 1e-30;
  if (linear.problem.bias) sum.value += linear.biases[part][size_t(row)];
  return sum;
}

struct Expected {
  std::vector<int64_t> tokens, rows;  // which were computed
  std::vector<Bounded> values;        // [tokens][rows]
};

// All outputs of small problems, a sample of large ones.
Expected expect(const Linear& linear) {
  const LinearProblem& p = linear.problem;
  Expected expected;
  const bool large = p.tokens * p.columns * linear.outputs > 20'000'000;
  for (int64_t t = 0; t < p.tokens; t += large ? 37 : 1) expected.tokens.push_back(t);
  for (int64_t r = 0; r < linear.outputs; r += large ? 29 : 1) expected.rows.push_back(r);
  std::vector<std::vector<float>> weights;
  for (const auto& source : linear.sources) {
    weights.emplace_back(size_t(source->rows() * source->row_elements()));
    source->read_rows_f32(0, source->rows(), weights.back());
  }
  for (const int64_t t : expected.tokens) {
    const auto x = rounded_token(linear, t);
    for (const int64_t output : expected.rows) {
      size_t part = 0;
      int64_t row = output;
      while (row >= p.rows[part]) row -= p.rows[part++];
      Bounded y = product(linear, x, part, row, weights[part]);
      // The steepest of these functions has a slope of 1.13.
      if (p.activation != Activation::none) {
        y = {activate(p.activation, y.value),
             1.2 * y.error + 2e-6 * std::abs(activate(p.activation, y.value)) + 1e-9};
      }
      if (linear.gated()) {
        const Bounded gate = product(linear, x, 1, row, weights[1]);
        y = {y.value * gate.value,
             y.error * std::abs(gate.value) + gate.error * std::abs(y.value) + y.error * gate.error};
      }
      if (p.residual) y.value += linear.residual[size_t(t * linear.outputs + output)];
      y.error += 3e-7 * std::abs(y.value);
      expected.values.push_back(y);
    }
  }
  return expected;
}

void compare(const Linear& linear, const Expected& expected, const std::vector<float>& found,
             int64_t tokens) {
  size_t i = 0;
  for (const int64_t t : expected.tokens) {
    if (t >= tokens) return;
    for (const int64_t row : expected.rows) {
      const Bounded& e = expected.values[i++];
      const float y = found[size_t(t * linear.outputs + row)];
      ASSERT_LE(std::abs(double(y) - e.value), e.error)
          << "token " << t << " output " << row << ": expected " << e.value << ", found " << y;
    }
  }
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b, size_t count) {
  return std::memcmp(a.data(), b.data(), count * sizeof(float)) == 0;
}

class LinearCases : public testing::TestWithParam<std::string> {};

// Besides the values: a token's bits depend neither on the tokens with it nor on the size of the team.
TEST_P(LinearCases, EqualTheDefinition) {
  Team one(1), two(2), three(3);
  for (const LinearProblem& problem : expand_line(GetParam())) {
    SCOPED_TRACE(problem.text);
    const Linear linear(problem);
    const Expected expected = expect(linear);
    for (const Isa isa : isas()) {
      SCOPED_TRACE(to_string(isa));
      const auto all = linear.run(isa, one, problem.tokens);
      compare(linear, expected, all, problem.tokens);
      if (testing::Test::HasFatalFailure()) return;
      EXPECT_TRUE(same_bits(all, linear.run(isa, three, problem.tokens), all.size())) << "3 threads";
      for (const int64_t tokens : {1, 2, 3, 4, 5, 7, 8, 16}) {
        if (tokens > problem.tokens) break;
        const auto some = linear.run(isa, tokens % 3 == 0 ? three : two, tokens);
        ASSERT_TRUE(same_bits(all, some, some.size())) << tokens << " tokens";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Lines, LinearCases, testing::ValuesIn(case_lines()));

// Products of bf16 by vdpbf16ps flush subnormals and order sums their own way; all others agree bit for bit.
TEST(Linear, TiersAgree) {
  if (!has_isa(Isa::avx512)) GTEST_SKIP() << "one tier only";
  Team team(2);
  for (const char* line : {"parts=q4_0,q5_1,q8_0 compute=i8,i16,f32 rows=50 columns=576 tokens=3,20 norm=rms",
                           "parts=q4_k,q5_k,q6_k compute=i8,i16,f32 rows=50 columns=512 tokens=3,20 norm=layer",
                           "parts=f32,f16 compute=f32 rows=50 columns=77 tokens=3,20 norm=rms"}) {
    for (const LinearProblem& problem : expand_line(line)) {
      const Linear linear(problem);
      const auto a = linear.run(Isa::avx2, team, problem.tokens);
      EXPECT_TRUE(same_bits(a, linear.run(Isa::avx512, team, problem.tokens), a.size())) << problem.text;
    }
  }
}

TEST(Linear, ResidualMayBeTheResult) {
  Team team(2);
  for (const LinearProblem& problem :
       expand_line("parts=q4_0:33+q8_0:20 compute=i8,i16 columns=96 tokens=2,17 residual=1")) {
    const Linear linear(problem);
    for (const Isa isa : isas()) {
      const auto apart = linear.run(isa, team, problem.tokens);
      EXPECT_TRUE(same_bits(apart, linear.run(isa, team, problem.tokens, true), apart.size()));
    }
  }
}

// Codes and activations at their ends, all signs alike, are where 16-bit sums would saturate or wrap.
TEST(Linear, ExtremeCodesAreExact) {
  Team team(1);
  const auto bases = expand_line("parts=q4_0 compute=i8,i16 rows=16 columns=256 tokens=6");
  for (const Layout layout :
       {Layout::q4_0_panel, Layout::q4_1_panel, Layout::q5_0_panel, Layout::q5_1_panel, Layout::q8_0_panel,
        Layout::q4_k_panel, Layout::q5_k_panel, Layout::q6_k_panel}) {
    for (const int fill : {0x00, 0xff, 0x80, 0x7f, 0x0f, 0xf0, 0x1000, 0x10ff, 0x1080, 0x107f, 0x100f, 0x10f0}) {
      LinearProblem problem = bases[size_t(fill >> 12)];
      SCOPED_TRACE(fmt::format("{} {} {:02x}", to_string(layout), to_string(problem.compute), fill & 0xff));
      problem.layouts = {layout};
      Linear linear(problem);
      const tensor::BlockFormat& format = tensor::block_format(stored_encoding(layout));
      auto stored = linear.sources[0]->contiguous().value();
      std::byte* bytes = const_cast<std::byte*>(stored.data());
      std::memset(bytes, fill & 0xff, stored.size());
      const uint16_t one = f32_to_f16(1.0f);
      for (size_t block = 0; block < stored.size(); block += size_t(format.bytes)) {
        for (const size_t field : half_fields(layout)) std::memcpy(bytes + block + field, &one, 2);
      }
      linear.packed[0] = pack_all(layout, *linear.sources[0]);
      for (size_t i = 0; i < linear.x.size(); ++i) {
        const size_t token = i / 256;
        linear.x[i] = token < 2 ? 1.0f : token < 4 ? -1.0f : i % 4 < 2 ? 1.0f : -1.0f;
      }
      const Expected expected = expect(linear);
      for (const Isa isa : isas()) {
        compare(linear, expected, linear.run(isa, team, 6), 6);
        compare(linear, expected, linear.run(isa, team, 4), 4);
      }
    }
  }
}

TEST(Linear, HugeTinyAndZeroActivations) {
  Team team(2);
  for (const LinearProblem& problem :
       expand_line("parts=q4_0,q8_0 compute=i8,i16,f32 rows=20 columns=64 tokens=6")) {
    SCOPED_TRACE(problem.text);
    Linear linear(problem);
    const float scales[6] = {1e37f, 1e-30f, 0.0f, 1e-41f, 1e-37f, 1.0f};
    for (size_t i = 0; i < linear.x.size(); ++i) linear.x[i] *= scales[i / 64];
    const Expected expected = expect(linear);
    for (const Isa isa : isas()) {
      compare(linear, expected, linear.run(isa, team, 6), 6);
      compare(linear, expected, linear.run(isa, team, 4), 4);
    }
  }
}

TEST(Linear, NotFiniteStaysInItsToken) {
  Team team(2);
  for (const char* line :
       {"parts=q4_0,q8_0,q4_1 compute=i8,i16,f32 rows=20 columns=64 tokens=3,9",
        "parts=f32,f16,bf16 compute=f32 rows=20 columns=64 tokens=3,9 norm=none,rms",
        "parts=bf16 compute=bf16 rows=20 columns=64 tokens=3,9",
        "parts=q4_0 compute=i8,i16 rows=20 columns=64 tokens=3,9 activation=silu,gelu,gelu_tanh,relu"}) {
    for (const LinearProblem& problem : expand_line(line)) {
      Linear linear(problem);
      linear.x[64 + 5] = std::numeric_limits<float>::quiet_NaN();
      for (const Isa isa : isas()) {
        SCOPED_TRACE(fmt::format("{} {}", problem.text, to_string(isa)));
        const auto y = linear.run(isa, team, problem.tokens);
        for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(std::isnan(y[i]), i / 20 == 1) << i;
      }
    }
  }
}

TEST(Linear, SaysWhatItRefuses) {
  EXPECT_EQ(linear_refusal(Layout::q4_0_panel, Compute::i8, 64), std::nullopt);
  EXPECT_EQ(linear_refusal(Layout::q6_k_panel, Compute::f32, 512), std::nullopt);
  EXPECT_EQ(linear_refusal(Layout::bf16_panel, Compute::bf16, 2), std::nullopt);
  EXPECT_TRUE(linear_refusal(Layout::q4_0_panel, Compute::i8, 48));
  EXPECT_TRUE(linear_refusal(Layout::q4_k_panel, Compute::i8, 64));
  EXPECT_TRUE(linear_refusal(Layout::bf16_panel, Compute::bf16, 3));
  EXPECT_TRUE(linear_refusal(Layout::f32_panel, Compute::bf16, 64));
  EXPECT_TRUE(linear_refusal(Layout::f16_panel, Compute::i8, 64));
  EXPECT_EQ(linear_refusal(Layout::q8_0_panel, Compute::i16, 32), std::nullopt);
  EXPECT_TRUE(linear_refusal(Layout::bf16_panel, Compute::i16, 64));
  EXPECT_TRUE(linear_refusal(Layout::q8_0_panel, Compute::f16, 64));
}

TEST(Isa, NamesRoundTrip) {
  for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::amx}) EXPECT_EQ(find_isa(to_string(isa)), isa);
  EXPECT_EQ(find_isa("sse"), std::nullopt);
  EXPECT_TRUE(has_isa(best_isa()));
  EXPECT_TRUE(!has_isa(Isa::amx) || has_isa(Isa::avx512));
}

}  // namespace
}  // namespace lathe::backend::cpu

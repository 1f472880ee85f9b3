#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "backend/cpu/linear_definition.h"
#include "backend/cpu/tile_emulation.h"
#include "base/error.h"

namespace lathe::backend::cpu {
namespace {

// Packed for the kernels.
struct Linear : LinearData {
  std::vector<AlignedBytes> packed;

  explicit Linear(const LinearProblem& p) : LinearData(p) {
    for (size_t i = 0; i < p.layouts.size(); ++i) packed.push_back(pack_all(p.layouts[i], *sources[i]));
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
    team.run([&](TeamMember& member) {
      linear_kernel(isa)(call, member);
      EXPECT_FALSE(emulation::is_configured()) << "tiles were not given back";
    });
    return y;
  }
};

std::vector<Isa> isas() {
  std::vector<Isa> found;
  for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::amx, Isa::amx_emulated}) {
    if (has_isa(isa)) found.push_back(isa);
  }
  return found;
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
    constexpr int64_t kEmulated = 500'000'000;  // multiplications: emulated tiles take a second for them
    const bool large = problem.tokens * problem.columns * linear.outputs > kEmulated;
    for (const Isa isa : isas()) {
      if (isa == Isa::amx_emulated && large) continue;
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

// Products of bf16 by vdpbf16ps or in tiles flush subnormals and order sums their own way; all others agree bit for
// bit.
TEST(Linear, TiersAgree) {
  if (!has_isa(Isa::avx512)) GTEST_SKIP() << "one tier only";
  Team team(2);
  for (const char* line : {"parts=q4_0,q5_1,q8_0 compute=i8,i16,f32 rows=50 columns=576 tokens=3,20,65 norm=rms",
                           "parts=q4_k,q5_k,q6_k compute=i8,i16,f32 rows=50 columns=512 tokens=3,20,65 norm=layer",
                           "parts=f32,f16 compute=f32 rows=50 columns=77 tokens=3,20 norm=rms"}) {
    for (const LinearProblem& problem : expand_line(line)) {
      const Linear linear(problem);
      const auto a = linear.run(Isa::avx2, team, problem.tokens);
      for (const Isa isa : isas()) {
        EXPECT_TRUE(same_bits(a, linear.run(isa, team, problem.tokens), a.size())) << to_string(isa) << problem.text;
      }
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
  for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::amx, Isa::amx_emulated}) EXPECT_EQ(find_isa(to_string(isa)), isa);
  EXPECT_EQ(find_isa("sse"), std::nullopt);
  EXPECT_TRUE(has_isa(best_isa()));
  EXPECT_TRUE(!has_isa(Isa::amx) || has_isa(Isa::avx512));
}

}  // namespace
}  // namespace lathe::backend::cpu

// What launches on block-quantised weights, and of sampling, are refused; no device is needed for that.
#include "backend/cuda/library/block_launch_rules.h"

#include <gtest/gtest.h>

#include "backend/cuda/library/sample_launch_rules.h"

namespace lathe::backend::cuda {
namespace {

alignas(16) float memory[8];  // what arguments point to; nothing is read

LatheCudaLinearDecode good_decode() {
  LatheCudaLinearDecode call = {};
  call.x = call.y = memory;
  call.weights = memory;
  call.tokens = 3;
  call.columns = 96;
  call.rows = call.y_stride = 10;
  call.format = LATHE_CUDA_Q4_1;
  call.rounding = LATHE_CUDA_ROUND_I16;
  return call;
}

LatheCudaLinearPrefillBlocks good_prefill() {
  LatheCudaLinearPrefillBlocks call = {};
  call.x = call.weights = memory;
  call.y = memory;
  call.tokens = 100;
  call.columns = 512;
  call.rows = call.y_stride = 10;
  call.format = LATHE_CUDA_Q4_K;
  call.rounding = LATHE_CUDA_ROUND_BF16;
  return call;
}

LatheCudaRoundActivations good_rounding() {
  LatheCudaRoundActivations call = {};
  call.x = memory;
  call.out = memory;
  call.blocks = memory;
  call.tokens = 2;
  call.columns = 64;
  call.rounding = LATHE_CUDA_ROUND_I8;
  return call;
}

LatheCudaLookUpBlocks good_look_up() {
  static const int64_t rows[1] = {};
  return {rows, memory, memory, 1, 256, LATHE_CUDA_Q6_K};
}

LatheCudaSample good_sample() {
  static const LatheCudaSampling options[1] = {};
  static int32_t numbers[1];
  return {memory, options, nullptr, numbers, numbers, 1, 100};
}

// `change` makes a good call one that gets `status`.
template <class Call, class Change>
void expect(Call call, int32_t (*check)(const Call&, LatheCudaMessage*), int32_t status, Change change) {
  LatheCudaMessage message = {};
  ASSERT_EQ(check(call, &message), LATHE_CUDA_OK) << message.text;
  change(call);
  EXPECT_EQ(check(call, &message), status);
  EXPECT_GT(std::string_view(message.text).size(), 10u);
  EXPECT_EQ(check(call, nullptr), status);
}

TEST(BlockLaunchRules, LinearDecode) {
  const auto refused = [](auto change) {
    expect(good_decode(), check_linear_decode_blocks, LATHE_CUDA_BAD_ARGUMENT, change);
  };
  refused([](auto& call) { call.format = LATHE_CUDA_BF16; });
  refused([](auto& call) { call.format = LATHE_CUDA_Q6_K + 1; });
  refused([](auto& call) { call.format = LATHE_CUDA_Q4_K; });  // 96 columns
  refused([](auto& call) { call.columns = 80; });
  refused([](auto& call) { call.columns = 0; });
  refused([](auto& call) { call.weights = memory + 1; });
  refused([](auto& call) { call.weights = nullptr; });
  refused([](auto& call) { call.rounding = LATHE_CUDA_ROUND_I16 + 1; });
  refused([](auto& call) { call.gate = memory; });
  refused([](auto& call) {
    call.function = LATHE_CUDA_SILU_GATE;
    call.gate = memory + 1;
  });
  refused([](auto& call) { call.norm = LATHE_CUDA_NORM_RMS; });
  refused([](auto& call) { call.y_first = 1; });
  // Nor are blocks taken for plain weights.
  LatheCudaLinearDecode call = good_decode();
  call.rounding = LATHE_CUDA_ROUND_NONE;
  EXPECT_EQ(check_linear_decode(call, nullptr), LATHE_CUDA_BAD_ARGUMENT);
}

TEST(BlockLaunchRules, DecodeTakesTheTokensThatFit) {
  LatheCudaLinearDecode call = good_decode();
  EXPECT_EQ(decode_block_tokens(call, 48 << 10), 4);
  call.tokens = 2;
  EXPECT_EQ(decode_block_tokens(call, 48 << 10), 2);
  call.tokens = 1;
  EXPECT_EQ(decode_block_tokens(call, 48 << 10), 1);
  call.tokens = 9;
  call.columns = 14336;  // of 16 bits with scales 32,256 bytes a token
  EXPECT_EQ(decode_block_tokens(call, 227 << 10), 4);
  EXPECT_EQ(decode_block_tokens(call, 99 << 10), 2);
  EXPECT_EQ(decode_block_tokens(call, 48 << 10), 1);
  EXPECT_EQ(decode_block_tokens(call, 32 << 10), 0);
  call.rounding = LATHE_CUDA_ROUND_I8;
  EXPECT_EQ(decode_block_tokens(call, 99 << 10), 4);
  call.rounding = LATHE_CUDA_ROUND_NONE;
  EXPECT_EQ(decode_block_tokens(call, 99 << 10), 1);
}

TEST(BlockLaunchRules, LinearPrefill) {
  const auto refused = [](int32_t status, auto change) {
    expect(good_prefill(), check_linear_prefill_blocks, status, change);
  };
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.format = LATHE_CUDA_F16; });
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.columns = 128; });
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.rounding = LATHE_CUDA_ROUND_NONE; });
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.rounding = LATHE_CUDA_ROUND_I8; });
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.x_blocks = memory; });
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.x = memory + 2; });
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.function = LATHE_CUDA_GELU_GATE; });
  refused(LATHE_CUDA_UNSUPPORTED, [](auto& call) { call.tokens = 64 * 65535 + 1; });
}

TEST(BlockLaunchRules, RoundActivations) {
  const auto refused = [](auto change) {
    expect(good_rounding(), check_round_activations, LATHE_CUDA_BAD_ARGUMENT, change);
  };
  refused([](auto& call) { call.rounding = LATHE_CUDA_ROUND_NONE; });
  refused([](auto& call) { call.rounding = LATHE_CUDA_ROUND_F16; });  // which has no blocks
  refused([](auto& call) { call.blocks = nullptr; });
  refused([](auto& call) { call.columns = 33; });
  refused([](auto& call) { call.out = memory + 1; });
  refused([](auto& call) { call.norm = LATHE_CUDA_NORM_RMS; });
  refused([](auto& call) { call.norm_bias = memory; });
}

TEST(BlockLaunchRules, LookUpAndSample) {
  expect(good_look_up(), check_look_up_blocks, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.table = nullptr; });
  expect(good_look_up(), check_look_up_blocks, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.format = 0; });
  expect(good_look_up(), check_look_up_blocks, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.columns = 32; });
  expect(good_sample(), check_sample, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.vocabulary = 0; });
  expect(good_sample(), check_sample, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.bad = nullptr; });
  expect(good_sample(), check_sample, LATHE_CUDA_UNSUPPORTED, [](auto& call) { call.vocabulary = (1 << 24) + 1; });
}

}  // namespace
}  // namespace lathe::backend::cuda

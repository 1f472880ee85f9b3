// What launches are refused, and which form of a kernel is taken; no device is needed for that.
#include "backend/cuda/library/launch_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "backend/cuda/kernels/self_test.h"

namespace lathe::backend::cuda {
namespace {

using testing::HasSubstr;

alignas(16) float memory[8];  // what arguments point to; nothing is read

LatheCudaLinearDecode good_decode() {
  LatheCudaLinearDecode call = {};
  call.x = call.y = memory;
  call.weights = memory;
  call.tokens = 3;
  call.columns = 64;
  call.rows = call.y_stride = 10;
  call.format = LATHE_CUDA_F16;
  return call;
}

LatheCudaLinearPrefill good_prefill() {
  LatheCudaLinearPrefill call = {};
  call.x = call.weights = memory;
  call.y = memory;
  call.tokens = 100;
  call.columns = 64;
  call.rows = call.y_stride = 10;
  call.format = LATHE_CUDA_BF16;
  return call;
}

LatheCudaPagedAttention good_attention() {
  LatheCudaPagedAttention call = {};
  call.qkv = call.cos = call.sin = memory;
  call.queries = call.parts = call.out = memory;
  call.cache = memory;
  static const int32_t numbers[1] = {};
  call.sequence = call.position = call.block_table = numbers;
  call.tokens = call.blocks_per_sequence = call.part_count = 1;
  call.heads = 4;
  call.kv_heads = 2;
  call.head_dim = call.rotary_dim = 64;
  return call;
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

TEST(LaunchRules, LinearDecode) {
  const auto refused = [](auto change) { expect(good_decode(), check_linear_decode, LATHE_CUDA_BAD_ARGUMENT, change); };
  refused([](auto& call) { call.weights = nullptr; });
  refused([](auto& call) { call.tokens = -1; });
  refused([](auto& call) { call.columns = 0; });
  refused([](auto& call) { call.y_first = 1; });
  refused([](auto& call) { call.format = 3; });
  refused([](auto& call) { call.function = 8; });
  refused([](auto& call) { call.rounding = -1; });
  refused([](auto& call) { call.norm = LATHE_CUDA_NORM_RMS; });
  refused([](auto& call) { call.norm_scale = memory; });
  refused([](auto& call) { call.norm_bias = memory; });
  refused([](auto& call) { call.gate = memory; });
  refused([](auto& call) { call.function = LATHE_CUDA_SILU_GATE; });
  refused([](auto& call) { call.gate_bias = memory; });
}

TEST(LaunchRules, DecodeTakesTheTokensThatFit) {
  LatheCudaLinearDecode call = good_decode();
  EXPECT_EQ(decode_tokens(call, 48 << 10), 3);
  call.tokens = 100;
  EXPECT_EQ(decode_tokens(call, 48 << 10), kDecodeTokens);
  call.columns = 11008;  // 44,032 bytes a token
  EXPECT_EQ(decode_tokens(call, 227 << 10), 4);
  EXPECT_EQ(decode_tokens(call, 99 << 10), 2);
  EXPECT_EQ(decode_tokens(call, 44032), 0);  // the sums of the norm want some too
  EXPECT_EQ(decode_tokens(call, 44032 + 32), 1);
  EXPECT_EQ(decode_tokens(call, 0), 0);
}

TEST(LaunchRules, DecodeReadsByVectorsWhatIsAligned) {
  LatheCudaLinearDecode call = good_decode();
  EXPECT_TRUE(decodes_by_vectors(call));
  call.columns = 60;  // 7.5 quads of f16, 15 of f32
  EXPECT_FALSE(decodes_by_vectors(call));
  call.format = LATHE_CUDA_F32;
  EXPECT_TRUE(decodes_by_vectors(call));
  call.gate = memory + 1;
  EXPECT_FALSE(decodes_by_vectors(call));
}

TEST(LaunchRules, LinearPrefill) {
  const auto refused = [](int32_t status, auto change) {
    expect(good_prefill(), check_linear_prefill, status, change);
  };
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.format = LATHE_CUDA_F32; });
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.function = LATHE_CUDA_GELU_GATE; });
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.x = memory + 1; });
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.y_stride = 9; });
  refused(LATHE_CUDA_UNSUPPORTED, [](auto& call) { call.columns = 48; });
}

TEST(LaunchRules, PagedAttention) {
  const auto refused = [](int32_t status, auto change) {
    expect(good_attention(), check_paged_attention, status, change);
  };
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.kv_heads = 3; });
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.kv_heads = 0; });
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.rotary_dim = 66; });
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.sin = nullptr; });
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.rotary_dim = 0; });
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.cache = memory + 1; });
  refused(LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.block_table = nullptr; });
  refused(LATHE_CUDA_UNSUPPORTED, [](auto& call) { call.head_dim = 264; });
  refused(LATHE_CUDA_UNSUPPORTED, [](auto& call) { call.tokens = 65536; });
}

TEST(LaunchRules, Normalise) {
  LatheCudaNormalise good = {};
  good.x = good.scale = good.bias = memory;
  good.y = memory;
  good.tokens = 2;
  good.columns = 3;
  good.norm = LATHE_CUDA_NORM_LAYER;
  const auto refused = [&](auto change) { expect(good, check_normalise, LATHE_CUDA_BAD_ARGUMENT, change); };
  refused([](auto& call) { call.norm = LATHE_CUDA_NORM_NONE; });
  refused([](auto& call) { call.scale = nullptr; });
  refused([](auto& call) { call.rounding = 3; });
  refused([](auto& call) { call.columns = 0; });
  refused([](auto& call) { call.y = nullptr; });
}

TEST(LaunchRules, SmallKernels) {
  static const int64_t numbers[1] = {};
  LatheCudaCombine combine = {memory, memory, nullptr, memory, 4, LATHE_CUDA_ADD};
  expect(combine, check_combine, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.count = -1; });
  expect(combine, check_combine, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.b = nullptr; });
  expect(combine, check_combine, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.operation = 2; });
  LatheCudaPlaceColumns place = {memory, memory, 2, 3, 8, 5};
  expect(place, check_place_columns, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.y_first = 6; });
  expect(place, check_place_columns, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.columns = 0; });
  expect(place, check_place_columns, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.x = nullptr; });
  LatheCudaLookUp look_up = {numbers, memory, memory, 1, 4, LATHE_CUDA_F32};
  expect(look_up, check_look_up, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.columns = 0; });
  expect(look_up, check_look_up, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.rows = nullptr; });
  expect(look_up, check_look_up, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.format = 99; });
  LatheCudaRotaryTable table = {numbers, memory, memory, memory, 1, 4, 1.0f, 0};
  expect(table, check_rotary_table, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.base = 10000; });
  expect(table, check_rotary_table, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.frequencies = nullptr; });
  expect(table, check_rotary_table, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.half = 0; });
  expect(table, check_rotary_table, LATHE_CUDA_BAD_ARGUMENT, [](auto& call) { call.base = NAN; });
}

TEST(LaunchRules, LanesHoldAHead) {
  for (const auto& [dim, lanes] : {std::pair(8, 8), {64, 8}, {72, 16}, {128, 16}, {136, 32}, {256, 32}}) {
    EXPECT_EQ(attention_lanes(dim), lanes) << dim;
  }
}

TEST(LaunchRules, TheSelfTestExpectsWhatItsKernelWrites) {
  constexpr int kCount = 300;
  emulated::Buffer<uint32_t> out("out", kCount);
  SelfTest call{};
  call.out = out;
  call.count = kCount;
  emulated::launch({"self_test", {3}, {kSelfTestThreads}, 0, 5}, [&] { self_test(call); });
  const auto found = out.elements();
  for (int i = 0; i < kCount; ++i) ASSERT_EQ(found[size_t(i)], self_test_value(i)) << i;
}

}  // namespace
}  // namespace lathe::backend::cuda

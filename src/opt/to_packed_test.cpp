// A decoder step by the graph it came as and by its packed form: the same logits.
#include "opt/to_packed.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "opt/numeric_check.h"
#include "opt/pipeline.h"

namespace lathe::opt {
namespace {

using tensor::Tensor;

// One layer of two heads of width 2 over one key-value head; `attributes` go to the attention.
ir::Graph decoder(std::string_view attributes = "") {
  ir::Graph graph = ir::parse(fmt::format(R"(graph main {{
    input %input_ids: i64[batch, sequence]
    input %attention_mask: i64[batch, past+sequence]
    input %position_ids: i64[batch, sequence]
    input %past_key_values.0.key: f32[batch, 1, past, 2]
    input %past_key_values.0.value: f32[batch, 1, past, 2]
    const %table: f32[3, 4] = {{0.1, -0.2, 0.3, 0.5, -0.4, 0.9, 0.2, -0.7, 0.6, 0.8, -0.1, 0.4}}
    const %wk: f32[4, 2] = {{0.5, -0.3, 0.2, 0.8, -0.6, 0.1, 0.4, 0.7}}
    const %wv: f32[4, 2] = {{-0.2, 0.9, 0.3, 0.3, 0.8, -0.5, 0.1, 0.6}}
    const %frequencies: f32[1] = {{0.7}}
    const %out: f32[4, 3] = {{0.3, 0.1, -0.9, 0.5, -0.2, 0.4, 0.7, 0.6, -0.8, 0.2, 0.9, -0.1}}
    %h = Gather(%table, %input_ids)
    %k = MatMul(%h, %wk)
    %v = MatMul(%h, %wv)
    %cos, %sin = lathe.RotaryTable(%position_ids, %frequencies)
    %rq = RotaryEmbedding(%h, %cos, %sin) {{num_heads = 2}}
    %rk = RotaryEmbedding(%k, %cos, %sin) {{num_heads = 1}}
    %mask = lathe.CausalMask(%attention_mask, %input_ids)
    %a, %present.0.key, %present.0.value =
        Attention(%rq, %rk, %v, %mask, %past_key_values.0.key, %past_key_values.0.value)
        {{kv_num_heads = 1, q_num_heads = 2{}}}
    %s = Add(%h, %a)
    %logits = MatMul(%s, %out)
    output %logits
    output %present.0.key
    output %present.0.value
  }})",
                                          attributes),
                              {});
  return graph;
}

std::map<std::string, Tensor> without_past(const std::vector<int64_t>& ids) {
  const auto n = int64_t(ids.size());
  std::vector<int64_t> ones(ids.size(), 1), positions(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) positions[i] = int64_t(i);
  return {{"input_ids", Tensor::of<int64_t>({1, n}, std::span<const int64_t>(ids))},
          {"attention_mask", Tensor::of<int64_t>({1, n}, std::span<const int64_t>(ones))},
          {"position_ids", Tensor::of<int64_t>({1, n}, std::span<const int64_t>(positions))},
          {"past_key_values.0.key", Tensor(tensor::DType::f32, {1, 1, 0, 2})},
          {"past_key_values.0.value", Tensor(tensor::DType::f32, {1, 1, 0, 2})}};
}

// Sequence one is two tokens and nothing before, sequence two three tokens after two: in the packed form the
// second begins by writing those two itself in a step of its own.
TEST(ToPacked, ComputesTheSame) {
  const ir::Graph graph = decoder();
  PackOptions options;
  options.kv_block = 8;
  const ir::Graph packed = to_packed(graph, options);
  auto inputs = packed_check_inputs(packed);
  const auto vector = [](std::vector<int32_t> values) {
    return Tensor::of<int32_t>({int64_t(values.size())}, std::span<const int32_t>(values));
  };
  auto before = inputs;
  before["token_ids"] = Tensor::of<int64_t>({2}, std::span<const int64_t>(std::vector<int64_t>{2, 1}));
  before["positions"] = Tensor::of<int64_t>({2}, std::span<const int64_t>(std::vector<int64_t>{0, 1}));
  before["first_token"] = vector({0, 0, 2});
  before["first_position"] = vector({0, 0});
  before["output_rows"] = Tensor::of<int64_t>({1}, std::span<const int64_t>(std::vector<int64_t>{1}));
  const auto warm = ir::evaluate(packed, before);
  inputs["key_cache.0"] = warm.at("key_cache.0.next");
  inputs["value_cache.0"] = warm.at("value_cache.0.next");
  const auto found = tensor::to_floats(ir::evaluate(packed, inputs).at("logits"));  // rows 1 and 4

  const auto last_row = [&](const std::vector<int64_t>& ids) {
    const auto all = tensor::to_floats(ir::evaluate(graph, without_past(ids)).at("logits"));
    return std::vector<float>(all.end() - 3, all.end());
  };
  const auto tokens = inputs.at("token_ids").data<int64_t>();
  const auto first = last_row({tokens[0], tokens[1]});
  const auto second = last_row({2, 1, tokens[2], tokens[3], tokens[4]});
  ASSERT_EQ(found.size(), 6u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(found[i], first[i], 1e-6) << i;
    EXPECT_NEAR(found[3 + i], second[i], 1e-6) << i;
  }
}

TEST(ToPacked, CheckedModeRunsOnIt) {
  PackOptions options;
  ir::Graph packed = to_packed(decoder(), options);
  const auto inputs = packed_check_inputs(packed);
  PassOptions passes;
  passes.checked = true;
  passes.check_inputs = inputs;
  const auto before = ir::evaluate(packed, inputs);
  optimise(packed, passes);
  const auto after = ir::evaluate(packed, inputs);
  const auto expected = tensor::to_floats(before.at("logits")), found = tensor::to_floats(after.at("logits"));
  ASSERT_EQ(expected.size(), found.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(expected[i], found[i], 1e-6) << i;
}

TEST(ToPacked, RefusesWhatPagedAttentionWouldDrop) {
  for (const char* attribute : {"left_window_size = 4", "right_window_size = 0", "softcap = 2.0", "is_causal = 1",
                                "softmax_precision = 1"}) {
    try {
      to_packed(decoder(fmt::format(", {}", attribute)), {});
      ADD_FAILURE() << attribute << " was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported) << error.what();
    }
  }
}

}  // namespace
}  // namespace lathe::opt

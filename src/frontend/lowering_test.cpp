// An expanded graph computes what the operator it stands for computes: both by the reference executor.
#include "frontend/lowering.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "ir/graph.h"

namespace lathe::frontend {
namespace {

using tensor::DType;
using tensor::Tensor;

// Numbers in (-1, 1) that depend on name and index.
Tensor filled(const ir::Graph& graph, ir::Value input) {
  tensor::Dims dims;
  for (const tensor::Dim& dim : graph.type(input).shape) dims.push_back(dim.value());
  Tensor tensor(graph.type(input).dtype, std::move(dims));
  uint32_t state = 17;
  for (const char c : graph.name(input)) state = state * 31 + uint32_t(c);
  for (int64_t i = 0; i < tensor.size(); ++i) {
    state = state * 1664525u + 1013904223u;
    const double value = double(state >> 8) / double(1 << 23) - 1;
    // Each row of a boolean mask sees its first key, so that no softmax is of nothing.
    set_element(tensor, i,
                tensor.dtype() == DType::boolean ? double(value > 0 || i % tensor.dims().back() == 0) : value);
  }
  return tensor;
}

void expect_same(const std::string& text, int opset) {
  const ir::Graph graph = ir::parse(text, {});
  const ir::Graph lowered = lower_to_opset(graph, opset);
  for (const ir::NodeId id : lowered.nodes()) {
    EXPECT_LE(op::get_op(lowered.node(id).op).since, opset) << lowered.node(id).op;
  }
  std::map<std::string, Tensor> inputs;
  for (const ir::Value input : graph.inputs()) inputs.emplace(graph.name(input), filled(graph, input));
  const auto expected = ir::evaluate(graph, inputs);
  const auto found = ir::evaluate(lowered, inputs);
  for (const auto& [name, tensor] : expected) {
    const Tensor& other = found.at(name);
    ASSERT_EQ(tensor.dims(), other.dims()) << name;
    for (int64_t i = 0; i < tensor.size(); ++i) {
      const double e = element_as_double(tensor, i);
      ASSERT_NEAR(element_as_double(other, i), e, 2e-6 * std::max(1.0, std::abs(e))) << text << name << " " << i;
    }
  }
}

// {0} is the mask's dtype, {1} the attributes.
std::string attention(std::string_view mask, std::string_view attributes, int heads, int kv_heads) {
  return fmt::format(R"(graph g {{
    input %q: f32[2, 3, {2}] input %k: f32[2, 3, {3}] input %v: f32[2, 3, {3}]
    input %mask: {0}[2, 1, 3, 5] input %past_k: f32[2, {5}, 2, 4] input %past_v: f32[2, {5}, 2, 4]
    %y, %key, %value = Attention(%q, %k, %v, %mask, %past_k, %past_v)
        {{kv_num_heads = {5}, q_num_heads = {4}{1}}}
    output %y output %key output %value
  }})",
                     mask, attributes, heads * 4, kv_heads * 4, heads, kv_heads);
}

TEST(Lowering, AttentionWithEitherMask) {
  for (const char* mask : {"f32", "bool"}) {
    for (const char* attributes : {"", ", scale = 0.3", ", softcap = 0.7"}) {
      expect_same(attention(mask, attributes, 4, 4), 18);
      expect_same(attention(mask, attributes, 4, 2), 13);
    }
  }
}

TEST(Lowering, AQueryThatSeesNothingGetsZero) {
  expect_same(R"(graph g {
    input %q: f32[1, 3, 8] input %k: f32[1, 5, 4] input %v: f32[1, 5, 4] input %m: f32[1, 1, 3, 5]
    %no = Less(%m, %m)
    %y = Attention(%q, %k, %v, %no) {kv_num_heads = 1, q_num_heads = 2}
    output %y
  })",
              18);
}

// Query, key and value by heads; `mask` is dtype and dims of the mask.
std::string attention_by_heads(std::string_view mask, int heads, int kv_heads) {
  return fmt::format(R"(graph g {{
    input %q: f32[2, {1}, 3, 4] input %k: f32[2, {2}, 3, 4] input %v: f32[2, {2}, 3, 6]
    input %mask: {0} input %past_k: f32[2, {2}, 2, 4] input %past_v: f32[2, {2}, 2, 6]
    %y, %key, %value = Attention(%q, %k, %v, %mask, %past_k, %past_v) {{scale = 0.3}}
    %alone = Attention(%q, %k, %v)
    output %y output %key output %value output %alone
  }})",
                     mask, heads, kv_heads);
}

TEST(Lowering, AttentionByHeads) {
  for (const char* mask : {"f32[2, 1, 3, 5]", "bool[2, 1, 3, 5]", "f32[3, 5]", "bool[1, 3, 5]", "bool[1, 1, 3, 5]"}) {
    expect_same(attention_by_heads(mask, 4, 4), 18);
    expect_same(attention_by_heads(mask, 4, 2), 13);
  }
  expect_same(attention_by_heads("bool[2, 4, 3, 5]", 4, 4), 18);
}

TEST(Lowering, ByHeadsAQueryThatSeesNothingGetsZero) {
  for (const int heads : {1, 2}) {
    const std::string inputs = fmt::format("input %q: f32[1, {}, 2, 4] input %k: f32[1, 1, 2, 4]", heads);
    for (const char* mask : {"const %m: bool[2, 2] = {true, false, false, false}",
                             "const %m: f32[1, 1, 2, 2] = {0.5, -inf, -inf, -inf}"}) {
      expect_same(fmt::format("graph g {{ {} {}\n %y = Attention(%q, %k, %k, %m) output %y }}", inputs, mask), 18);
    }
  }
}

TEST(Lowering, CausalAttentionOfAPrompt) {
  for (const int opset : {13, 22}) {
    expect_same(R"(graph g {
      input %q: f32[2, 5, 8] input %k: f32[2, 5, 8] input %v: f32[2, 5, 6]
      %y = Attention(%q, %k, %v) {is_causal = 1, kv_num_heads = 2, q_num_heads = 2, scale = 0.3}
      output %y
    })",
                opset);
  }
}

TEST(Lowering, GroupNormalizationBeforeItsPresentMeaning) {
  for (const int opset : {13, 18, 20, 21}) {
    expect_same(R"(graph g {
      input %x: f32[2, 6, 3, 2] input %scale: f32[6] input %bias: f32[6]
      %y = GroupNormalization(%x, %scale, %bias) {epsilon = 1e-03, num_groups = 3}
      output %y
    })",
                opset);
  }
}

TEST(Lowering, NormsActivationsAndRotation) {
  for (const int opset : {13, 16, 18, 21}) {
    expect_same(R"(graph g {
      input %x: f32[2, 3, 8] input %s: f32[8] input %b: f32[8]
      input %cos: f32[2, 3, 2] input %sin: f32[2, 3, 2] input %cos4: f32[2, 3, 1] input %sin4: f32[2, 3, 1]
      input %x4: f32[2, 5, 3, 4]
      %r = RMSNormalization(%x, %s) {axis = -1, epsilon = 0.01}
      %l = LayerNormalization(%x, %s, %b) {axis = -1, epsilon = 0.01}
      %w = Swish(%x) {alpha = 1.5}
      %g = Gelu(%x)
      %t = Gelu(%x) {approximate = "tanh"}
      %whole = RotaryEmbedding(%x, %cos, %sin) {num_heads = 2}
      %pairs = RotaryEmbedding(%x, %cos, %sin) {interleaved = 1, num_heads = 2}
      %heads = RotaryEmbedding(%x4, %cos, %sin)
      %heads_pairs = RotaryEmbedding(%x4, %cos, %sin) {interleaved = 1}
      %heads_part = RotaryEmbedding(%x4, %cos4, %sin4) {rotary_embedding_dim = 2}
      %part = RotaryEmbedding(%x, %cos4, %sin4) {num_heads = 2, rotary_embedding_dim = 2}
      output %r output %l output %w output %g output %t output %whole output %pairs output %part
      output %heads output %heads_pairs output %heads_part
    })",
                opset);
  }
}

// ONNX Runtime wants a row of the mask for each query where ONNX broadcasts one; layers share what is made of it.
TEST(Lowering, AMaskOfOneRowHasOneForEachQuery) {
  const std::string text = R"(graph g {
    input %q: f32[2, 3, 8] input %k: f32[2, 5, 8] input %v: f32[2, 5, 8] input %mask: f32[2, 1, 1, 5]
    %a = Attention(%q, %k, %v, %mask) {kv_num_heads = 2, q_num_heads = 2}
    %b = Attention(%a, %k, %v, %mask) {kv_num_heads = 2, q_num_heads = 2}
    output %b
  })";
  expect_same(text, 23);
  const ir::Graph lowered = lower_to_opset(ir::parse(text, {}), 23);
  int expanded = 0;
  for (const ir::NodeId id : lowered.nodes()) {
    const ir::Node& node = lowered.node(id);
    expanded += node.op == "Expand";
    if (node.op != "Attention") continue;
    EXPECT_EQ(op::to_string(lowered.type(node.inputs[3])), "f32[2, 1, 3, 5]");
  }
  EXPECT_EQ(expanded, 1);
}

std::string refusal(const std::string& text, int opset) {
  try {
    lower_to_opset(ir::parse(text, {}), opset);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported) << error.what();
    return error.what();
  }
  return "no error";
}

TEST(Lowering, RefusesWhatItWouldDrop) {
  EXPECT_NE(refusal(attention("f32", ", left_window_size = 2", 4, 2), 18).find("left_window_size"), std::string::npos);
  EXPECT_NE(refusal(attention("f32", ", left_window_size = 2", 4, 2), 24).find("since opset 25"), std::string::npos);
  EXPECT_NE(refusal(attention_by_heads("f32[2, 4, 3, 5]", 4, 2), 18).find("same for all"), std::string::npos);
  EXPECT_NE(refusal("graph g { input %x: f32[3, 3] %y = Trilu(%x) output %y }", 13).find("since opset 14"),
            std::string::npos);
  EXPECT_NE(
      refusal("graph g { input %x: f32[4] const %s: i64[1] = {-1} %y = Reshape(%x, %s) {allowzero = 1} output %y }", 13)
          .find("allowzero"),
      std::string::npos);
  EXPECT_NE(
      refusal("graph g { input %t: i64[3] const %w: f32[5, 2] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0} "
              "%y = lathe.Embed(%w, %t) output %y }",
              24)
          .find("no standard form"),
      std::string::npos);
}

}  // namespace
}  // namespace lathe::frontend

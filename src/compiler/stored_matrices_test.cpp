#include "compiler/stored_matrices.h"

#include <gtest/gtest.h>

#include "compiler/fp32_graph.h"

namespace lathe::compiler {
namespace {

using ir::Graph;
using ir::Value;
using tensor::DType;
using tensor::Tensor;

constexpr int64_t kRows = 300, kColumns = 80;  // more than one chunk of 64 rows, more than what text spells out

Tensor table(float last) {
  Tensor values(DType::f32, {kRows, kColumns});
  for (size_t i = 0; i < size_t(values.size()); ++i) values.data<float>()[i] = float(i % 1000) / 8;
  values.data<float>().back() = last;
  return values;
}

// logits = rows[ids] head, with head [columns, rows].
Graph tied(float last_of_table, float last_of_head) {
  Graph graph;
  const Value ids = graph.add_input("ids", {DType::i64, {tensor::Dim::symbol("n")}, {}});
  const Value rows = graph.add_constant("embed", table(last_of_table));
  const auto head = tensor::transposed_source(tensor::memory_source(table(last_of_head), "head"));
  const auto add = [&](std::string_view op, std::vector<Value> inputs) {
    return graph.node(graph.add_node(op, std::move(inputs))).outputs[0];
  };
  graph.add_output(add("MatMul", {add("Gather", {rows, ids}), graph.add_constant("head", head)}), "logits");
  return graph;
}

std::vector<float> logits(const Graph& graph) {
  const std::vector<int64_t> ids{5, 299, 0};
  return tensor::to_floats(ir::evaluate(graph, {{"ids", Tensor::of<int64_t>({3}, ids)}}).at("logits"));
}

TEST(StoredMatrices, AHeadThatEqualsTheEmbeddingIsIt) {
  Graph graph = tied(3, 3);
  const auto expected = logits(graph);
  store_matrices_by_output(graph);
  share_embeddings(graph);
  ir::verify(graph);
  EXPECT_EQ(graph.constants().size(), 1u);
  EXPECT_EQ(logits(graph), expected);
}

TEST(StoredMatrices, OneElementMoreMakesTwoOfThem) {
  Graph graph = tied(3, 3.5);
  const auto expected = logits(graph);
  store_matrices_by_output(graph);
  share_embeddings(graph);
  EXPECT_EQ(graph.constants().size(), 2u);
  EXPECT_EQ(logits(graph), expected);
}

std::map<std::string, DType> types(const Graph& graph) {
  std::map<std::string, DType> result;
  for (const Value constant : graph.constants()) result[graph.source_name(constant)] = graph.type(constant).dtype;
  return result;
}

TEST(StoredMatrices, WhatIsExactInHalfPrecisionIsStoredSo) {
  Graph graph = tied(3, 3.0001F);
  const auto expected = logits(graph);
  store_matrices_by_output(graph);
  store_narrow_matrices(graph, DType::f16, {});
  ir::verify(graph);
  EXPECT_EQ(types(graph), (std::map<std::string, DType>{{"embed.f16", DType::f16}, {"head.transposed", DType::f32}}));
  EXPECT_EQ(logits(graph), expected);
}

// A tensor that was narrow in the file is so again, without a look at its values.
TEST(StoredMatrices, WhatWasNarrowIsNarrowAgain) {
  Graph narrow("main");
  const Value ids = narrow.add_input("ids", {DType::i64, {tensor::Dim::symbol("n")}, {}});
  const auto stored = tensor::memory_source(tensor::cast(table(3), DType::bf16), "file: embed");
  const Value rows = narrow.add_constant("embed", stored);
  narrow.add_output(narrow.node(narrow.add_node("Gather", {rows, ids})).outputs[0], "logits");
  Graph graph = in_fp32(narrow);
  EXPECT_EQ(types(graph), (std::map<std::string, DType>{{"embed", DType::f32}}));
  store_narrow_matrices(graph, DType::bf16, {"file: embed"});
  ASSERT_EQ(graph.constants().size(), 1u);
  EXPECT_EQ(graph.source(graph.constants()[0]), stored);
  EXPECT_EQ(logits(graph), logits(in_fp32(narrow)));
}

}  // namespace
}  // namespace lathe::compiler
